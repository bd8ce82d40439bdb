"""PostgreSQL: any number of nodes, each set one statement, which is one transaction and one round trip.

Each registered statement is a function that sets the tenant for the transaction alone and raises where it had to write and did not; a set
is one `SELECT` that calls them in order. It runs in a task of its own, so that a cancelled caller leaves it whole. Sets that only
record or touch ephemeral rows go through the `Batcher`, one transaction for many.

What a crash leaves: every answered set; of an unanswered one all or nothing, which is why a connection lost before the answer is
`Unknown` and never a refusal.
"""

import asyncio
import functools
import itertools
import logging
import random
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
import psycopg
from psycopg import AsyncConnection, AsyncRawCursor
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from tenantry.core.errors import Unavailable, Unknown, Unsafe
from tenantry.core.tasks import end
from tenantry.store import fence
from tenantry.store.batch import Batcher
from tenantry.store.engine import Place, Survey
from tenantry.store.line import Line, hang_up
from tenantry.store.program import Outcome, Program, Row
from tenantry.store.schema import Read, Statement
from tenantry.store.sqlstate import RETRIED, RETRIES, refusal
from tenantry.store.turns import Turns

T = TypeVar("T")
CONNECTIONS = 8
"""Connections a node writes over as `app`, the batcher's one beside them."""

WORKING = 2
"""Connections a node does its duties over, as `worker`."""

READING = 4
"""Connections a node reads over, so that no queue of writers stands before a read."""

CUTTING = 2
"""Connections for sets that end access, so that no queue of writers stands before them, nor one cut that waits for a lock."""

LOCK_TIMEOUT_MS = 2_000
STATEMENT_TIMEOUT_MS = 10_000
SILENT_AFTER_S = STATEMENT_TIMEOUT_MS / 1000 + 1
"""A set or read that takes longer meets a network that drops packets, since the server itself would have ended it."""

PREPARED = 16
"""Statements of a set that is prepared: longer ones are seldom of the same form twice."""

_PLACE = (
    "SELECT current_database()::text, (SELECT system_identifier FROM pg_control_system())::text, "
    "substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), current_setting('synchronous_standby_names')"
)
_FACT_NAMES = (
    "engine",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "synchronous_standby_names",
    "role",
    "database",
    "data_checksums",
)
_FACTS = (
    "SELECT 'PostgreSQL ' || current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit'), "
    "current_setting('full_page_writes'), current_setting('synchronous_standby_names'), current_user::text, "
    "current_database()::text, current_setting('data_checksums')"
)
_WAITS = ("on", "remote_apply", "remote_write")
DURABLE = {
    "fsync": ("on",),
    "full_page_writes": ("on",),
    "synchronous_commit": _WAITS,
    "synchronous_commit_of_worker": _WAITS,
}
"""The facts on which durability rests, and the values that give it. Commits are a matter of each role that writes."""

# What a connection suffers is told by the refusal that comes of it.
logging.getLogger("psycopg").setLevel(logging.ERROR)
CHANNEL = "tenantry"
NOTIFY_EVERY_S = 0.005
"""Wake-ups are coalesced: NOTIFY takes a lock of the whole cluster at commit, so it runs apart and seldom."""


class PostgresUrls(msgspec.Struct, frozen=True):
    """Connection strings of the three roles that a server uses. Its `repr` is a mask: they hold passwords."""

    app: str
    follower: str
    worker: str

    def __repr__(self) -> str:
        return "PostgresUrls('…')"


class PostgresEngine:
    """A cluster's database. See `Engine` for what each method promises."""

    dialect = "postgres"

    def __init__(self, urls: PostgresUrls) -> None:
        self._pools = {
            "app": _pool(urls.app, CONNECTIONS + 1),
            "reading": _pool(urls.app, READING),
            "cuts": _pool(urls.app, CUTTING),
            "worker": _pool(urls.worker, WORKING),
        }
        self._line = Line(urls.follower)
        self._urls = urls
        self._change = asyncio.Event()
        self._committed = asyncio.Event()
        self._turns = {
            "app": Turns(self._retried, CONNECTIONS),
            "cuts": Turns(self._retried, CUTTING),
            "worker": Turns(self._retried, WORKING),
        }
        self._batcher = Batcher(self._on_app, self._turns["app"].run)
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, *, development: bool) -> None:
        """Connect as all three roles and refuse a set-up that would void a promise.

        Raises:
            Unavailable: the database cannot be reached.
            Unsafe: two are one, a role could bypass row security, a table has none, or commits would not be durable.
        """
        for name, pool in self._pools.items():
            role = "worker" if name == "worker" else "app"
            try:
                await pool.open(wait=True, timeout=10)
            except PoolTimeout as error:
                raise Unavailable(
                    f"The database cannot be reached as {role}.", hint="Check the address, the role and its password."
                ) from error
        async with self._pools["app"].connection() as app, self._pools["worker"].connection() as worker:
            await fence.refuse_unsafe({"app": app, "follower": await self._line.connection(), "worker": worker})
        if not development:
            await self._refuse_undurable()
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._notify())]
        self._batcher.start()

    async def run(self, program: Program) -> Outcome:
        outcome = await (self._batcher if program.many is not None else self._turns[_way(program)]).run(program)
        self._committed.set()
        return outcome

    async def read(self, read: Read[T], org: str, args: dict[str, Any]) -> list[T]:
        call = read.call
        values = {"org": org, **args}
        rows = await self._rows("reading", call.text, [values[name] for name in call.names])
        row = read.row
        return [row(*r) for r in rows]

    async def survey(self, survey: Survey, **args: Any) -> list[Row]:
        compiled = survey.postgres
        given = [args[name] for name in compiled.names]
        if survey.role == "follower":
            return await self._line.rows(compiled.text, given)
        return await self._rows(survey.role, compiled.text, given)

    async def changed(self, timeout_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):  # `wait_for` can lose a cancellation that comes with the wake-up
                await self._change.wait()
        self._change.clear()

    async def db_time_ms(self) -> int:
        rows = await self._line.rows("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint", ())
        return rows[0][0]

    async def place(self) -> Place:
        ((database, cluster, timeline, standbys),) = await self._rows("worker", _PLACE, ())
        return Place(f"{database}@{cluster}", timeline, synchronous=bool(standbys))

    async def facts(self) -> dict[str, str]:
        (as_app,), (as_worker,) = await self._rows("app", _FACTS, ()), await self._rows("worker", _FACTS, ())
        return {
            **dict(zip(_FACT_NAMES, as_app, strict=True)),
            "synchronous_commit_of_worker": as_worker[_FACT_NAMES.index("synchronous_commit")],
        }

    async def close(self) -> None:
        await self._batcher.close()
        for turns in self._turns.values():
            await turns.close()
        for task in self._tasks:
            await end(task)
        await self._line.close()
        for pool in self._pools.values():
            await pool.close()

    async def _retried(self, program: Program) -> Outcome:
        for attempt in range(RETRIES):
            try:
                return await self._once(program)
            except RETRIED:
                await asyncio.sleep(random.uniform(0.001, 0.01) * 2**attempt)  # noqa: S311 - a pause, not a secret
        try:
            return await self._once(program)
        except RETRIED as error:
            raise refusal(error) from error

    async def _once(self, program: Program) -> Outcome:
        """The whole program as one statement, which is one transaction. PostgreSQL works a list of calls out from left to right."""
        places = [place for place, step in enumerate(program.steps) if step.statement.function is not None]
        steps = [program.steps[place] for place in places]
        given: list[Any] = []
        for place, step in zip(places, steps, strict=True):
            given += [step.org, *(step.args[name] for name in step.statement.args)]
            given.append(-1 if step.otherwise is None else place)
        text = _calls(tuple(step.statement for step in steps))
        async with self._connection(_way(program)) as connection:
            try:
                cursor = await connection.execute(text, given, prepare=len(steps) <= PREPARED)
                row = await cursor.fetchone() or ()
            except RETRIED:
                raise
            except (psycopg.Error, UnicodeEncodeError) as error:
                raise refusal(error, program) from error
        return Outcome([made for step, made in zip(steps, row, strict=True) if step.statement.returns])

    async def _on_app(self, text: bytes, values: list[Any]) -> Row:
        """The one row of a batch's statement, which is its transaction."""
        async with self._connection("app") as connection:
            return await (await connection.execute(text, values, prepare=True)).fetchone() or ()

    def _connection(self, pool: str) -> "_Borrowed":
        return _Borrowed(self._pools[pool])

    async def _rows(self, role: str, text: str, values: Any) -> list[Row]:
        """Rows of a read, asked for once more if the connection turns out to be dead: after a fail-over every pooled one is."""
        try:
            return await self._read_once(role, text, values)
        except Unknown:
            await self._pools[role].check()
        try:
            return await self._read_once(role, text, values)
        except Unknown as error:
            raise Unavailable("The connection to the database broke.", hint="Try again in a second.") from error

    async def _read_once(self, role: str, text: str, values: Any) -> list[Row]:
        async with self._connection(role) as connection:
            try:
                return await (await connection.execute(text.encode(), values, prepare=True)).fetchall()
            except psycopg.Error as error:
                raise refusal(error) from error

    async def _refuse_undurable(self) -> None:
        facts = await self.facts()
        weak = [f"{name} = {facts[name]}" for name, durable in DURABLE.items() if facts[name] not in durable]
        if weak:
            raise Unsafe(
                f"The database would lose what it acknowledged: {', '.join(weak)}.",
                hint="Turn them on; only development may go without.",
            )

    async def _listen(self) -> None:
        """Hear wake-ups. They may be lost: the reader polls anyway, so a broken connection is only taken up again."""
        while True:
            try:
                async with await AsyncConnection.connect(self._urls.follower, autocommit=True) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    async for _ in connection.notifies():
                        self._change.set()
            except psycopg.OperationalError:
                await asyncio.sleep(0.5)

    async def _notify(self) -> None:
        """Wake the other nodes (and this one) after commits, at most every `NOTIFY_EVERY_S`."""
        while True:
            await self._committed.wait()
            self._committed.clear()
            self._change.set()
            with suppress(psycopg.OperationalError, Unavailable):  # the others look by themselves
                async with self._connection("worker") as connection:
                    await connection.execute(f"NOTIFY {CHANNEL}")
            await asyncio.sleep(NOTIFY_EVERY_S)


@functools.lru_cache(maxsize=1024)
def _calls(statements: tuple[Statement, ...]) -> bytes:
    """The text that calls the functions of these statements in their order, each with its arguments and its place."""
    calls: list[str] = []
    number = itertools.count(1)
    for statement in statements:
        assert statement.function is not None
        arguments = ", ".join(f"${next(number)}::{kind}" for kind in (*statement.types, "bigint"))
        calls.append(f"{statement.function.name}({arguments})")
    return f"SELECT {', '.join(calls)}".encode()


def _way(program: Program) -> str:
    """The pool of a set that has a transaction of its own, and the turns before it."""
    return "cuts" if program.cuts else program.role


class _Borrowed:
    """A pool's connection for a block; not getting one means that nothing was written. One that falls silent is hung up."""

    __slots__ = ("_connection", "_deadline", "_pool")

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    async def __aenter__(self) -> AsyncConnection:
        try:
            self._connection = await self._pool.getconn()
        except (PoolTimeout, psycopg.OperationalError) as error:
            raise Unavailable(
                "The database cannot be reached.", hint="Try again in a second; nothing was written."
            ) from error
        self._deadline = asyncio.get_running_loop().call_later(SILENT_AFTER_S, hang_up, self._connection)
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        self._deadline.cancel()
        await self._pool.putconn(self._connection)


async def _bounded(connection: AsyncConnection) -> None:
    """No statement of ours waits for ever: neither for a lock that somebody holds, nor for the database."""
    await connection.execute(f"SET lock_timeout = {LOCK_TIMEOUT_MS}".encode())
    await connection.execute(f"SET statement_timeout = {STATEMENT_TIMEOUT_MS}".encode())


def _pool(url: str, size: int) -> AsyncConnectionPool:
    return AsyncConnectionPool(
        url,
        min_size=1,
        max_size=size,
        open=False,
        timeout=5,
        configure=_bounded,
        kwargs={"autocommit": True, "cursor_factory": AsyncRawCursor, "prepare_threshold": 0, "connect_timeout": 2},
    )
