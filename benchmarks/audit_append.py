"""What it costs to be a log: a set that appends a leaf against one that inserts the same bytes into a plain, ephemeral table.

Both go the same way through the journal. The leaf has its gapless index, under the lock of its organization's head, and its canonical form;
the plain row has an id and the event as JSON.
"""

import msgspec

from benchmarks.ground import Ground, Writing, writing
from benchmarks.measure import Row, by_tasks, in_turns
from benchmarks.postgres_sets import ISSUED, record
from tenantry.core.principal import SYSTEM
from tenantry.core.scopes import TenantScope
from tenantry.store import Kind, Migration, Schema, Statement, Table

ORGANIZATIONS = 32
LINES = Table("bench_lines", Kind.EPHEMERAL)
ADD_LINE = Statement(
    "bench_add_line",
    LINES,
    "INSERT INTO bench_lines (org, id, at, actor, body) VALUES (:org, :id, :at, :actor, :body)",
    {"id": str, "at": int, "actor": str, "body": bytes},
    key=("id",),
    many="INSERT INTO bench_lines (org, id, at, actor, body) SELECT org, id, at, actor, body FROM alive RETURNING org, id",
)
SCHEMA = Schema(
    room="bench",
    tables=(LINES,),
    statements=(ADD_LINE,),
    reads=(),
    migrations=(
        Migration(
            1,
            "expand",
            "lines",
            "CREATE TABLE bench_lines (org text NOT NULL, id text NOT NULL, at {int} NOT NULL, actor text NOT NULL, body {bytes} NOT NULL, "
            "PRIMARY KEY (org, id)) {strict};",
        ),
    ),
)


async def rows(ground: Ground) -> list[Row]:
    """Append and plain insert, on both databases."""
    return [
        await _on(ground, "sqlite", "SQLite", "in one process"),
        await _on(ground, "postgres", "PostgreSQL", "Unix socket"),
    ]


async def _on(ground: Ground, engine: str, name: str, socket: str) -> Row:
    async with writing(await ground.deployment(engine, SCHEMA), SCHEMA) as w:
        scopes = await w.organizations(ORGANIZATIONS)
        return await in_turns(
            f"{name}: append to the log",
            by_tasks(lambda number: record(w, scopes[number % ORGANIZATIONS])),
            by_tasks(lambda number: _plain(w, scopes[number % ORGANIZATIONS])),
            ground.pace,
            goal=0.8,
            note=f"sets/s against a plain insert into an ephemeral table; {ground.machine.beside(ORGANIZATIONS, socket)}",
        )


async def _plain(w: Writing, scope: TenantScope) -> None:
    async with w.journal.begin(scope, SYSTEM) as made:
        made.write(
            ADD_LINE,
            id=w.ids.new("entry"),
            at=w.clock.now_ms(),
            actor=SYSTEM.id,
            body=msgspec.json.encode(ISSUED),
        )
