"""The same disk under PostgreSQL: all its processes share it, and its promises hold on it."""

from collections.abc import Iterator

import psycopg
import pytest

from tenantry.cli.demo.cluster import Cluster
from tests.faults.disk import Disk


class Machine:
    """A cluster whose data directory lies on a disk under test; `t` is an empty table, durably."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        cluster.stop()
        self.disk = Disk(cluster.directory / "disk", prefix=cluster.data)
        cluster.start(self.disk.env)
        with self.connect() as connection:
            connection.execute("CREATE TABLE t (id bigint PRIMARY KEY, filler text NOT NULL)")

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.cluster.conninfo(), autocommit=True)

    def commit(self, first: int, last: int, **settings: str) -> None:
        """One commit a row."""
        with self.connect() as connection:
            for name, value in settings.items():
                connection.execute("SELECT set_config(%s, %s, false)", (name, value))
            for n in range(first, last):
                connection.execute("INSERT INTO t VALUES (%s, repeat('x', 1000))", (n,))

    def ids(self) -> list[int]:
        """By index and by table, which must agree."""
        with self.connect() as connection:
            connection.execute("SET enable_seqscan = off")
            by_index = connection.execute("SELECT id FROM t ORDER BY id").fetchall()
            connection.execute("RESET enable_seqscan; SET enable_indexscan = off; SET enable_indexonlyscan = off")
            assert connection.execute("SELECT id FROM t ORDER BY id").fetchall() == by_index
        return [row[0] for row in by_index]


@pytest.fixture
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    with Cluster(fsync=getattr(request, "param", True)) as cluster:
        yield Machine(cluster)


def test_committed_rows_survive_a_power_loss_beside_a_checkpoint(machine: Machine) -> None:
    machine.commit(0, 50)
    with machine.connect() as connection:
        connection.execute("CHECKPOINT")
    machine.commit(50, 100)
    machine.cluster.kill()
    assert machine.disk.power_loss().writes > 0  # pages that only the log of PostgreSQL has safely
    machine.cluster.start(machine.disk.env)
    assert machine.ids() == list(range(100))
    machine.commit(100, 110)
    machine.cluster.kill()
    machine.disk.power_loss()
    machine.cluster.start(machine.disk.env)
    assert machine.ids() == list(range(110))


@pytest.mark.parametrize("machine", [False], indirect=True, ids=["fsync=off"])
def test_rows_that_a_kill_spares_are_lost_with_the_power_when_nothing_is_synced(machine: Machine) -> None:
    machine.commit(0, 50)
    machine.cluster.kill()
    machine.cluster.start(machine.disk.env)
    assert machine.ids() == list(range(50))
    machine.cluster.kill()
    machine.disk.power_loss()
    machine.cluster.start(machine.disk.env)
    with pytest.raises(psycopg.errors.UndefinedTable):
        machine.ids()


def test_a_synchronous_commit_is_a_sync_and_an_asynchronous_one_is_not(machine: Machine) -> None:
    before = machine.disk.syncs().wal
    machine.commit(0, 30, synchronous_commit="on")
    between = machine.disk.syncs().wal
    machine.commit(30, 60, synchronous_commit="off")
    assert between - before >= 30
    assert machine.disk.syncs().wal - between < 10  # the WAL writer's own


def test_a_failing_sync_of_the_log_acknowledges_nothing_and_ends_the_server(machine: Machine) -> None:
    machine.commit(0, 3)
    machine.disk.fail_fsync(once=True)
    with pytest.raises(psycopg.OperationalError):
        machine.commit(3, 4)
    assert "PANIC:  could not fdatasync file" in machine.cluster.log()


def test_a_full_disk_refuses_rows_until_there_is_space_again(machine: Machine) -> None:
    machine.disk.full(growth_only=True)
    with pytest.raises(psycopg.errors.DiskFull):
        machine.commit(0, 500)
    fitted = machine.ids()
    machine.disk.space_again()
    machine.commit(1000, 1001)
    assert machine.ids() == [*fitted, 1000]
