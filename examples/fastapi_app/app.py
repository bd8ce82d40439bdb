"""Notes, a small product: who calls is verified, and whether they may is asked. Needs `fastapi`, `uvicorn` and `tenantry-sdk`."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx2
from fastapi import FastAPI, Request

from tenantry_sdk import Client, ClientKey, Guard, Verifier, caller

AUDIENCE = "https://notes.example/"
IDS = json.loads(Path("ids.json").read_text())
BACKEND = IDS["backend"]
NOTES = {"launch": "On Tuesday."}

credential = ClientKey(BACKEND["id"], Path(BACKEND["file"]).read_bytes(), BACKEND["kid"])
verifier = Verifier(IDS["issuer"], audience=AUDIENCE, credential=credential)


def asking_in(organization: str, store: str) -> Client:
    """A client for the store of one customer."""
    http = httpx2.AsyncClient(headers={"Tenantry-Organization": organization}, timeout=10)
    return Client(IDS["issuer"], credential=credential, store=store.removeprefix("store_"), http=http)


clients = {organization: asking_in(organization, store) for organization, store in IDS["store"].items()}


@asynccontextmanager
async def following(_: FastAPI) -> AsyncIterator[None]:
    """Hear of what is cut for as long as the application runs."""
    async with AsyncExitStack() as open_:
        for client in clients.values():
            await open_.enter_async_context(client.server.http)
        await open_.enter_async_context(verifier)
        await verifier.feed.ready()
        yield


app = FastAPI(lifespan=following)
app.add_middleware(Guard, verifier=verifier)


async def may(request: Request, relation: str, note: str) -> None:
    """Refuse with 403 unless the caller has the relation to the note in its own organization's store."""
    who = caller(request)
    await clients[who.organization].require(f"{who.identity}:{who.subject}", relation, f"note:{note}")


@app.get("/notes/{note}")
async def read(note: str, request: Request) -> dict[str, str]:
    """A note."""
    await may(request, "can_read", note)
    return {"note": note, "text": NOTES[note]}


@app.put("/notes/{note}")
async def write(note: str, text: str, request: Request) -> dict[str, str]:
    """Another text of a note."""
    await may(request, "can_edit", note)
    NOTES[note] = text
    return {"note": note, "text": text}
