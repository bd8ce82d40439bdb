"""The disk under test: what it counts, breaks and forgets, shown on plain SQLite in a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from tests.faults.disk import Disk, StillRunning

_CHILD = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.stdin:
    try:
        print("ok", *database.execute(statement).fetchall(), flush=True)
    except sqlite3.Error as error:
        print(error.sqlite_errorname, flush=True)
"""


class Child:
    """A process that holds a SQLite database open and executes one statement a line."""

    def __init__(self, database: Path, disk: Disk) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, database],
            env=os.environ | disk.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def execute(self, *statements: str) -> str:
        """The answer to the last statement: `ok` and its rows, or the name of SQLite's error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        answer = ""
        for statement in statements:
            self._process.stdin.write(f"{statement}\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline().strip()
        return answer

    def kill(self) -> None:
        with self._process:
            self._process.kill()
        assert self._process.returncode == -signal.SIGKILL


class Machine:
    """A disk, a database on it and the processes started there."""

    def __init__(self, directory: Path) -> None:
        (directory / "data").mkdir()
        self.database = directory / "data" / "test.db"
        self.disk = Disk(directory / "disk", prefix=directory / "data")
        self._children: list[Child] = []

    def child(self) -> Child:
        child = Child(self.database, self.disk)
        self._children.append(child)
        return child

    def opened(self, synchronous: str, journal_mode: str = "WAL") -> Child:
        """A process with an empty table `t` that everything before is durable of."""
        child = self.child()
        child.execute(f"PRAGMA journal_mode={journal_mode}", "PRAGMA synchronous=EXTRA", "CREATE TABLE t(x)")
        child.execute("PRAGMA wal_checkpoint(TRUNCATE)", f"PRAGMA synchronous={synchronous}")
        return child

    def rows_after_power_loss(self, child: Child) -> str:
        child.kill()
        self._children.remove(child)
        self.disk.power_loss()
        return self.child().execute("SELECT count(*) FROM t")

    def stop(self) -> None:
        for child in self._children:
            child.kill()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.stop()


@pytest.mark.parametrize(
    ("synchronous", "journal_mode", "rows"),
    [
        ("FULL", "WAL", 3),
        ("NORMAL", "WAL", 0),
        ("OFF", "WAL", 0),
        # By SQLite's documentation only EXTRA syncs the directory after the journal's name is gone.
        ("EXTRA", "DELETE", 3),
        ("FULL", "DELETE", 2),
        ("OFF", "DELETE", 0),
    ],
)
def test_a_power_loss_keeps_just_the_commits_that_were_synced(
    machine: Machine, synchronous: str, journal_mode: str, rows: int
) -> None:
    child = machine.opened(synchronous, journal_mode)
    assert child.execute(*(f"INSERT INTO t VALUES ({n})" for n in range(3))) == "ok"
    assert machine.rows_after_power_loss(child) == f"ok ({rows},)"


def test_without_a_power_loss_the_unsynced_commits_survive_a_kill(machine: Machine) -> None:
    child = machine.opened("OFF")
    child.execute("INSERT INTO t VALUES (1)")
    child.kill()
    machine._children.remove(child)
    assert machine.child().execute("SELECT count(*) FROM t") == "ok (1,)"


def test_commits_survive_a_checkpoint_and_a_second_power_loss(machine: Machine) -> None:
    child = machine.opened("FULL")
    child.execute("INSERT INTO t VALUES (1)", "PRAGMA wal_checkpoint(TRUNCATE)", "INSERT INTO t VALUES (2)")
    assert machine.rows_after_power_loss(child) == "ok (2,)"
    child = machine._children[0]
    child.execute("PRAGMA synchronous=OFF", "INSERT INTO t VALUES (3)")
    assert machine.rows_after_power_loss(child) == "ok (2,)"


def test_power_is_not_cut_under_a_living_process(machine: Machine) -> None:
    machine.opened("FULL")
    with pytest.raises(StillRunning):
        machine.disk.power_loss()


def test_a_commit_in_wal_mode_is_one_sync(machine: Machine) -> None:
    child = machine.opened("FULL")
    child.execute("INSERT INTO t VALUES (0)")
    before = machine.disk.syncs()
    for n in range(1, 4):
        child.execute(f"INSERT INTO t VALUES ({n})")
        assert machine.disk.syncs().wal == before.wal + n
    assert machine.disk.syncs().data == before.data


def test_a_failing_sync_is_an_io_error_of_the_commit(machine: Machine) -> None:
    child = machine.opened("FULL")
    machine.disk.fail_fsync(once=True)
    assert child.execute("INSERT INTO t VALUES (1)") == "SQLITE_IOERR_FSYNC"
    assert child.execute("INSERT INTO t VALUES (2)") == "ok"
    machine.disk.fail_fsync(once=False)
    assert child.execute("INSERT INTO t VALUES (3)") == "SQLITE_IOERR_FSYNC"
    assert child.execute("INSERT INTO t VALUES (3)") == "SQLITE_IOERR_FSYNC"
    machine.disk.sync_again()
    assert child.execute("INSERT INTO t VALUES (3)") == "ok"


def test_a_sync_that_succeeds_after_one_that_failed_saves_nothing(machine: Machine) -> None:
    child = machine.opened("FULL")
    child.execute("INSERT INTO t VALUES (1)")
    machine.disk.fail_fsync(once=True)
    child.execute("INSERT INTO t VALUES (2)")
    assert child.execute("INSERT INTO t VALUES (3)") == "ok"
    assert machine.rows_after_power_loss(child) == "ok (1,)"


def test_a_full_disk_refuses_the_commit_until_there_is_space_again(machine: Machine) -> None:
    child = machine.opened("FULL")
    machine.disk.full()
    assert child.execute("INSERT INTO t VALUES (1)") == "SQLITE_FULL"
    assert child.execute("SELECT count(*) FROM t") == "ok (0,)"
    machine.disk.space_again()
    assert child.execute("INSERT INTO t VALUES (2)") == "ok"
    assert child.execute("SELECT x FROM t") == "ok (2,)"


def test_a_disk_fills_after_the_stated_bytes(machine: Machine) -> None:
    child = machine.opened("FULL")
    machine.disk.full(after_bytes=40_000)
    answers = [child.execute(f"INSERT INTO t VALUES ({n})") for n in range(20)]
    fitted = answers.count("ok")
    assert answers == ["ok"] * fitted + ["SQLITE_FULL"] * (20 - fitted)
    assert 1 < fitted < 12  # a commit writes a frame of 4,120 bytes at least


def test_overwriting_takes_no_room_where_only_growth_does(machine: Machine) -> None:
    child = machine.opened("FULL")
    child.execute(*(f"INSERT INTO t VALUES ({n})" for n in range(3)), "PRAGMA wal_checkpoint(RESTART)")
    machine.disk.full(growth_only=True)
    assert child.execute("INSERT INTO t VALUES (3)") == "ok"
    machine.disk.full(growth_only=False)
    assert child.execute("INSERT INTO t VALUES (4)") == "SQLITE_FULL"


def test_short_writes_are_completed_by_who_checks_them(machine: Machine) -> None:
    child = machine.opened("FULL")
    machine.disk.short_writes(100)
    assert child.execute("INSERT INTO t VALUES (randomblob(9000))") == "ok"
    machine.disk.short_writes(None)
    assert child.execute("PRAGMA integrity_check") == "ok ('ok',)"
    assert machine.rows_after_power_loss(child) == "ok (1,)"


def test_a_slow_sync_takes_at_least_the_stated_time(machine: Machine) -> None:
    child = machine.opened("FULL")
    machine.disk.slow_fsync(60)
    started = monotonic()
    child.execute("INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)")
    assert monotonic() - started >= 0.12


_REPLACE = """
import os, sys
folder, *synced = sys.argv[1:]
file = os.open(f"{folder}/fresh", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.write(file, b"new")
if "file" in synced:
    os.fsync(file)
os.replace(f"{folder}/fresh", f"{folder}/mark")
if "directory" in synced:
    os.fsync(os.open(folder, os.O_RDONLY))
"""


@pytest.mark.parametrize(
    ("synced", "content"),
    [(["file", "directory"], b"new"), (["file"], b"old"), (["directory"], b""), ([], b"old")],
    ids=["file and directory", "file", "directory", "nothing"],
)
def test_a_replaced_file_is_new_after_a_power_loss_only_if_it_and_then_its_directory_were_synced(
    tmp_path: Path, synced: list[str], content: bytes
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "mark").write_bytes(b"old")
    disk = Disk(tmp_path / "disk", prefix=folder)
    subprocess.run([sys.executable, "-c", _REPLACE, folder, *synced], env=os.environ | disk.env, check=True)
    assert (folder / "mark").read_bytes() == b"new"
    disk.power_loss()
    assert (folder / "mark").read_bytes() == content
