"""An export of a log that can be verified offline: a folder of plain files, written in one pass.

`events.jsonl` (one line a leaf), `hashes` (32 bytes a leaf, from the stored tree and not from the leaves, so that a
changed leaf can be named), `checkpoint` (signed note), `keys.json` (published key history), and last of all
`manifest.json`: a folder without one is an export that did not finish. On request `events.csv` for spreadsheets.
The format is described in docs/how-to/verify-the-log.md; `verify` reads it.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tenantry.audit.checkpoint import open_checkpoint
from tenantry.audit.lines import Entry, Moment, line_of
from tenantry.audit.note import Verifier, parse_vkey
from tenantry.audit.table import HEADER, row
from tenantry.core.limits import CLOCK_SKEW_MS
from tenantry.keys.signing import PublicKey, Purpose

FORMAT = "tenantry-audit-export/1"
PURPOSE = Purpose.AUDIT_CHECKPOINT.value

EVENTS, HASHES, TABLE = "events.jsonl", "hashes", "events.csv"
CHECKPOINT, KEYS, MANIFEST = "checkpoint", "keys.json", "manifest.json"
ALWAYS = frozenset({EVENTS, HASHES, CHECKPOINT, KEYS})
"""What every manifest names; beside these an export holds the manifest, and `TABLE` or not, and nothing else."""


class PublishedKey(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One stretch of time in which a key signs, or signed, checkpoints; a key that returns has several.

    Every checkpoint whose newest event is later than `until`, or than `revoked`, is refused.
    """

    vkey: str
    since: Moment
    until: Moment | None = None
    revoked: Moment | None = None
    purpose: str = PURPOSE


class Manifest(msgspec.Struct, frozen=True):
    """What the export says of itself: complete up to `size`, later events are not in it."""

    format: str
    org: str
    origin: str
    size: int
    """Leaves under the checkpoint: the export is complete up to here."""
    files: dict[str, str]
    """SHA-256 of each file, in lower-case hexadecimal."""


def published_key(key: PublicKey, name: str, revoked_at_ms: int | None = None) -> PublishedKey:
    """The entry of the key history for an Ed25519 key under the name of a log, its origin; raises ValueError for another.

    It ends as late as a node whose clock is behind may still have signed with it.
    """
    public_key = load_der_public_key(key.spki)
    if not isinstance(public_key, Ed25519PublicKey) or key.use.purpose is not Purpose.AUDIT_CHECKPOINT:
        raise ValueError(f"key {key.id} does not sign checkpoints")
    retired = key.schedule.retire_at_ms
    return PublishedKey(
        vkey=Verifier(name, public_key.public_bytes_raw()).vkey,
        since=_moment(key.schedule.active_at_ms),
        until=None if retired is None else _moment(retired + CLOCK_SKEW_MS),
        revoked=None if revoked_at_ms is None else _moment(revoked_at_ms),
    )


def _moment(at_ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)


class ExportWriter:
    """Writes one export, page by page; leaving the block without an exception completes it.

    With `table` it holds `events.csv` too. Raises `ProofFailed` at once if none of `keys` signed `note`.
    """

    def __init__(self, directory: Path, note: bytes, keys: Sequence[PublishedKey], *, table: bool = False) -> None:
        self._checkpoint, _ = open_checkpoint(note, [parse_vkey(key.vkey) for key in keys])
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._files: dict[str, str] = {}
        (directory / MANIFEST).unlink(missing_ok=True)
        self._write(CHECKPOINT, note)
        self._write(KEYS, msgspec.json.format(msgspec.json.encode(keys)) + b"\n")
        self._events = _Hashed(directory / EVENTS)
        self._hashes = _Hashed(directory / HASHES)
        self._table = _Hashed(directory / TABLE) if table else None
        if self._table is not None:
            self._table.write(HEADER)

    def add(self, entries: Iterable[Entry], hashes: bytes) -> None:
        """Append the next leaves in index order, and their hashes as the stored tree has them, concatenated."""
        page = list(entries)
        self._events.write(b"".join(map(line_of, page)))
        if self._table is not None:
            self._table.write(b"".join(map(row, page)))
        self._hashes.write(hashes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._files |= {EVENTS: self._events.close(), HASHES: self._hashes.close()}
        if self._table is not None:
            self._files[TABLE] = self._table.close()
        if error is None:
            checkpoint = self._checkpoint
            manifest = Manifest(FORMAT, checkpoint.organization, checkpoint.origin, checkpoint.size, self._files)
            self._write(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")

    def _write(self, name: str, content: bytes) -> None:
        file = _Hashed(self._directory / name)
        file.write(content)
        self._files[name] = file.close()


class _Hashed:
    """A file that knows its digest when it is closed. It may hold personal data: only its owner reads it, whatever the umask."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file: BinaryIO = os.fdopen(descriptor, "wb")
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)

    def close(self) -> str:
        self._file.close()
        return self._digest.hexdigest()
