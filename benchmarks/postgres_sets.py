"""PostgreSQL: one round trip a set against one round trip a statement.

The baseline sends the same statements to the same database, each awaited by itself, in a transaction of psycopg 3 on a pool of the same
size; their leaf is encoded beforehand.
"""

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import AsyncRawCursor
from psycopg_pool import AsyncConnectionPool

from benchmarks.ground import Ground, Writing, writing
from benchmarks.measure import Row, by_tasks, in_turns
from benchmarks.sqlite_sets import add_entry, entry_steps
from tenantry.app.config import Config
from tenantry.cli.demo import ledger
from tenantry.core.principal import SYSTEM
from tenantry.core.scopes import TenantScope
from tenantry.journal import WriteSet, schema
from tenantry.store import Statement, Step
from tenantry.store.postgres import CONNECTIONS
from tenantry.store.schema import Compiled, compile_postgres, text_of


async def rows(ground: Ground) -> list[Row]:
    """Sets that add an entry, over 32 organizations and over one; and sets that only record."""
    config = await ground.deployment("postgres")
    async with writing(config) as w, baseline(config) as pool:
        changing = "sets/s against the same statements, one round trip each, in a transaction"
        return [
            await _state(ground, w, pool, 32, 1.5, changing),
            await _state(ground, w, pool, 1, 2, changing),
            await _records(ground, w, pool, 32),
        ]


async def _state(
    ground: Ground, w: Writing, pool: AsyncConnectionPool, organizations: int, goal: float, note: str
) -> Row:
    here, there = await w.organizations(organizations), await w.organizations(organizations)
    statements = [_locked(entry_steps(w, scope)) for scope in there]
    return await in_turns(
        f"PostgreSQL: sets that change state, {_spelled(organizations)}",
        by_tasks(lambda number: add_entry(w, here[number % organizations])),
        by_tasks(lambda number: transaction(pool, statements[number % organizations], w.ids.new("ledger"))),
        ground.pace,
        goal=goal,
        note=f"{note}; {_beside(ground, organizations)}",
    )


async def _records(ground: Ground, w: Writing, pool: AsyncConnectionPool, organizations: int) -> Row:
    here, there = await w.organizations(organizations), await w.organizations(organizations)
    made = [WriteSet(scope.org) for scope in there]
    for one in made:
        one.record(ISSUED)
    statements = [_locked(w.steps(one)) for one in made]
    return await in_turns(
        "PostgreSQL: sets that only record",
        by_tasks(lambda number: record(w, here[number % organizations])),
        by_tasks(lambda number: transaction(pool, statements[number % organizations], "")),
        ground.pace,
        goal=5,
        note=f"sets/s against the same statements, one round trip each, in a transaction; {_beside(ground, organizations)}",
    )


def _locked(steps: list[Step]) -> list[Step]:
    """With the lock of the organization's head before the first step of the journal: SQLite, of which the steps are, needs none."""
    first = next(place for place, step in enumerate(steps) if step.statement in PLAIN)
    return [*steps[:first], Step(steps[0].org, schema.LOCK_HEAD, {}), *steps[first:]]


ISSUED = ledger.CredentialIssued("agent of the benchmark", ["account_1", "session_1"])


async def record(w: Writing, scope: TenantScope) -> None:
    """One set that only records."""
    async with w.journal.begin(scope, SYSTEM) as made:
        made.record(ISSUED)


@asynccontextmanager
async def baseline(config: Config) -> AsyncIterator[AsyncConnectionPool]:
    """The pool of the baseline: the same role, size and kind of cursor as the engine's."""
    given = {"autocommit": True, "cursor_factory": AsyncRawCursor, "prepare_threshold": 0}
    pool: AsyncConnectionPool = AsyncConnectionPool(
        config.database.app, min_size=CONNECTIONS, max_size=CONNECTIONS, kwargs=given, open=False
    )
    await pool.open(wait=True)
    try:
        yield pool
    finally:
        await pool.close()


def _plain_leaf(rev: str) -> Compiled:
    return compile_postgres(
        "INSERT INTO leaves (org, idx, rev, xid, body, salt, personal) "  # noqa: S608 (both texts are below)
        f"SELECT :org, coalesce((SELECT max(idx) + 1 FROM leaves WHERE org = :org), 0), {rev}, "
        "pg_current_xact_id(), :body, :salt, :personal",
        schema.LEAF_ONLY.args,
    )


PLAIN = {
    schema.CHANGE: compile_postgres(
        "INSERT INTO changelog (org, rev, xid, at, touched, cut) "
        "SELECT :org, coalesce(max(rev), 0) + 1, pg_current_xact_id(), :at, :touched, :cut FROM changelog WHERE org = :org "
        "RETURNING rev",
        schema.CHANGE.args,
    ),
    schema.LEAF_OF_CHANGE: _plain_leaf("(SELECT max(rev) FROM changelog WHERE org = :org)"),
    schema.LEAF_ONLY: _plain_leaf("0"),
}
"""What the journal sends as one call, as the statements that it is."""


@functools.cache
def _plain(statement: Statement) -> Compiled:
    return PLAIN.get(statement) or compile_postgres(text_of(statement.sql, "postgres"), statement.args)


_SET_ORG = "SELECT set_config('tenantry.org', $1::text, true)"


async def transaction(pool: AsyncConnectionPool, steps: list[Step], entry: str) -> None:
    """The statements of one set, one by one."""
    async with pool.connection() as connection, connection.transaction():
        await connection.execute(_SET_ORG, (steps[0].org,), prepare=True)
        for step in steps:
            compiled = _plain(step.statement)
            values = {**step.args, "org": step.org, "id": entry}
            cursor = await connection.execute(
                compiled.text.encode(), [values[name] for name in compiled.names], prepare=True
            )
            if step.otherwise is not None and cursor.rowcount < 1:
                raise AssertionError(f"{step.statement.name} wrote nothing")


def _spelled(organizations: int) -> str:
    return "one organization" if organizations == 1 else f"{organizations} organizations"


def _beside(ground: Ground, organizations: int) -> str:
    return ground.machine.beside(organizations, "Unix socket")
