"""A disk under a subprocess: counts its syncs, breaks on command and forgets what was not synced.

    disk = Disk(tmp_path / "disk", prefix=tmp_path / "data")
    child = subprocess.Popen([...], env=os.environ | disk.env)

It works by a preloaded library (shim/shim.c, Linux, glibc), compiled once for a machine. Any number of processes may
share a disk. Commands act at once, at the next call of a process.
"""

import fcntl
import hashlib
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path

import msgspec
import pytest

from tests.faults.power import Lost, power_loss

__all__ = ["Disk", "StillRunning", "Syncs"]

_SOURCE = Path(__file__).parent / "shim" / "shim.c"


class _Field(IntEnum):
    """`struct page` of shim.c: 64-bit integers in this order."""

    WAL = 0
    JOURNAL = 1
    DATA = 2
    DIRECTORY = 3
    HINTS = 4
    LAST_ID = 5
    FAILING = 6
    ROOM = 7
    GROWTH_ONLY = 8
    MOST_BYTES = 9
    SLOW_US = 10
    KILL_IN = 11
    KILL_AT = 12


_KINDS = ("wal", "journal", "data", "directory")
_STEPS = ("write", "sync", "synced")


class Syncs(msgspec.Struct, frozen=True):
    """Successful fsync and fdatasync by kind of file; `hints` are sync_file_range and msync, which promise nothing."""

    wal: int
    """SQLite's `-wal` file, or what lies in `pg_wal/`."""
    journal: int
    data: int
    directory: int
    hints: int


class StillRunning(Exception):
    """The power was to be cut while a process of this disk lives: its later writes would survive."""


class Disk:
    """The files below `prefix`, as the processes started with `env` see them.

    `directory` is created for the log; it must lie outside `prefix` and on the same file system. With
    `remembers=False` nothing is logged, so that a benchmark pays for the stated faults alone; such a disk cannot lose
    power. A test that asks for a disk is skipped where no C compiler is or the system is not Linux.
    """

    def __init__(self, directory: Path, prefix: Path, *, remembers: bool = True) -> None:
        self._prefix = prefix.resolve()
        self._log = directory.resolve() / "log"
        assert not self._log.is_relative_to(self._prefix), "the log of a disk lies outside of what it logs"
        library = _library()
        self._log.mkdir(parents=True)
        undo = self._log / "undo"
        undo.touch()
        self._page_path = directory.resolve() / "page"
        self._page_path.write_bytes(bytes(mmap.PAGESIZE))
        for path, mode in ((self._log, 0o777), (undo, 0o666), (self._page_path, 0o666)):
            path.chmod(mode)  # PostgreSQL never runs as root: there its user is not ours
        with self._page_path.open("r+b") as page:
            self._page = memoryview(mmap.mmap(page.fileno(), mmap.PAGESIZE)).cast("q")
        self._page[_Field.ROOM] = -1
        self.env: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "TENANTRY_SHIM_PAGE": str(self._page_path),
            "TENANTRY_SHIM_PREFIX": str(self._prefix),
        } | ({"TENANTRY_SHIM_LOG": str(self._log)} if remembers else {})

    def syncs(self) -> Syncs:
        """The counts since the disk was made."""
        wal, journal, data, directory, hints = self._page[: _Field.HINTS + 1]
        return Syncs(wal=wal, journal=journal, data=data, directory=directory, hints=hints)

    def fail_fsync(self, *, once: bool = True) -> None:
        """Answer the next sync, or with `once=False` every one, with EIO. What it was to cover is lost for good."""
        self._page[_Field.FAILING] = 1 if once else -1

    def sync_again(self) -> None:
        """End `fail_fsync`."""
        self._page[_Field.FAILING] = 0

    def full(self, after_bytes: int = 0, *, growth_only: bool = False) -> None:
        """Answer writes with ENOSPC once `after_bytes` more were written.

        With `growth_only` bytes inside a file's present size take no room, as on ext4 and xfs; without it they do, as
        on file systems that copy on write.
        """
        self._page[_Field.GROWTH_ONLY] = int(growth_only)
        self._page[_Field.ROOM] = after_bytes

    def space_again(self) -> None:
        """End `full`."""
        self._page[_Field.ROOM] = -1

    def short_writes(self, most_bytes: int | None) -> None:
        """Let one call write at most `most_bytes`, which is legal and rare; None ends it."""
        self._page[_Field.MOST_BYTES] = most_bytes or 0

    def slow_fsync(self, ms: float) -> None:
        """Let every sync take at least `ms` milliseconds; 0 ends it. Syncs of several processes do not queue."""
        self._page[_Field.SLOW_US] = round(ms * 1000)

    def kill_at(self, step: str, kind: str, *, nth: int = 1) -> None:
        """Kill the process that takes a step for the `nth` time from now: before a `write` or `sync`, or once it has `synced`.

        `kind` is a field of `Syncs`. One process dies; `killed` says whether it did.
        """
        self._page[_Field.KILL_AT] = _STEPS.index(step) * len(_KINDS) + _KINDS.index(kind)
        self._page[_Field.KILL_IN] = nth

    def killed(self) -> bool:
        """Whether the step of `kill_at` was reached."""
        return self._page[_Field.KILL_IN] == 0

    def power_loss(self) -> Lost:
        """Restore the state in which nothing unsynced survived (see `tests.faults.power`). All processes are dead.

        Raises:
            StillRunning: one of them is not.
        """
        with self._page_path.open() as page:
            try:
                fcntl.flock(page, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StillRunning(f"kill and wait for every process that uses {self._prefix} first") from error
            return power_loss(self._log, self._prefix)


def _library() -> Path:
    """The compiled shim, from a cache that the source's digest names."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not sys.platform.startswith("linux"):
        pytest.skip("storage faults are injected on Linux only")
    if compiler is None:
        pytest.skip("no C compiler (cc, gcc or clang) for the storage shim")
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]
    cache = Path(tempfile.gettempdir()) / f"tenantry-shim-{os.getuid()}"
    cache.mkdir(mode=0o755, exist_ok=True)
    assert cache.stat().st_uid == os.getuid(), f"{cache} belongs to somebody else"
    library = cache / f"{digest}.so"
    if not library.exists():
        fresh = cache / f"{digest}.{os.getpid()}"
        subprocess.run([compiler, "-std=c11", "-O1", "-shared", "-fPIC", "-o", fresh, _SOURCE], check=True)
        fresh.rename(library)
    return library
