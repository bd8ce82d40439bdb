"""What a power cut leaves: takes back, from the undo log of the storage shim, every change that no sync had covered.

The outcome is the worst that a disk may do. A file holds what it held at its last successful sync. A name is what it
was when its directory was last synced; creating and renaming are also covered by a sync of the file itself, as ext4
and xfs do it. A file whose sync failed never becomes durable again, whatever later syncs say: Linux marks the pages
clean and forgets them, so a second, successful fsync proves nothing.
"""

import enum
import math
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec

__all__ = ["Lost", "power_loss"]

_HEADER = struct.Struct("=IIQQqqQ")


class _Op(enum.IntEnum):
    BEFORE = 1
    DONE = 2
    SYNC = 3
    SYNCED = 4
    CREATE = 5
    UNLINK = 6
    RENAME = 7


class _Record(msgspec.Struct, frozen=True):
    """`struct record` of shim.c with what follows it; `at` is its position in the log."""

    at: int
    op: _Op
    id: int
    inode: int
    offset: int
    size: int
    path: str
    data: bytes


class Lost(msgspec.Struct, frozen=True):
    """What the power cut took back: pieces of writes, and changes of names."""

    writes: int
    names: int


def power_loss(log: Path, prefix: Path) -> Lost:
    """Bring the files below `prefix` to the state in which nothing unsynced survived, and empty the log.

    No process may have them open. What was there when the log began counts as durable.
    """
    records = list(_records(log / "undo"))
    durable = _Durable(records)
    undone = [record for record in reversed(records) if not durable.covers(record)]
    writes = [record for record in undone if record.op is _Op.BEFORE]
    names = [record for record in undone if record.op in (_Op.CREATE, _Op.UNLINK, _Op.RENAME)]
    files = {path.lstat().st_ino: path for root in (prefix, log) for path in root.rglob("*") if path.is_file()}
    for record in writes:
        if path := files.get(record.inode):  # else gone with a temporary file that was never linked again
            _restore(path, record)
    for record in names:
        _rename_back(record, log / str(record.id))
    for kept in log.iterdir():
        if kept.name != "undo":
            kept.unlink()
    os.truncate(log / "undo", 0)
    return Lost(writes=len(writes), names=len(names))


def _records(undo: Path) -> Iterator[_Record]:
    content = memoryview(undo.read_bytes())
    start = at = 0
    while start < len(content):
        op, path_length, identity, inode, offset, size, data_length = _HEADER.unpack_from(content, start)
        path_at = start + _HEADER.size
        data_at = path_at + path_length
        start = data_at + data_length
        path = os.fsdecode(bytes(content[path_at:data_at]))
        yield _Record(at, _Op(op), identity, inode, offset, size, path, bytes(content[data_at:start]))
        at += 1


class _Durable:
    """For each file and directory, the place in the log up to which its changes are on the disk for good.

    A sync covers what had ended when it began. It covers nothing once one sync of the same file has failed.
    """

    def __init__(self, records: list[_Record]) -> None:
        began = {record.id: record for record in records if record.op is _Op.SYNC}
        self._ended = {record.id: record.at for record in records if record.op is _Op.DONE}
        self._inodes: dict[int, int] = {}
        self._directories: dict[str, int] = {}
        failed: set[int] = set()
        for synced in (record for record in records if record.op is _Op.SYNCED):
            sync = began[synced.id]
            if synced.offset != 0:
                failed.add(sync.inode)
            elif sync.inode not in failed:
                self._inodes[sync.inode] = max(sync.at, self._inodes.get(sync.inode, 0))
                self._directories[sync.path] = max(sync.at, self._directories.get(sync.path, 0))

    def covers(self, record: _Record) -> bool:
        name = record.path.rpartition("\0")[2]
        by_file = self._inodes.get(record.inode, -1)
        by_directory = self._directories.get(str(Path(name).parent), -1)
        match record.op:
            case _Op.BEFORE:
                return self._ended.get(record.id, math.inf) < by_file
            case _Op.UNLINK:
                return record.at < by_directory
            case _Op.CREATE | _Op.RENAME:
                return record.at < max(by_file, by_directory)
            case _Op.DONE | _Op.SYNC | _Op.SYNCED:
                return True


def _restore(path: Path, before: _Record) -> None:
    with path.open("r+b") as file:
        file.seek(before.offset)
        file.write(before.data)
        file.truncate(before.size)


def _rename_back(record: _Record, kept: Path) -> None:
    """Undo one change of a name, unless a later change of it is durable: then so is this one, being older."""
    old, _, new = (Path(part) if part else None for part in record.path.partition("\0"))
    assert old is not None, "a record of names has a name"
    match record.op:
        case _Op.CREATE if _is(old, record.inode):
            old.unlink()
        case _Op.UNLINK if not old.exists():
            _link(kept, old)
        case _Op.RENAME if new is not None and _is(new, record.inode) and not old.exists():
            new.rename(old)
            if kept.exists():
                _link(kept, new)
        case _:
            pass


def _is(path: Path, inode: int) -> bool:
    return path.exists() and path.lstat().st_ino == inode


def _link(kept: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)  # its directory may be gone since
    path.hardlink_to(kept)
