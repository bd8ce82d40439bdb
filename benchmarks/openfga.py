"""A check against OpenFGA's, for each second of processor time that the server takes: the same model, tuples, questions and load
generator.

OpenFGA runs over PostgreSQL on this machine, its caches off as they are by default; what PostgreSQL itself takes is not counted
against it. It keeps no log of decisions and, as it runs here, authenticates nobody. It is found as `openfga` on the path; where
the Go toolchain is, it is built by `go install github.com/openfga/openfga/cmd/openfga@latest`.
"""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import islice

import httpx2
import msgspec
import psycopg.conninfo

from benchmarks.corpus import ALLOWED_ONE_IN, MODEL, Corpus
from benchmarks.ground import Ground
from benchmarks.house import cpu_s, furnished, serving
from benchmarks.http_check import QUESTIONS, check_body, until
from benchmarks.load import CONNECTIONS, Generator, Load, generator
from benchmarks.measure import Row, Side, Skipped, in_turns
from tenantry.access.language import parse
from tenantry.access.wire import encode_model

TUPLES = 20_000
"""OpenFGA is given them a hundred in one request."""

WRITE_MAX = 100
WRITERS = 8
NAME = "OpenFGA: checks for each second of processor time"


async def rows(ground: Ground) -> list[Row]:
    """Both servers, asked the same.

    Raises:
        Skipped: there is no OpenFGA, or no PostgreSQL for it.
    """
    program = shutil.which("openfga")
    if program is None:
        raise Skipped("no `openfga` on the path: go install github.com/openfga/openfga/cmd/openfga@latest")
    corpus, url = Corpus(TUPLES), _url(ground.empty_database("openfga"))
    house = await furnished(ground.folder / "openfga", corpus)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(house.config))
        load = await stack.enter_async_context(generator())
        peer = await stack.enter_async_context(_openfga(program, url))
        store = await _filled(peer.port, corpus)
        bodies = [check_body(one) for one in corpus.questions(QUESTIONS)]
        ours = Load(server.port, f"/stores/{house.store}/check", await house.headers(server), bodies, 0)
        theirs = Load(peer.port, f"/stores/{store}/check", {"Content-Type": "application/json"}, bodies, 0)
        return [
            await in_turns(
                NAME,
                _a_core(load, ours, server.cpu_s),
                _a_core(load, theirs, lambda: cpu_s(peer.pid)),
                ground.pace,
                goal=2,
                note=f"checks a second of processor time of the server's process; {corpus.tuples:,} tuples, depth 4, one in "
                f"{ALLOWED_ONE_IN} allowed; OpenFGA over PostgreSQL, caches off, nobody authenticated, nothing recorded; "
                f"{ground.machine.beside(1, f'loopback, {CONNECTIONS} connections')}",
            )
        ]


def _a_core(load: Generator, what: Load, cpu: Callable[[], float]) -> Side:
    async def side(seconds: float) -> float:
        before = cpu()
        done = await load.run(msgspec.structs.replace(what, seconds=seconds))
        return done.answers / (cpu() - before)

    return side


class _Peer(msgspec.Struct, frozen=True):
    pid: int
    port: int


@asynccontextmanager
async def _openfga(program: str, url: str) -> AsyncIterator[_Peer]:
    """OpenFGA over an empty database, for the block."""
    given = ("--datastore-engine", "postgres", "--datastore-uri", url)
    quiet = asyncio.subprocess.DEVNULL
    migrating = await asyncio.create_subprocess_exec(program, "migrate", *given, stdout=quiet, stderr=quiet)
    if await migrating.wait():
        raise Skipped("OpenFGA cannot migrate its database here")
    port, inner = _free(), _free()
    process = await asyncio.create_subprocess_exec(
        *(program, "run", *given, "--http-addr", f"127.0.0.1:{port}", "--grpc-addr", f"127.0.0.1:{inner}"),
        *("--playground-enabled=false", "--metrics-enabled=false", "--log-level", "none"),
        stdout=quiet,
        stderr=quiet,
        env={**os.environ, "OPENFGA_TELEMETRY_ENABLED": "false"},
    )
    try:
        await until(lambda: httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}"), "/stores")
        yield _Peer(process.pid, port)
    finally:
        process.terminate()
        await process.wait()


async def _filled(port: int, corpus: Corpus) -> str:
    """A store of the peer's with model and tuples."""
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        store: str = (await client.post("/stores", json={"name": "documents"})).raise_for_status().json()["id"]
        model = msgspec.json.decode(encode_model(parse(MODEL).model))
        (await client.post(f"/stores/{store}/authorization-models", json=model)).raise_for_status()
        facts = corpus.facts()

        async def write() -> None:
            while some := list(islice(facts, WRITE_MAX)):
                keys = [msgspec.to_builtins(one) for one in some]
                (await client.post(f"/stores/{store}/write", json={"writes": {"tuple_keys": keys}})).raise_for_status()

        await asyncio.gather(*(write() for _ in range(WRITERS)))
    return store


def _url(conninfo: str) -> str:
    """What libpq takes, as the URL that Go's driver takes."""
    given = psycopg.conninfo.conninfo_to_dict(conninfo)
    return f"postgres://{given['user']}@localhost/{given['dbname']}?host={given['host']}&sslmode=disable"


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]
