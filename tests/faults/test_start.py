"""What a node refuses to start on, and what stops it later: a file that is held or damaged, a clock that is wrong."""

import asyncio
import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest

from tenantry.app.config import Config
from tenantry.cli.demo import ledger
from tenantry.cli.demo.cluster import Cluster
from tenantry.core.clock import SystemClock
from tenantry.core.errors import Damaged, Stale, TenantryError, Unavailable, Unsafe
from tenantry.core.scopes import TenantScope
from tenantry.store.sqlite import take
from tests.faults.storage import until
from tests.stand.clock import ManualClock
from tests.stand.databases import postgres_database, sqlite_database
from tests.stand.nodes import deployed, node_of, node_process
from tests.stand.organizations import Holdings, Organization, open_organization

_PAGE = 4096
_numbers = itertools.count(1)


@pytest.fixture
async def file(tmp_path: Path) -> Config:
    """A deployment on SQLite."""
    return await deployed(sqlite_database(tmp_path), tmp_path / "state")


async def test_ops_06_a_second_process_is_refused_with_who_holds_the_file(file: Config, tmp_path: Path) -> None:
    """OPS-06: one process owns a file; the second is told its number, and gets the file when the first has gone."""
    async with node_process(file, tmp_path) as first:
        assert (await first.ready)["ok"]
        with pytest.raises(Unsafe, match=f"in use by process {first.pid}"):
            async with node_of(file):
                pass
        with pytest.raises(Unsafe, match=f"in use by process {first.pid}"):
            await deployed(file.where(), tmp_path / "state")
        assert (await first.do("open"))["ok"]
        await first.close()
        async with node_of(file) as second:
            await open_organization(second)


@pytest.mark.parametrize("remote", ["server:/export {} nfs4 rw 0 0", "share {} cifs rw 0 0"])
def test_ops_06_a_file_on_a_network_mount_is_refused(tmp_path: Path, remote: str) -> None:
    """OPS-06: where locks and syncs cannot be trusted nothing is opened; a local mount above or below does not matter."""
    mounts, data = tmp_path / "mounts", tmp_path / "data"
    data.mkdir()
    local = f"/dev/vda / ext4 rw 0 0\n/dev/vdb {data}/below ext4 rw 0 0\n"
    mounts.write_text(local)
    with take(data / "tenantry.db", mounts):
        pass
    mounts.write_text(local + remote.format(data) + "\n")
    with pytest.raises(Unsafe, match="network mount"), take(data / "tenantry.db", mounts):
        pass


async def test_ops_06_a_second_hand_on_the_file_does_not_corrupt_it(file: Config, tmp_path: Path) -> None:
    """OPS-06: a copy taken while the server runs, with its log, opens and is whole."""
    async with node_of(file) as node:
        acme = await open_organization(node)
        for _ in range(5):
            await acme.add_entry()
        copy = tmp_path / "copy"
        copy.mkdir()
        for name in ("tenantry.db", "tenantry.db-wal"):
            (copy / name).write_bytes((tmp_path / name).read_bytes())
        here = await acme.holdings()
    copied = await deployed(sqlite_database(copy), tmp_path / "state_of_copy")
    async with node_of(copied) as node:
        there = await Organization(node, acme.scope).holdings()
    assert there.leaves[:-1] == here.leaves
    assert there.events()[-1]["type"] == "incarnation.begun"
    assert msgspec.structs.replace(there, head=here.head, leaves=here.leaves) == here


async def test_ops_07_a_damaged_page_is_found_and_never_answered_from(file: Config, tmp_path: Path) -> None:
    """OPS-07: whichever page is destroyed, a node is right, or refuses as `damaged` and says what to do."""
    right = await _filled(file)
    path = tmp_path / "tenantry.db"
    whole = path.read_bytes()
    found: list[TenantryError] = []
    for page in range(1, len(whole) // _PAGE):
        _destroy(path, whole, page)
        try:
            async with node_of(file) as node:
                assert await Organization(node, right.scope).holdings() == right.holdings
        except TenantryError as error:
            found.append(error)
    assert len(found) > 5
    assert {error.code for error in found} == {"damaged"}
    assert all("backup" in error.hint for error in found)
    path.write_bytes(whole)
    async with node_of(file) as node:
        assert await Organization(node, right.scope).holdings() == right.holdings


@pytest.mark.parametrize(
    ("damaged", "table"),
    [
        ("ledger_entries", "ledger_entries"),
        ("sqlite_autoindex_ledger_entries_1", "ledger_entries"),
        ("leaves", "leaves"),
        ("changelog", "changelog"),
    ],
)
async def test_ops_07_a_damaged_table_is_named_and_only_what_needs_it_is_closed(
    file: Config, tmp_path: Path, damaged: str, table: str
) -> None:
    """OPS-07: whoever reads or writes the table is refused by its name, at the start or at the first touch; others are served on."""
    right = await _filled(file)
    path = tmp_path / "tenantry.db"
    with sqlite3.connect(path) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (damaged,)).fetchone()
    connection.close()
    _destroy(path, path.read_bytes(), page - 1)
    if table != "ledger_entries":
        with pytest.raises(Damaged, match=f"in .*{table}"):
            async with node_of(file) as node:
                await Organization(node, right.scope).add_entry()
        return
    async with node_of(file) as node:
        acme = Organization(node, right.scope)
        before = await node.journal.head(acme.scope)
        for _ in range(2):
            with pytest.raises(Damaged, match=f"in {table}"):
                await acme.add_entry()
            with pytest.raises(Damaged, match=f"in {table}"):
                await acme.holdings()
        assert await node.journal.head(acme.scope) == before
        together = (acme.add_member("Anne"), acme.add_entry(), acme.add_member("Bob"))
        told = await asyncio.gather(*together, return_exceptions=True)
        assert [type(answer) for answer in told] == [type(None), Damaged, type(None)]
        assert await acme.reads.all(ledger.MEMBERS_OF) == [ledger.Name("Anne"), ledger.Name("Bob")]


class _Right(msgspec.Struct, frozen=True):
    """What an organization holds as long as its file is whole."""

    scope: TenantScope
    holdings: Holdings


async def _filled(file: Config) -> _Right:
    async with node_of(file) as node:
        acme = await open_organization(node)
        for n in range(60):
            await acme.add_entry(account=f"account{n}", amount=n)
        return _Right(acme.scope, await acme.holdings())


def _destroy(path: Path, whole: bytes, page: int) -> None:
    """Write the file with one page that nobody wrote; pages are counted from 0."""
    at = page * _PAGE
    path.write_bytes(whole[:at] + bytes(b ^ 0x5A for b in whole[at : at + _PAGE]) + whole[at + _PAGE :])


@pytest.mark.parametrize("minutes", [10, -10, -60])
async def test_ops_11_a_node_whose_clock_is_wrong_does_not_start(fresh: Config, minutes: int, dialect: str) -> None:
    """OPS-11: more than 5 s from the database's clock is refused at the start. A file has no clock of its own."""
    clock = ManualClock()
    async with node_of(fresh, clock=clock) as node:
        await open_organization(node)
    clock.advance(minutes * 60_000)
    if dialect == "sqlite":
        async with node_of(fresh, clock=clock) as node:
            await open_organization(node)
        return
    with pytest.raises(Unavailable, match="clock"):
        async with node_of(fresh, clock=clock):
            pass


async def test_ops_11_a_node_whose_clock_jumps_stops_saying_yes(fresh: Config, dialect: str) -> None:
    """OPS-11: a jump in mid-run is seen at the next look: nothing is renewed until the clock is right again."""
    clock = _Jumping()
    async with node_of(fresh, clock=clock) as node:
        acme = await open_organization(node)
        credential = await acme.issue("user_a")
        await node.cuts.check(credential)
        clock.off_ms = 30_000

        async def stale() -> bool:
            try:
                await node.cuts.check(credential)
            except Stale:
                return True
            return False

        if dialect == "postgres":
            await until(stale, 1.0, "a node whose clock jumped says stale")
            health = node.health()
            assert (health.ready, health.stale) == (False, True)
            assert health.skew_ms > 25_000
        clock.off_ms = 0

        async def yes() -> bool:
            return not await stale()

        await until(yes, 1.0, "a node whose clock is right again says yes")
        assert node.health().ready
        ids = [await acme.add_entry() for _ in range(3)]
        clock.off_ms = -3_000
        ids += [await acme.add_entry() for _ in range(3)]
        assert ids == sorted(ids)
        assert [change.rev for change in (await acme.holdings()).changes] == list(range(1, 7))


class _Jumping:
    """The machine's clock with a wall that can be set."""

    def __init__(self) -> None:
        self._system = SystemClock()
        self.off_ms = 0

    def now_ms(self) -> int:
        return self._system.now_ms() + self.off_ms

    def boottime(self) -> float:
        return self._system.boottime()


@pytest.fixture(scope="module")
def durable() -> Iterator[Cluster]:
    """A PostgreSQL that loses nothing, until a test turns something off."""
    with Cluster(fsync=True) as cluster:
        yield cluster


@pytest.mark.parametrize(
    ("off", "on", "said"),
    [
        ("ALTER SYSTEM SET fsync = off", "ALTER SYSTEM RESET fsync", "fsync = off"),
        ("ALTER SYSTEM SET full_page_writes = off", "ALTER SYSTEM RESET full_page_writes", "full_page_writes = off"),
        (
            "ALTER ROLE tenantry_app SET synchronous_commit = off",
            "ALTER ROLE tenantry_app RESET synchronous_commit",
            "synchronous_commit = off",
        ),
        (
            "ALTER ROLE tenantry_worker SET synchronous_commit = local",
            "ALTER ROLE tenantry_worker RESET synchronous_commit",
            "synchronous_commit_of_worker = local",
        ),
    ],
    ids=["fsync", "full_page_writes", "synchronous_commit of app", "synchronous_commit of worker"],
)
async def test_ops_05_a_database_that_may_lose_what_it_acknowledged_is_refused(
    durable: Cluster, tmp_path: Path, off: str, on: str, said: str
) -> None:
    """OPS-05: each setting by itself, for each role that writes; less is for development alone."""
    config = await deployed(
        postgres_database(durable, f"durable_{next(_numbers)}"), tmp_path / "state", development=False
    )
    _set(durable, off)
    try:
        with pytest.raises(Unsafe, match=f"acknowledged: {said}\\."):
            async with node_of(config):
                pass
        async with node_of(msgspec.structs.replace(config, development=True)):
            pass
    finally:
        _set(durable, on)
    async with node_of(config):
        pass


def _set(cluster: Cluster, setting: str) -> None:
    """Change a setting and wait until new connections have it."""
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        loaded = connection.execute("SELECT pg_conf_load_time()").fetchone()
        connection.execute(setting.encode())
        connection.execute("SELECT pg_reload_conf()")
        while connection.execute("SELECT pg_conf_load_time()").fetchone() == loaded:
            pass
