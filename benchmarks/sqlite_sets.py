"""SQLite: sets that share a transaction against one transaction a set.

The baseline runs the same statements, with their leaf encoded beforehand, on one connection of the standard library to a file of its own.
"""

import itertools
import sqlite3

from benchmarks.ground import Ground, Writing, writing
from benchmarks.measure import Row, by_tasks, in_turns, one_by_one
from tenantry.cli.demo import ledger
from tenantry.core.principal import SYSTEM
from tenantry.core.scopes import TenantScope
from tenantry.journal import WriteSet
from tenantry.store import Step


async def rows(ground: Ground) -> list[Row]:
    """Sets that add an entry (entry, head, changelog, leaf), in one organization and over 32."""
    return [await _over(ground, 1, "one organization"), await _over(ground, 32, "32 organizations")]


async def _over(ground: Ground, organizations: int, spelled: str) -> Row:
    theirs = await ground.deployment("sqlite")
    async with writing(theirs) as w:
        statements = [entry_steps(w, scope) for scope in await w.organizations(organizations)]
    connection = sqlite3.connect(theirs.database.file, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    turns = itertools.cycle(statements)
    try:
        async with writing(await ground.deployment("sqlite")) as w:
            here = await w.organizations(organizations)
            return await in_turns(
                f"SQLite: sets that change state, {spelled}",
                by_tasks(lambda number: add_entry(w, here[number % organizations])),
                one_by_one(lambda: _transaction(connection, next(turns), w.ids.new("ledger"))),
                ground.pace,
                goal=3,
                note="sets/s against one transaction a set on one sqlite3 connection; "
                + ground.machine.beside(organizations, "in one process"),
            )
    finally:
        connection.close()


async def add_entry(w: Writing, scope: TenantScope) -> None:
    """One set of the ledger: state and event."""
    async with w.journal.begin(scope, SYSTEM) as made:
        ledger.add_entry(made, w.ids.new("ledger"), "cash", 5, note="from the benchmark", payer="Ann Example")


def entry_steps(w: Writing, scope: TenantScope) -> list[Step]:
    """What such a set sends."""
    made = WriteSet(scope.org)
    ledger.add_entry(made, w.ids.new("ledger"), "cash", 5, note="from the benchmark", payer="Ann Example")
    return w.steps(made)


def _transaction(connection: sqlite3.Connection, steps: list[Step], entry: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for step in steps:
        compiled = step.statement.sqlite
        values = {**step.args, "org": step.org, "id": entry}
        cursor = connection.execute(compiled.text, [values[name] for name in compiled.names])
        found = cursor.fetchall()
        if step.otherwise is not None and not found and cursor.rowcount < 1:
            raise AssertionError(f"{step.statement.name} wrote nothing")
    connection.execute("COMMIT")
