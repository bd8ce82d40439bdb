"""Calls Notes as one of Acme's services: `python call.py reader GET` or `python call.py writer PUT`. A refusal is printed, too."""

import asyncio
import json
import sys
from pathlib import Path

import httpx2

from tenantry_sdk import Client, ClientKey, TenantryError

AUDIENCE = "https://notes.example/"


async def main(name: str, method: str, address: str) -> None:
    """One request with a token for Notes."""
    ids = json.loads(Path("ids.json").read_text())
    me = ids[name]
    credential = ClientKey(me["id"], Path(me["file"]).read_bytes(), me["kid"], resource=AUDIENCE, scope="notes")
    async with Client(ids["issuer"], credential=credential) as client, httpx2.AsyncClient() as http:
        headers = await credential.headers(client.server)
        query = {"text": "On Wednesday."} if method == "PUT" else {}
        answer = await http.request(method, f"{address}/notes/launch", params=query, headers=headers)
        print(answer.status_code, answer.text)


try:
    asyncio.run(main(sys.argv[1], sys.argv[2], "http://127.0.0.1:8000"))
except TenantryError as error:
    sys.exit(f"No token: {error}")
