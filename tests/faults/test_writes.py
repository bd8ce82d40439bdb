"""Each write is broken twice on each database: not stored; stored, but reported failed. What a database holds is compared whole."""

import asyncio
import itertools
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import msgspec
import psycopg
import pytest

from tenantry.app.config import to_toml
from tenantry.cli.demo.cluster import Cluster
from tests.faults.storage import Storage, until
from tests.faults.whole import Rows, in_postgres, in_sqlite
from tests.faults.writes import WRITES, outcome, prepare
from tests.stand.databases import postgres_database
from tests.stand.nodes import deployed, node_of
from tests.stand.organizations import Organization, open_organization
from tests.stand.wire import Wire

_TABLES = (
    *("changelog", "leaves", "cuts", "destructions", "data_keys", "signing_keys"),
    *("ledger_entries", "ledger_members", "ledger_vouchers"),
)
Whole = dict[str, Rows]


def _check(name: str, before: Whole, after: Whole) -> None:
    """A write came, once: its row, and one leaf in each log it records in."""
    assert after[WRITES[name].table] != before[WRITES[name].table], name
    assert len(after["leaves"]) - len(before["leaves"]) >= 1 + (name == "record in two logs"), name


def _check_again(name: str, said: str, before: Whole, after: Whole) -> None:
    """What was stored and is sent again is refused, was made already, or comes a second time, as the write says."""
    if WRITES[name].again == "made":
        assert (said, after) == ("", before), name
    elif WRITES[name].again:
        assert (said, after) == (WRITES[name].again, before), name
    else:
        assert said == "", name
        assert len(after["leaves"]) > len(before["leaves"]), name


class Child:
    """A node in a process on a disk, which makes the writes it is told."""

    def __init__(self, storage: Storage, org: str) -> None:
        path = storage.folder / "writes.toml"
        path.write_text(to_toml(storage.config), encoding="utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.writes", path, org],
            env={**os.environ, **storage.disk.env, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.endswith("\n"), f"the process ended with {self._process.wait()}"
        return line.strip()

    def write(self, name: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(name + "\n")
        self._process.stdin.flush()
        return self.answer()

    def __enter__(self) -> Self:
        self.answer()
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.kill()


def _of_file(file: str) -> Whole:
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        return {table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall()) for table in _TABLES}
    finally:
        connection.close()


@pytest.mark.parametrize("storage", ["sqlite"], indirect=True)
async def test_on_sqlite_each_write_is_whole_or_absent_whatever_its_caller_was_told(storage: Storage) -> None:
    async with node_of(storage.config) as node:
        acme = await open_organization(node)
        await prepare(acme)
    file = storage.config.database.file
    before: Whole = {}
    for last, name in itertools.pairwise(("", *WRITES, "")):
        with Child(storage, acme.id) as child:  # which recovers what the failed sync before left
            if last:
                stored = _of_file(file)
                _check(last, before, stored)
                in_sqlite(Path(file))(acme.id).check()
                _check_again(last, child.write(last), stored, _of_file(file))
            if name:
                assert child.write("record only") == ""  # the log has a header, whose sync comes first
                before = _of_file(file)
                storage.disk.full()
                assert child.write(name) == "storage_full", name
                storage.disk.space_again()
                assert _of_file(file) == before, name
                storage.disk.fail_fsync()
                # Unavailable where a duty of the node's met the failing sync first, and the database was closed by then.
                assert child.write(name) in ("outcome_unknown", "unavailable"), name


class Line(msgspec.Struct, frozen=True, eq=False):
    """An organization behind a line, and whoever owns the database."""

    wire: Wire
    acme: Organization
    superuser: psycopg.AsyncConnection

    async def whole(self) -> Whole:
        """All the tables."""
        found: Whole = {}
        async with self.superuser.transaction():
            for table in _TABLES:
                rows = await (await self.superuser.execute(f"SELECT * FROM tenantry.{table}".encode())).fetchall()
                found[table] = sorted(rows, key=repr)
        return found

    async def held(self, name: str) -> tuple[int, asyncio.Task[str]]:
        """Make a write that waits for the organization's head; its process, and what becomes of it.

        It is made again where it met a connection that an earlier tear had broken, and so never came to the head.
        """
        asked = "SELECT pid FROM pg_stat_activity WHERE usename = 'tenantry_app' AND wait_event_type = 'Lock' AND datname = %s"
        writing = asyncio.create_task(outcome(self.acme, name))
        pids: list[int] = []

        async def waits() -> bool:
            nonlocal writing
            await self.superuser.execute("SELECT pg_stat_clear_snapshot()")
            pids.extend(await (await self.superuser.execute(asked, (self.superuser.info.dbname,))).fetchone() or ())
            if not pids and writing.done():
                assert writing.result() in ("outcome_unknown", "unavailable"), name
                writing = asyncio.create_task(outcome(self.acme, name))
            return bool(pids)

        await until(waits, 5, "a set waits for the head")
        return pids[0], writing


@pytest.fixture
async def line(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Line]:
    config = await deployed(postgres_database(cluster, "writes"), tmp_path / "state")
    async with (
        Wire(cluster.directory, tmp_path / "line") as wire,
        node_of(wire.through(config)) as node,
        await psycopg.AsyncConnection.connect(cluster.conninfo("writes"), autocommit=True) as superuser,
    ):
        acme = await open_organization(node)
        await prepare(acme)
        yield Line(wire, acme, superuser)
        wire.heal()
        wire.tear()


async def test_on_postgres_each_write_is_whole_or_absent_whatever_its_caller_was_told(
    line: Line, cluster: Cluster
) -> None:
    lock = "SELECT 1 FROM tenantry.heads WHERE org = %s FOR UPDATE"

    async def known(name: str) -> str:
        said = "unavailable"

        async def works() -> bool:
            nonlocal said
            said = await outcome(line.acme, name)
            return said not in ("unavailable", "outcome_unknown")

        await until(works, 5, "a fresh connection")
        return said

    for name in WRITES:
        before = await line.whole()
        async with line.superuser.transaction():
            await line.superuser.execute(lock, (line.acme.id,))
            pid, writing = await line.held(name)
            await line.superuser.execute("SELECT pg_terminate_backend(%s)", (pid,))
            assert await writing == "outcome_unknown", name
        assert await line.whole() == before, name
        async with line.superuser.transaction():
            await line.superuser.execute(lock, (line.acme.id,))
            _, writing = await line.held(name)
            line.wire.lose_answers()

        async def arrived(before: Whole = before) -> bool:
            return await line.whole() != before

        await until(arrived, 5, "the set is stored")
        line.wire.heal()
        line.wire.tear()
        assert await writing == "outcome_unknown", name
        stored = await line.whole()
        _check(name, before, stored)
        in_postgres(cluster.conninfo("writes"))(line.acme.id).check()
        _check_again(name, await known(name), stored, await line.whole())
