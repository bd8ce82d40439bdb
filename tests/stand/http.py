"""A server in this process, reached over real HTTP on loopback: the ledger behind routes, and callers known by a bearer token."""

import asyncio
import io
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx2
import msgspec

from tenantry.app.config import Config, HttpConfig
from tenantry.app.edge import Admit, Admitted, Asked
from tenantry.app.logs import Sink, logger
from tenantry.app.node import Node
from tenantry.app.serving import Ending, serve
from tenantry.cli.demo import ledger
from tenantry.core import scopes
from tenantry.core.errors import Denied, TenantryError
from tenantry.core.principal import Principal
from tenantry.web import Call, Dialect, Limits, Media, Permission, Rate, Raw, Route, Stream, route
from tenantry.web.refusals import Unauthenticated

READ = Permission("ledger.read", writes=False)
WRITE = Permission("ledger.write", writes=True)
BIG_BYTES = 32 << 20
EntryId = Annotated[str, msgspec.Meta(pattern="^ledger_[0-9A-HJKMNP-TV-Z]{26}$", max_length=33)]


class NewEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry to add."""

    account: Annotated[str, msgspec.Meta(pattern="^[ -~]*(?!\n)$")]
    amount: int
    tags: dict[str, Any] = {}


class Many(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which entries."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10
    account: list[str] = []


class Form(msgspec.Struct, frozen=True):
    """What a client of OAuth sends; what is unknown is ignored."""

    grant_type: Annotated[str, msgspec.Meta(min_length=1)]
    scope: str = ""


class Unforeseen(Exception):
    """Something that no room foresaw."""


class Gate:
    """Holds requests until the test lets them go."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()
        self.left = asyncio.Event()


def ledger_routes(gate: Gate) -> tuple[Route, ...]:
    """Routes of each kind over the ledger."""

    @route("POST", "/v1/entries", WRITE, status=201, limits=Limits(body_bytes=1_000, depth=4, body_s=0.3))
    async def add_entry(call: Call, body: NewEntry) -> ledger.Entry:
        """Add an entry."""
        entry = f"ledger_{call.origin.request.removeprefix('request_')}"
        async with call.begin() as w:
            ledger.add_entry(w, entry, body.account, body.amount)
        return await call.reads.one(ledger.ENTRY, id=entry)

    @route("GET", "/v1/entries/{entry_id}", READ)
    async def get_entry(call: Call, entry_id: EntryId) -> ledger.Entry:
        """One entry."""
        return await call.reads.one(ledger.ENTRY, id=entry_id)

    @route("GET", "/v1/entries", READ)
    async def list_entries(call: Call, query: Many) -> list[ledger.Entry]:
        """The entries of some accounts."""
        rows = await call.reads.all(ledger.ENTRIES_OF)
        return [row for row in rows if not query.account or row.account in query.account][: query.limit]

    @route("POST", "/v1/entries/{entry_id}/correct", WRITE)
    async def correct_entry(call: Call, entry_id: EntryId) -> ledger.Entry:
        """Add one to an entry."""
        return await call.run(ledger.correct_entry, entry_id, 1)

    @route("DELETE", "/v1/entries/{entry_id}", WRITE, status=204)
    async def delete_entry(call: Call, entry_id: EntryId) -> None:
        """Refuse to delete what is there."""
        await call.reads.one(ledger.ENTRY, id=entry_id)

    @route("POST", "/v1/sneaky", READ, asks=True)
    async def sneaky(call: Call) -> int | None:
        """Write under a reading permission."""
        async with call.begin() as w:
            ledger.add_member(w, "sneaky")
        return 1

    @route("GET", "/v1/seldom", READ, limits=Limits(rate=Rate(burst=2, every_ms=60_000)))
    async def seldom(_: Call) -> int:
        """What one caller may ask for twice."""
        return 1

    @route("GET", "/v1/broken", READ)
    async def broken(call: Call) -> int:
        """Break in a way that quotes a secret."""
        raise Unforeseen(f"postgresql://app:hunter2@db/x of {call.principal.id}")

    @route("GET", "/v1/slow", READ)
    async def slow(_: Call) -> int:
        """Wait for the test."""
        gate.entered.set()
        await gate.opened.wait()
        return 1

    @route("POST", "/oauth/token", WRITE, media=Media.FORM, dialect=Dialect.OAUTH)
    async def token(_: Call, body: Form) -> Form:
        """Give back what was sent."""
        return body

    @route("GET", "/scim/Users/{user_id}", READ, dialect=Dialect.SCIM)
    async def scim_user(call: Call, user_id: str) -> ledger.Entry:
        """A user, or not."""
        return await call.reads.one(ledger.ENTRY, id=user_id)

    @route("GET", "/v1/big", READ)
    async def big(_: Call) -> Raw:
        """More than all buffers hold."""
        return Raw(bytes(BIG_BYTES), "application/octet-stream")

    @route("GET", "/v1/ticks", READ)
    async def ticks(call: Call) -> Stream:
        """One tick at once, and the next when the test says so."""

        async def pieces() -> AsyncGenerator[bytes, None]:
            try:
                yield b"data: tick\n\n"
                gate.entered.set()
                await gate.opened.wait()
                yield b"data: tock\n\n"
            finally:
                gate.left.set()

        call.answer_headers["X-Accel-Buffering"] = "no"
        return Stream(pieces(), "text/event-stream")

    return (
        *(ticks, seldom),
        *(add_entry, get_entry, list_entries, correct_entry, delete_entry),
        *(sneaky, broken, slow, token, scim_user, big),
    )


class Served(msgspec.Struct, frozen=True, eq=False):
    """A server that answers."""

    node: Node
    client: httpx2.AsyncClient
    port: int
    names: list[str]
    gate: Gate
    ending: Ending
    said: io.StringIO
    sink: Sink
    known: dict[str, Principal]
    """Whom a bearer token stands for. A token that begins with `weak` may not write."""

    ended: Callable[[], Awaitable[None]]
    """Waits until the server has ended."""

    def enter(self, token: str, principal: Principal) -> dict[str, str]:
        """Make a caller known; the headers by which it proves itself."""
        self.known[token] = principal
        return {"Authorization": f"Bearer {token}"}

    def log(self) -> list[dict[str, Any]]:
        """The lines of its log so far, the last request's among them."""
        self.sink.settle()
        return [msgspec.json.decode(line) for line in self.said.getvalue().splitlines()]

    async def raw(self, *parts: bytes, then: float | None = None) -> bytes:
        """What comes back on a connection of its own, until it is closed; the connection stays open for writing."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            async with asyncio.timeout(then or 5):
                return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def served(
    node: Node,
    config: Config,
    *,
    inside: bool = False,
    routes: tuple[Route, ...] = (),
    admit: Admit | None = None,
    refused: Callable[[Admitted, TenantryError], None] = lambda *_: None,
) -> AsyncIterator[Served]:
    """Serve the node for the block: the ledger to whoever is made known, unless other routes and callers are given."""
    gate, ending, known = Gate(), Ending(), dict[str, Principal]()
    said = io.StringIO()
    sink = Sink(said)
    names: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()

    async def admit_known(asked: Asked) -> Admitted:
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in known:
            raise Unauthenticated
        if token.startswith("weak") and asked.route.permission.writes:
            raise Denied(f"This needs {asked.route.permission.name}.")
        return Admitted(known[token], scopes.of_principal(known[token]))

    inner = "127.0.0.1:0" if inside else ""
    http = HttpConfig(listen="127.0.0.1:0", inside=inner, proxies=config.http.proxies)
    running = asyncio.create_task(
        serve(
            node,
            msgspec.structs.replace(config, http=http),
            sink,
            logger(sink, node.clock, readable=False),
            ending,
            routes=routes or ledger_routes(gate),
            admit=admit or admit_known,
            refused=refused,
            on_listening=names.set_result,
        )
    )

    async def ended() -> None:
        await asyncio.wait({running})

    await asyncio.wait({running, names}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        await running
    port = int(names.result()[0].rpartition(":")[2])
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        try:
            yield Served(node, client, port, names.result(), gate, ending, said, sink, known, ended)
        finally:
            gate.opened.set()
            await client.aclose()
            ending.tell(signal.SIGINT)
            await running
            sink.close()


def local_client(socket: Path) -> httpx2.AsyncClient:
    """A client of the socket beside the database."""
    return httpx2.AsyncClient(
        transport=httpx2.AsyncHTTPTransport(uds=str(socket)), base_url="http://localhost", timeout=10
    )
