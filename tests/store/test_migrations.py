"""Migrations on both databases: once, by one migrator, resumable, and refused by a server of another version."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import psycopg
import pytest

from tenantry.app.config import Config, to_toml
from tenantry.app.node import open_node
from tenantry.app.setup import set_up
from tenantry.cli.demo import ledger
from tenantry.core.clock import SystemClock
from tenantry.core.errors import Denied, Unavailable, Unsafe
from tenantry.store import Kind, Migration, Schema, Table, open_store, prepare
from tests.faults.disk import Disk
from tests.stand.clock import ManualClock
from tests.stand.databases import sqlite_database
from tests.stand.followers import Heard
from tests.stand.nodes import ALL_ROOMS, deployed, node_of
from tests.stand.organizations import on, open_organization

NOTES = Table("ledger_notes", Kind.STATE)
TWO_STEPS = (
    Migration(2, "expand", "notes", "CREATE TABLE ledger_notes (org text NOT NULL PRIMARY KEY, note text) {strict};"),
    Migration(3, "expand", "pages", "ALTER TABLE ledger_notes ADD COLUMN page {int};"),
)
CONTRACT = Migration(4, "contract", "no notes", "DROP TABLE ledger_notes;")


def rooms(*more: Migration, tables: tuple[Table, ...] = ()) -> list[Schema]:
    """The rooms of a server whose ledger has more migrations and tables."""
    schema = ledger.SCHEMA
    newer = msgspec.structs.replace(schema, migrations=(*schema.migrations, *more), tables=(*schema.tables, *tables))
    return [room if room is not schema else newer for room in ALL_ROOMS]


NEWER = rooms(*TWO_STEPS, tables=(NOTES,))


async def serve(config: Config, schemas: list[Schema]) -> None:
    """Open and close the store, as a server of these rooms."""
    engine = await open_store(config.where(), schemas, SystemClock(), development=True, on_broken=lambda: None)
    await engine.close()


async def test_ops_16_migrating_again_changes_nothing(fresh: Config) -> None:
    """OPS-16: what was run is not run again, and setting up again changes nothing."""
    assert await prepare(fresh.where(), rooms()) == []
    assert await prepare(fresh.where(), NEWER) == ["ledger 2: notes", "ledger 3: pages"]
    assert await prepare(fresh.where(), NEWER) == []
    await deployed(fresh.where(), Path(fresh.state))


async def test_ops_16_a_server_refuses_a_database_of_another_version(fresh: Config) -> None:
    """OPS-16: a newer server refuses an older database, an older one a contracted database; each says which version."""
    older, newer = rooms(), NEWER
    with pytest.raises(Unsafe, match=r"lacks ledger 2, ledger 3"):
        await serve(fresh, newer)
    await prepare(fresh.where(), newer)
    await serve(fresh, newer)
    await serve(fresh, older)
    contracted = rooms(*TWO_STEPS, CONTRACT)
    assert await prepare(fresh.where(), contracted) == []
    assert await prepare(fresh.where(), contracted, phase="contract") == ["ledger 4: no notes"]
    await serve(fresh, contracted)
    with pytest.raises(Unsafe, match=r"contracted by a newer server \(ledger 4\)"):
        await serve(fresh, older)


async def test_ops_16_contracting_is_refused_until_everything_is_expanded(fresh: Config) -> None:
    """OPS-16: what the previous version needs is removed only when asked for, and never before this version's own steps ran."""
    contracted = rooms(*TWO_STEPS, CONTRACT)
    with pytest.raises(Unsafe, match=r"ledger 2, ledger 3 did not run yet"):
        await set_up(fresh, rooms=contracted, contract=True)
    assert (await set_up(fresh, rooms=NEWER)).migrations == ["ledger 2: notes", "ledger 3: pages"]
    await serve(fresh, NEWER)
    assert (await set_up(fresh, rooms=contracted, contract=True)).migrations == ["ledger 4: no notes"]
    assert (await set_up(fresh, rooms=contracted, contract=True)).migrations == []
    await serve(fresh, contracted)


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_ops_16_a_step_that_takes_more_than_two_seconds_is_undone(fresh: Config) -> None:
    """OPS-16: statements that are each quick enough do not hold a lock for longer together; nothing of the step is there."""
    slow = "CREATE TABLE ledger_pages (org text NOT NULL);\n" + "SELECT pg_sleep(0.9);\n" * 3
    with pytest.raises(Unavailable, match="within 2 s"):
        async with asyncio.timeout(5):
            await prepare(fresh.where(), rooms(Migration(2, "expand", "pages", slow)))
    quick = Migration(2, "expand", "pages", "CREATE TABLE ledger_pages (org text NOT NULL);")
    assert await prepare(fresh.where(), rooms(quick)) == ["ledger 2: pages"]


async def test_ops_16_a_step_that_fails_half_way_leaves_the_steps_before_it(fresh: Config) -> None:
    """OPS-16: a migration that fails in its second statement leaves nothing of its step; the next run goes on there."""
    broken = Migration(
        3, "expand", "pages", "CREATE TABLE ledger_pages (org text NOT NULL);\nALTER TABLE nowhere ADD COLUMN x text;"
    )
    with pytest.raises((sqlite3.OperationalError, psycopg.errors.UndefinedTable)):
        await prepare(fresh.where(), rooms(TWO_STEPS[0], broken))
    mended = Migration(3, "expand", "pages", "CREATE TABLE ledger_pages (org text);")
    assert await prepare(fresh.where(), rooms(TWO_STEPS[0], mended)) == ["ledger 3: pages"]


async def test_ops_16_of_two_migrators_at_once_one_migrates(fresh: Config) -> None:
    """OPS-16: two that migrate at once: each step runs once; the second is refused or finds it done."""
    outcomes = await asyncio.gather(*(prepare(fresh.where(), NEWER) for _ in range(2)), return_exceptions=True)
    ran = [title for outcome in outcomes if isinstance(outcome, list) for title in outcome]
    assert ran == ["ledger 2: notes", "ledger 3: pages"]
    assert all(isinstance(outcome, list | Unsafe | Unavailable) for outcome in outcomes)


_MIGRATE = """
import asyncio, sys
from pathlib import Path
from tenantry.app.config import load
from tenantry.store import prepare
from tests.store import test_migrations as at
asyncio.run(prepare(load(Path(sys.argv[1])).where(), at.rooms(*getattr(at, sys.argv[2])) ))
"""
LOCKED = (TWO_STEPS[0], Migration(3, "expand", "pages", "ALTER TABLE ledger_members ADD COLUMN page {int};"))


def migrator(config: Config, folder: Path, steps: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A migrator in a process of its own, which runs the steps of this name."""
    path = folder / "migrate.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    paths = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.Popen([sys.executable, "-c", _MIGRATE, path, steps], env={**os.environ, **paths, **(env or {})})


@pytest.mark.parametrize(
    ("step", "nth", "left"),
    [
        pytest.param("write", 1, 2, marks=pytest.mark.long),
        ("write", 4, 2),
        pytest.param("sync", 3, 2, marks=pytest.mark.long),
        ("sync", 4, 1),
        ("synced", 4, 0),
    ],
    ids=["before the first", "in the first", "first not synced", "second not synced", "after the last"],
)
async def test_ops_16_a_migrator_killed_on_sqlite_is_taken_up_where_it_was(
    tmp_path: Path, step: str, nth: int, left: int
) -> None:
    """OPS-16: kill -9 and a loss of power at a named step of a migration: what stands is whole steps, the next run does the rest."""
    folder = tmp_path / "data"
    folder.mkdir()
    config = await deployed(sqlite_database(folder), tmp_path / "state")
    disk = Disk(tmp_path / "disk", prefix=folder)
    disk.kill_at(step, "wal", nth=nth)
    with migrator(config, tmp_path, "TWO_STEPS", disk.env) as migrating:
        assert migrating.wait(30) == -signal.SIGKILL
    disk.power_loss()
    assert await prepare(config.where(), NEWER) == ["ledger 2: notes", "ledger 3: pages"][2 - left :]
    await serve(config, rooms())
    await serve(config, NEWER)


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_ops_16_a_migrator_killed_on_postgres_is_taken_up_where_it_was(fresh: Config, tmp_path: Path) -> None:
    """OPS-16: a migrator that dies in its second step, waiting for a lock, leaves the first whole; the next run, which waits for
    what is left of it, does the second alone."""
    async with await psycopg.AsyncConnection.connect(fresh.database.migrator) as other:
        await other.execute("LOCK TABLE tenantry.ledger_members")
        waiting = (
            "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER TABLE ledger_m%'"
        )
        with migrator(fresh, tmp_path, "LOCKED") as migrating:
            async with asyncio.timeout(10):
                while not await (await other.execute(waiting)).fetchone():
                    await other.execute("SELECT pg_stat_clear_snapshot()")
            migrating.kill()
        taking_up = asyncio.create_task(prepare(fresh.where(), rooms(*LOCKED)))
        await asyncio.wait({taking_up}, timeout=0.1)
        assert not taking_up.done()
    assert await taking_up == ["ledger 3: pages"]


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_ops_16_a_server_and_its_successor_serve_while_and_after_the_database_is_migrated(
    fresh: Config, tmp_path: Path
) -> None:
    """OPS-16: expand steps run under the traffic of version N; then N and N+1 write and hear each other's changes."""
    newer = rooms(*LOCKED, tables=(NOTES,))
    heard, heard_by_newer = Heard(), Heard()
    async with node_of(fresh, on_open=heard) as node:
        acme = await open_organization(node)
        migrated = asyncio.create_task(prepare(fresh.where(), newer))
        written = 0
        while not migrated.done() or written < 20:
            began = time.monotonic()
            await acme.add_member(f"{written}")
            assert time.monotonic() - began < 2
            written += 1
        assert await migrated == ["ledger 2: notes", "ledger 3: pages"]
        joined = await deployed(fresh.where(), tmp_path / "state of the newer")
        async with open_node(
            joined, rooms=newer, derivers=lambda *_: (ledger.Balances(),), on_open=heard_by_newer
        ) as successor:
            credential = await acme.issue("user_a")
            for n in range(5):
                await acme.add_member(f"of the older {n}")
                await on(successor, acme).add_member(f"of the newer {n}", credential)
            await heard.until(acme.id, written + 10)
            await heard_by_newer.until(acme.id, written + 10)
            assert heard.revisions(acme.id) == list(range(1, written + 11))
            await on(successor, acme).cut("user_a")
            with pytest.raises(Denied):
                await acme.add_member("dead", credential)


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_ops_16_a_migration_waits_two_seconds_for_a_lock_and_no_longer(fresh: Config) -> None:
    """OPS-16: where traffic holds a table, the migrator gives up within two seconds instead of holding up what comes after."""
    newer = rooms(Migration(2, "expand", "pages", "ALTER TABLE ledger_members ADD COLUMN page {int};"))
    async with await psycopg.AsyncConnection.connect(fresh.database.app) as traffic:
        await traffic.execute("SELECT count(*) FROM ledger_members")
        with pytest.raises(Unavailable, match="within 2 s"):
            async with asyncio.timeout(5):
                await prepare(fresh.where(), newer)
    assert await prepare(fresh.where(), newer) == ["ledger 2: pages"]


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)  # SQLite has no lock that anybody may take
async def test_ops_16_whoever_holds_the_migrators_lock_holds_it_up_for_two_seconds_and_no_longer(fresh: Config) -> None:
    """OPS-16: any role can take the lock by which one migrator is let in; the next one is told so instead of waiting."""
    async with await psycopg.AsyncConnection.connect(fresh.database.app) as other:
        await other.execute("SELECT pg_advisory_lock(7356428311)")
        with pytest.raises(Unavailable, match="pg_locks"):
            async with asyncio.timeout(5):
                await prepare(fresh.where(), NEWER)
    assert await prepare(fresh.where(), NEWER) == ["ledger 2: notes", "ledger 3: pages"]


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)  # a file has no clock of its own
async def test_ops_11_a_node_whose_clock_is_not_the_databases_does_not_open(fresh: Config, clock: ManualClock) -> None:
    """OPS-11: a node whose clock is more than five seconds from the database's is refused, one within it is not."""
    clock.advance(4_000)
    engine = await open_store(fresh.where(), ALL_ROOMS, clock, development=True, on_broken=lambda: None)
    await engine.close()
    clock.advance(2_000)
    with pytest.raises(Unavailable, match="clock is"):
        await open_store(fresh.where(), ALL_ROOMS, clock, development=True, on_broken=lambda: None)
