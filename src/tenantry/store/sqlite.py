"""SQLite: one process owns the file, one thread writes, and waiting sets share a transaction.

The writer takes what waits, at most `GROUP` sets, and runs each in a savepoint of its own inside one transaction: a bad set fails
alone, and all of them share one sync. Nobody is answered before that sync. Owners: the queue belongs to the event loop and the
writer under `_ready`, `_waking` to the loop; the writing connection to the writer thread; the reading connection to the event loop.

What a crash leaves: after a kill, every answered set and perhaps some unanswered ones, each whole; those are synced before anybody is
answered from them. After a failed sync the
process must end (`broken`): the kernel may have dropped the pages, and a second sync that succeeds proves nothing.
"""

import asyncio
import fcntl
import json
import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from tenantry.core.clock import Clock
from tenantry.core.errors import Conflict, Damaged, Misuse, StorageFull, TenantryError, Unavailable, Unknown, Unsafe
from tenantry.core.limits import QUEUE_MAX_SETS
from tenantry.store.engine import Place, Survey
from tenantry.store.lanes import Lanes
from tenantry.store.program import Outcome, Program, Row
from tenantry.store.schema import Read

T = TypeVar("T")
GROUP = 256
"""Sets that share one transaction: enough that the sync is paid for, few enough that nobody waits long."""


_SURVIVED = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_DATATYPE = 3091  # SQLITE_CONSTRAINT_DATATYPE, which Python 3.11 cannot name
_OF_THE_DISK = _SURVIVED | {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}


class _Waiting:
    __slots__ = ("future", "program")

    def __init__(self, program: Program, future: asyncio.Future[Outcome]) -> None:
        self.program = program
        self.future = future


class SqliteEngine:
    """The embedded database. See `Engine` for what each method promises."""

    dialect = "sqlite"

    def __init__(self, path: Path, clock: Clock, *, on_broken: Callable[[], None]) -> None:
        """Take the file and open it.

        Raises:
            Unsafe: another process holds the file, it lies on a network mount, or its durability cannot be had.
        """
        self._clock = clock
        self._on_broken = on_broken
        reader = f"{path.resolve().as_uri()}?mode=ro"
        with ExitStack() as held:
            held.enter_context(take(path))
            # Whoever closes last folds the log into the file, with syncs. A read-only one cannot: a file whose sync failed is left alone.
            self._reader = held.enter_context(closing(sqlite3.connect(reader, uri=True, cached_statements=512)))
            self._writer = held.enter_context(closing(connect(path)))
            self._held = held.pop_all()
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._ready = threading.Condition()
        self._waiting: Lanes[_Waiting] = Lanes(QUEUE_MAX_SETS)
        self._waking = False
        self._closing = False
        self._broken = False
        self._change = asyncio.Event()
        self._thread = threading.Thread(target=self._write_for_ever, name="tenantry-writer", daemon=True)
        self._thread.start()

    async def run(self, program: Program) -> Outcome:
        future: asyncio.Future[Outcome] = self._loop.create_future()
        with self._ready:
            if self._broken or self._closing:
                raise Unavailable("The database is closed.", hint="Restart the server.")
            self._waiting.put(program.org, _Waiting(program, future))
        if not self._waking:
            self._waking = True
            self._loop.call_soon(self._wake)
        return await future

    def _wake(self) -> None:
        """Wake the writer once a turn of the loop, for all that was queued in it: woken by the first, it would contend for the
        interpreter with those that still prepare theirs."""
        self._waking = False
        with self._ready:
            self._ready.notify()

    async def read(self, read: Read[T], org: str, args: dict[str, Any]) -> list[T]:
        compiled = read.sqlite
        values = {"org": org, **args}
        row = read.row
        return [row(*r) for r in self._rows(compiled.text, [_bound(values[name]) for name in compiled.names])]

    async def survey(self, survey: Survey, **args: Any) -> list[Row]:
        compiled = survey.sqlite
        return self._rows(compiled.text, [_bound(args[name]) for name in compiled.names])

    async def changed(self, timeout_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):  # `wait_for` can lose a cancellation that comes with the wake-up
                await self._change.wait()
        self._change.clear()

    async def db_time_ms(self) -> int:
        return self._clock.now_ms()

    async def place(self) -> Place:
        # Not the device: on many machines its number is another after every start.
        return Place(f"file:{self._path.stat().st_ino}")

    async def facts(self) -> dict[str, str]:
        found = {
            name: str(self._reader.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("journal_mode", "synchronous")
        }
        return {"engine": f"SQLite {sqlite3.sqlite_version}", "file": str(self._path), **found}

    async def close(self) -> None:
        with self._ready:
            self._closing = True
            self._ready.notify()
        await asyncio.to_thread(self._thread.join)
        self._held.close()

    def _rows(self, text: str, values: Sequence[object]) -> list[Row]:
        try:
            return self._reader.execute(text, values).fetchall()
        except sqlite3.DatabaseError as error:
            if _code(error) in _DAMAGED:
                raise _damaged(text) from error
            raise

    def _write_for_ever(self) -> None:
        connection = self._writer
        while True:
            with self._ready:
                while not len(self._waiting) and not self._closing:
                    self._ready.wait()
                group = [w for w in self._waiting.take(GROUP) if not w.future.cancelled()]
                if not group and self._closing:
                    break
            if group:
                answers = self._write(connection, group)
                self._loop.call_soon_threadsafe(self._answer, group, answers)
        if not self._broken:
            with suppress(sqlite3.Error):  # then the log stays beside the file, for the next start
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _write(self, connection: sqlite3.Connection, group: list[_Waiting]) -> list[Outcome | TenantryError]:
        if self._broken:
            return [Unavailable("The database is closed.", hint="Restart the server.") for _ in group]
        try:
            return _together(connection, [waiting.program for waiting in group])
        except Damaged as damaged:
            if len(group) == 1:
                return [damaged]
            return [self._write(connection, [waiting])[0] for waiting in group]
        except sqlite3.Error as error:
            return self._fail(connection, error, len(group))

    def _fail(self, connection: sqlite3.Connection, error: sqlite3.Error, count: int) -> list[Outcome | TenantryError]:
        """The whole group failed. Out of space is survived; a failed sync, or damage met by the commit itself, ends the process."""
        name = error.sqlite_errorname
        if _code(error) in _SURVIVED:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        else:
            self._broken = True
            self._loop.call_soon_threadsafe(self._on_broken)
        return [_of_the_group(name, survived=not self._broken) for _ in range(count)]

    def _answer(self, group: list[_Waiting], answers: list[Outcome | TenantryError]) -> None:
        for waiting, answer in zip(group, answers, strict=True):
            if waiting.future.done():
                continue
            if isinstance(answer, TenantryError):
                waiting.future.set_exception(answer)
            else:
                waiting.future.set_result(answer)
        self._change.set()


def _together(connection: sqlite3.Connection, programs: list[Program]) -> list[Outcome | TenantryError]:
    """One transaction of many sets.

    Raises:
        Damaged: a set needs a page that nobody wrote. SQLite takes the whole transaction with it: nothing was written.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        answers = [_apply(connection, program) for program in programs]
    except Damaged:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return answers


def _apply(connection: sqlite3.Connection, program: Program) -> Outcome | TenantryError:
    """One set in its savepoint. What is wrong with the set is its own failure; trouble with the disk is everybody's."""
    connection.execute("SAVEPOINT set_")
    try:
        outcome = _steps(connection, program)
    except (sqlite3.Error, OverflowError, TypeError, UnicodeEncodeError) as error:
        if isinstance(error, sqlite3.Error) and _code(error) in _OF_THE_DISK:
            raise
        outcome = _violation(error)
    if isinstance(outcome, TenantryError):
        connection.execute("ROLLBACK TO set_")
    connection.execute("RELEASE set_")
    return outcome


def _steps(connection: sqlite3.Connection, program: Program) -> Outcome | TenantryError:
    made: list[int | None] = []
    for step in program.steps:
        compiled = step.statement.sqlite
        if not compiled.text:
            continue
        values = step.args | {"org": step.org}
        try:
            cursor = connection.execute(compiled.text, [_bound(values[name]) for name in compiled.names])
            found = cursor.fetchall() if cursor.description else []
        except sqlite3.DatabaseError as error:
            if _code(error) in _DAMAGED:
                raise _damaged(compiled.text) from error
            raise
        if step.statement.returns:
            made.append(found[0][0] if found else None)
        if step.otherwise is not None and not found and cursor.rowcount < 1:
            return step.otherwise()
    return Outcome(made)


def _of_the_group(name: str, *, survived: bool) -> TenantryError:
    """What each set of a group is told when the disk failed all of them."""
    if not survived:
        return Unknown(f"Writing failed ({name}).", hint="Restart the server, then read back what was written.")
    if name == "SQLITE_FULL":
        return StorageFull("No space is left to write.", hint="Free space on the data disk; nothing was lost.")
    return Unavailable(f"The database is busy ({name}).", hint="Try again in a second; nothing was written.")


_NAMED = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE) ([a-z_]+)")


def _damaged(text: str) -> Damaged:
    """What a statement met that read a page nobody wrote. Only what it needs is closed: other tables are served on."""
    tables = " or ".join(dict.fromkeys(_NAMED.findall(text)))
    return Damaged(f"The database file is damaged, in {tables}.", hint="Run `tenantry doctor`, then restore a backup.")


def _violation(error: Exception) -> TenantryError:
    """Never in the database's own words, which name values."""
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if isinstance(error, sqlite3.IntegrityError) and error.sqlite_errorcode != _DATATYPE:
        return Conflict("This contradicts what is stored.", hint=f"{name}.")
    return Misuse(f"A statement cannot be run ({name}).")


def _code(error: sqlite3.Error) -> int:
    """SQLite's own code; 0 where Python found a value it could not bind, which no code stands for."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _bound(value: object) -> object:
    """Lists travel as JSON and are opened by `json_each`."""
    if isinstance(value, list | tuple):
        return json.dumps(value)
    return value


def connect(path: Path) -> sqlite3.Connection:
    """A connection that waits for its sync at every commit, read back to be sure.

    Raises:
        Unsafe: the setting could not be had, or what a crash left could not be synced.
        Damaged: the file is not what SQLite wrote.
    """
    _sync(path.with_name(path.name + "-wal"))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.DatabaseError as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF in _DAMAGED:
            raise Damaged(f"{path.name} is damaged, or no database.", hint="Restore a backup.") from error
        raise
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")  # what is erased is overwritten, not only unlinked
    connection.execute("PRAGMA busy_timeout = 2000")
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    level = connection.execute("PRAGMA synchronous").fetchone()[0]
    if mode != "wal" or level < 2:
        raise Unsafe(f"{path} cannot be written durably (journal_mode {mode}, synchronous {level}).")
    return connection


def _sync(log: Path) -> None:
    """Make durable what a killed process wrote and had not synced: SQLite reads it as committed, and the power could still take it."""
    try:
        file = os.open(log, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fsync(file)
    except OSError as error:
        raise Unsafe(
            f"{log} cannot be synced ({error.strerror}).", hint="Replace the disk; restore a backup."
        ) from error
    finally:
        os.close(file)


MOUNTS = Path("/proc/self/mounts")
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "ceph", "glusterfs", "afs", "lustre"}


@contextmanager
def take(path: Path, mounts: Path = MOUNTS) -> Iterator[None]:
    """Lock the file for this process. `mounts` is the kernel's list of what is mounted where.

    Raises:
        Unsafe: another process holds it, or it lies on a network mount.
    """
    if (kind := _mount_type(path.parent, mounts)) in _NETWORK:
        raise Unsafe(
            f"{path} lies on a network mount ({kind}), where locks and syncs cannot be trusted.",
            hint="Use a local disk.",
        )
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 64, 0).decode("ascii", "replace").strip() or "another process"
        os.close(lock)
        raise Unsafe(
            f"{path} is in use by process {holder}.", hint="One process owns a database file: stop that one first."
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    try:
        yield
    finally:
        os.close(lock)


def _mount_type(folder: Path, mounts: Path) -> str:
    """The type of the file system that holds `folder`; empty where the system does not say."""
    if not mounts.exists():
        return ""
    best, kind = "", ""
    where = str(folder.resolve())
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        _, mounted, fs, *_ = line.split(" ")
        inside = where == mounted or where.startswith(mounted.rstrip("/") + "/")
        if inside and len(mounted) >= len(best):
            best, kind = mounted, fs
    return kind
