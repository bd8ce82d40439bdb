"""A whole deployment to measure: `tenantry serve` in a process of its own over SQLite, an organization whose service has a token, a
store.

Organization, service, store and model are made over the interface; tuples and users, of which there are too many for that, by the
write path.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx2
import msgspec

from benchmarks.corpus import MODEL, Corpus
from tenantry.access.language import parse
from tenantry.access.schema import WRITE_TUPLES
from tenantry.access.tuples import TupleKey
from tenantry.access.wire import encode_model
from tenantry.access.writing import TuplesChanged, rows_json
from tenantry.app.config import Config, HttpConfig, to_toml
from tenantry.app.listening import beside
from tenantry.app.node import ROOMS
from tenantry.app.setup import set_up
from tenantry.core import scopes
from tenantry.core.clock import SystemClock
from tenantry.core.ids import IdSource
from tenantry.core.principal import SYSTEM
from tenantry.journal import Journal
from tenantry.journal.pulse import Pulse
from tenantry.organizations import users
from tenantry.store import open_store
from tests.stand.databases import sqlite_database
from tests.stand.nodes import configured

SET_TUPLES = 5_000
SET_USERS = 50
"""Of one set of the write path."""


class Server(msgspec.Struct, frozen=True):
    """A server that answers. `started_s` is how long that took, from the start of its process to the first 200."""

    pid: int
    port: int
    started_s: float

    def resident_mb(self) -> float:
        """The memory of its process that is in RAM."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def cpu_s(self) -> float:
        """The processor's time that its process has taken."""
        return cpu_s(self.pid)


def cpu_s(pid: int) -> float:
    """The processor's time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class House(msgspec.Struct, frozen=True):
    """A deployment that is set up, and what a caller of it needs."""

    config: Config
    corpus: Corpus
    org: str
    service: str
    secret: str
    store: str
    """Without its prefix, as in a path."""

    users: tuple[str, ...] = ()

    async def headers(self, server: Server) -> dict[str, str]:
        """The headers of a request, with a fresh token."""
        form = {"grant_type": "client_credentials", "resource": self.config.issuer}
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=30) as client:
            answer = await client.post("/oauth/token", data=form, auth=(self.service, self.secret))
        token = answer.raise_for_status().json()["access_token"]
        return {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}


@asynccontextmanager
async def serving(config: Config) -> AsyncIterator[Server]:
    """`tenantry serve`, for the block; its log is thrown away by its reader."""
    path = Path(config.state) / "tenantry.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    began = perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tenantry.cli", "serve", "--json", "--config", str(path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(one for one in sys.path if one)},
    )
    try:
        assert process.stdout is not None
        said: dict[str, Any] = msgspec.json.decode(await process.stdout.readline())
        port = int(said["listening"][0].rpartition(":")[2])
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            while True:
                if (await client.get("/health/ready")).status_code == 200:
                    break
                await asyncio.sleep(0.005)
        yield Server(process.pid, port, perf_counter() - began)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.wait()


async def furnished(folder: Path, corpus: Corpus, *, people: int = 0) -> House:
    """Set a deployment up in a folder, and fill it."""
    config = _config(folder)
    await set_up(config, rooms=ROOMS)
    async with serving(config):
        house = await _founded(config, corpus)
    engine = await open_store(config.where(), ROOMS, clock := SystemClock(), on_broken=lambda: None)
    try:
        journal = Journal(engine, clock, Pulse())
        await _fill(journal, house)
        return msgspec.structs.replace(house, users=tuple(await _people(journal, house, IdSource(clock), people)))
    finally:
        await engine.close()


def _config(folder: Path) -> Config:
    folder.mkdir()
    config = configured(sqlite_database(folder), folder / "state", development=False)
    return msgspec.structs.replace(config, http=HttpConfig(listen="127.0.0.1:0"))


async def _founded(config: Config, corpus: Corpus) -> House:
    """An organization, and in it a service with the administrator's role and a store with the corpus's model."""
    transport = httpx2.AsyncHTTPTransport(uds=str(beside(Path(config.database.file))))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=30) as console:

        async def post(path: str, body: object, method: str = "POST") -> dict[str, Any]:
            answer = (await console.request(method, path, json=body)).raise_for_status()
            return answer.json() if answer.content else {}

        owner = {"email": "ann@example.com", "display_name": "Ann"}
        org = (await post("/v1/organizations", {"name": "Acme", "owner": owner}))["organization"]["id"]
        entry = (await post(f"/v1/organizations/{org}/entries", {"reason": "set-up"}))["id"]
        console.headers["Tenantry-Entry"] = f"{org}/{entry}"
        service = (await post("/v1/services", {"name": "worker"}))["id"]
        secret = (await post(f"/v1/workloads/{service}/secrets", {}))["secret"]
        (await console.put(f"/v1/roles/admin/holders/{service}")).raise_for_status()
        store = (await post("/stores", {"name": "documents"}))["id"]
        await post(f"/stores/{store}/authorization-models", msgspec.json.decode(encode_model(parse(MODEL).model)))
    return House(config, corpus, org, service, secret, store)


async def _fill(journal: Journal, house: House) -> None:
    scope, store, now_ms = scopes.of_job(house.org), f"store_{house.store}", SystemClock().now_ms()
    keys = (TupleKey(one.user, one.relation, one.object) for one in house.corpus.facts())
    while some := list(islice(keys, SET_TUPLES)):
        async with journal.begin(scope, SYSTEM) as w:
            w.write(WRITE_TUPLES, store=store, rows=rows_json(some), at=now_ms)
            w.record(TuplesChanged(store, len(some), 0, ""))


async def _people(journal: Journal, house: House, ids: IdSource, count: int) -> list[str]:
    scope, now_ms = scopes.of_job(house.org), SystemClock().now_ms()
    made = [ids.new("user") for _ in range(count)]
    waiting: Iterator[str] = iter(made)
    while some := list(islice(waiting, SET_USERS)):
        async with journal.begin(scope, SYSTEM) as w:
            for one in some:
                users.add(w, one, users.Profile(f"{one}@example.com", "Somebody"), now_ms)
    return made
