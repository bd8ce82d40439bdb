"""What a node keeps outside the database, so that a database which went back in time is found out: the mark and the destruction list.

The mark names the deployment, its incarnation, the newest changes this node saw and how far the logs had grown that grew last, with
digests. It is written at most once a second
and at the end, so what a restore took back within the last second before a crash may go unnoticed by the mark alone; on PostgreSQL the
timeline tells that too. The destruction list, written in the same beat, names organizations and persons that were erased and that no
backup may bring back.
"""

import asyncio
import hashlib
import os
from collections import deque
from contextlib import suppress
from pathlib import Path

import msgspec

from tenantry.core.errors import TenantryError, Unsafe
from tenantry.core.leaf import leaf
from tenantry.core.limits import CLOCK_SKEW_MS
from tenantry.journal.schema import LEAF_ROWS, Change
from tenantry.store import Engine, Survey

NEWEST = 64
EVERY_S = 1.0

ERASED = Survey("erased", "SELECT org, subject, at FROM destructions WHERE at >= :since", {"since": int})


class Seen(msgspec.Struct, frozen=True):
    """One change as this node saw it."""

    org: str
    rev: int
    digest: str


class Grown(msgspec.Struct, frozen=True):
    """How many leaves a log had, with the digest of the last: many sets record without a change."""

    org: str
    leaves: int
    digest: str


class Mark(msgspec.Struct, frozen=True):
    """How far the deployment had come when this node last looked."""

    deployment: str
    incarnation: int
    newest: tuple[Seen, ...] = ()
    grown: tuple[Grown, ...] = ()


class Destruction(msgspec.Struct, frozen=True):
    """An organization (`subject` is its id) or a person of it that was erased."""

    org: str
    subject: str


def seen(change: Change) -> Seen:
    """A change as the mark remembers it."""
    told = msgspec.json.encode([change.org, change.rev, change.at_ms, change.touched, change.cut])
    return Seen(change.org, change.rev, hashlib.sha256(told).hexdigest())


async def last_leaf(engine: Engine, org: str, leaves: int) -> Grown | None:
    """The log of an organization as the mark remembers it at `leaves` leaves; `None` if it has fewer."""
    rows = await engine.read(LEAF_ROWS, org, {"first": leaves - 1, "most": 1})
    if not rows or rows[0].index != leaves - 1:
        return None
    return Grown(org, leaves, hashlib.sha256(leaf(rows[0].revision, rows[0].body)).hexdigest())


class MarkFile:
    """The mark of one node, in its state directory."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "mark.json"

    def read(self) -> Mark | None:
        """The mark; `None` if this node never joined a deployment.

        Raises:
            Unsafe: there is one, but it cannot be read.
        """
        if not self._path.exists():
            return None
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Mark)
        except (msgspec.DecodeError, OSError) as error:
            raise Unsafe(
                f"{self._path} cannot be read.", hint="Restore it, or remove it and join again with `tenantry init`."
            ) from error

    def write(self, mark: Mark) -> None:
        """Replace the mark, whole or not at all."""
        write_whole(self._path, msgspec.json.encode(mark) + b"\n")


class DestructionList:
    """The erased of this deployment, one a line; none is ever taken off."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "destroyed.jsonl"

    def read(self) -> list[Destruction]:
        """All entries; a last line that a crash cut short is no entry.

        Raises:
            Unsafe: there is a list, but it cannot be read.
        """
        if not self._path.exists():
            return []
        try:
            lines = self._path.read_bytes().split(b"\n")[:-1]
            return [msgspec.json.decode(line, type=Destruction) for line in lines]
        except (msgspec.DecodeError, OSError) as error:
            raise Unsafe(
                f"{self._path} cannot be read.", hint="Put back a copy: it says what no restored backup may bring back."
            ) from error

    def add(self, entries: list[Destruction]) -> None:
        """Add what is not on the list yet. The list is replaced as a whole, so nothing is ever written after a torn line.

        Raises:
            Unsafe: the list cannot be read; it stays as it is.
            OSError: it cannot be written; it stays as it is.
        """
        listed = dict.fromkeys(self.read())
        known = len(listed)
        listed |= dict.fromkeys(entries)
        if len(listed) > known:
            write_whole(self._path, b"".join(msgspec.json.encode(entry) + b"\n" for entry in listed))


class Marking:
    """Keeps mark and destruction list near what the node has seen. A follower and a recorder: add it to `Following` as both, and run
    `keep` as a task."""

    def __init__(self, folder: Path, mark: Mark, engine: Engine) -> None:
        self._file = MarkFile(folder)
        self._list = DestructionList(folder)
        self._mark = mark
        self._engine = engine
        self._newest: deque[Seen] = deque(mark.newest, maxlen=NEWEST)
        self._grown = {one.org: one for one in mark.grown}
        self._growing: dict[str, int] = {}
        self._moved = False
        self._closing = asyncio.Event()
        self._erased_since_ms = 0

    def apply(self, change: Change) -> None:
        """See `Follower`."""
        self._newest.append(seen(change))
        self._moved = True

    def grew(self, org: str, leaves: int) -> None:
        """See `Recorder`."""
        self._growing.pop(org, None)  # so that the newest come last
        self._growing[org] = leaves

    async def keep(self) -> None:
        """Write what the node saw, once a second, until `close`. What could not be written is tried again with what came since."""
        while not self._closing.is_set():
            with suppress(TenantryError, OSError):
                await self.write()
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._closing.wait()

    def close(self) -> None:
        """Let `keep` end by itself. It is not cancelled: a write in its thread would go on, and could overtake the last one."""
        self._closing.set()

    async def write(self) -> None:
        """Write mark and list if the node saw anything since. The list first: the mark may be behind, an erasure may not be forgotten.

        Raises:
            TenantryError: the database is away.
            OSError: the state directory cannot be written.
        """
        if not self._moved and not self._growing:
            return
        newest = tuple(self._newest)
        await self._note_growth()
        rows = await self._engine.survey(ERASED, since=self._erased_since_ms)
        await asyncio.to_thread(self._list.add, [Destruction(org, subject) for org, subject, _ in rows])
        self._erased_since_ms = max([self._erased_since_ms, *(at - CLOCK_SKEW_MS for *_, at in rows)])
        await self.remember()
        self._moved = newest != tuple(self._newest)

    async def _note_growth(self) -> None:
        growing, self._growing = self._growing, {}
        for org, leaves in list(growing.items())[-NEWEST:]:
            self._grown.pop(org, None)
            if (one := await last_leaf(self._engine, org, leaves)) is not None:
                self._grown[org] = one
        for org in list(self._grown)[:-NEWEST]:
            del self._grown[org]

    async def remember(self) -> None:
        """Write the mark alone, as a node does whose database went away or lives another life.

        Raises:
            OSError: the state directory cannot be written.
        """
        mark = msgspec.structs.replace(self._mark, newest=tuple(self._newest), grown=tuple(self._grown.values()))
        await asyncio.to_thread(self._file.write, mark)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 so that a crash leaves the old or the new one."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
