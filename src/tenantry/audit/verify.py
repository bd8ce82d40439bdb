"""Verify an export offline: nothing is asked of the deployment that made it.

`verify_export` returns a `Report` of what was proved, or raises `ProofFailed` with the first bad index and its kind.
Memory is bounded whatever the size. What a report does not prove: that the keys are the log's own (pass `keys` from
a trusted place), nor that the tail was not cut (pass a checkpoint you kept `against` it).
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from tenantry.audit.checkpoint import Checkpoint, open_checkpoint
from tenantry.audit.damage import Hashes, events_root, examine, personal_holds
from tenantry.audit.export import (
    ALWAYS,
    CHECKPOINT,
    EVENTS,
    FORMAT,
    HASHES,
    KEYS,
    MANIFEST,
    PURPOSE,
    TABLE,
    Manifest,
    PublishedKey,
)
from tenantry.audit.files import open_file, read_file
from tenantry.audit.lines import BODY, DATED, LINE, UNREADABLE, Body, Line, blocks, spelled
from tenantry.audit.merkle import HASH_BYTES, Frontier
from tenantry.audit.note import Verifier, parse_vkey
from tenantry.audit.proof import ProofFailed
from tenantry.audit.table import check_table
from tenantry.core.errors import Invalid
from tenantry.core.text import display

_HASHES_AT_ONCE = 4096


class Report(msgspec.Struct, frozen=True):
    """What was proved: these are the first `size` events of this log, unchanged, under a signed checkpoint."""

    org: str
    origin: str
    size: int
    """The export is complete up to this size; what was logged later is not in it."""
    root: str
    signed_by: tuple[str, ...]
    keys_enclosed: bool
    """Whether the keys came with the export: then its maker vouches for himself."""
    newest: datetime | None
    """When the last event happened."""
    erased: int
    """Events whose personal data is no longer there."""
    held: int | None
    """Size of the earlier checkpoint that this log was found to continue."""


def verify_export(
    directory: Path, *, keys: Sequence[PublishedKey] | None = None, against: bytes | None = None
) -> Report:
    """Verify the export in `directory`, with published `keys` and `against` an earlier checkpoint where given.

    An export that is sound but shorter than the checkpoint held fails as `behind`, its `index` being the size up to which it is
    complete: a lagging replica made it, or the tail was cut.

    Raises:
        ProofFailed: the export does not hold.
        Invalid: `against` is no signed note, which says nothing of the export.
    """
    manifest = _manifest(directory)
    published = _keys(directory / KEYS) if keys is None else keys
    verifiers = [parse_vkey(key.vkey) for key in published if key.purpose == PURPOSE]
    checkpoint, opened = open_checkpoint(read_file(directory / CHECKPOINT), verifiers)
    if (manifest.origin, manifest.org, manifest.size) != (checkpoint.origin, checkpoint.organization, checkpoint.size):
        raise ProofFailed("checkpoint_mismatch", "the manifest speaks of another checkpoint")
    held = _held(against, verifiers) if against is not None else None
    if held and held.origin != checkpoint.origin:
        raise ProofFailed("foreign", f"the checkpoint held is of the log {display(held.origin[:100])}")
    _check_hashes(directory, checkpoint, held)
    newest, erased = _check_events(directory, checkpoint)
    signers = tuple(v for v in opened.signed_by if v.name == checkpoint.origin and _valid(v, published, newest))
    if not signers:
        index = checkpoint.size - 1 if checkpoint.size else None
        raise ProofFailed("key_revoked", "signed by a key after its end", index=index)
    _check_files(directory, manifest)
    if held and held.size > checkpoint.size:
        raise ProofFailed("behind", f"complete up to here, and {held.size} events are known", index=checkpoint.size)
    return Report(
        org=manifest.org,
        origin=checkpoint.origin,
        size=checkpoint.size,
        root=checkpoint.root.hex(),
        signed_by=tuple(verifier.vkey for verifier in signers),
        keys_enclosed=keys is None,
        newest=newest,
        erased=erased,
        held=held.size if held else None,
    )


def read_keys(path: Path) -> list[PublishedKey]:
    """Read a published key history (`keys.json`) that comes from elsewhere.

    Raises:
        Invalid: it is none.
    """
    with _handed_over(path.name):
        keys = _keys(path)
        for key in keys:
            parse_vkey(key.vkey)
    return keys


def read_checkpoint(path: Path) -> bytes:
    """Read a kept checkpoint, to hold an export against; nothing of it is verified yet.

    Raises:
        Invalid: it is no file that could be one.
    """
    with _handed_over(path.name):
        return read_file(path)


def _keys(path: Path) -> list[PublishedKey]:
    try:
        return msgspec.json.decode(read_file(path), type=list[PublishedKey])
    except UNREADABLE as error:
        raise ProofFailed("malformed", f"{path.name}: {display(str(error)[:300])}") from error


def _held(note: bytes, verifiers: Sequence[Verifier]) -> Checkpoint:
    with _handed_over("the checkpoint held"):
        return open_checkpoint(note, verifiers)[0]


@contextmanager
def _handed_over(what: str) -> Iterator[None]:
    """What the verifier brought along and is not of its format is a mistake of the call, and proves nothing of the log."""
    try:
        yield
    except ProofFailed as error:
        if error.kind != "malformed":
            raise
        raise Invalid(f"Not usable: {what} ({error.message}).", hint="Give the file as it was published.") from error


def _manifest(directory: Path) -> Manifest:
    if not (directory / MANIFEST).exists():
        raise ProofFailed("malformed", f"there is no {MANIFEST}; did the export finish?")
    try:
        manifest = msgspec.json.decode(read_file(directory / MANIFEST), type=Manifest)
    except UNREADABLE as error:
        raise ProofFailed("malformed", f"{MANIFEST}: {display(str(error)[:300])}") from error
    if manifest.format != FORMAT:
        raise ProofFailed("malformed", f"{MANIFEST}: a format this verifier does not know: {manifest.format[:100]!r}")
    return manifest


def _check_hashes(directory: Path, checkpoint: Checkpoint, held: Checkpoint | None) -> None:
    """The leaf hashes lead to the signed root, and to the root held; from here on they are trusted."""
    sizes = {checkpoint.size} | ({held.size} if held and held.size <= checkpoint.size else set())
    with open_file(directory / HASHES) as file:
        stored = os.fstat(file.fileno()).st_size
        roots = _roots(file, sorted(sizes))
    if held and held.size in roots and roots[held.size] != held.root and roots.get(checkpoint.size) == checkpoint.root:
        raise ProofFailed("consistency", "this log is not a continuation of the checkpoint held")
    if roots.get(checkpoint.size) == checkpoint.root and stored == checkpoint.size * HASH_BYTES:
        return
    with open_file(directory / EVENTS) as events:
        if events_root(events, checkpoint.size) == checkpoint.root:
            raise ProofFailed("hashes_mismatch", "the events are intact, the file of hashes is not")
        if stored < checkpoint.size * HASH_BYTES:
            events.seek(0)
            raise examine(events, Hashes(directory / HASHES), checkpoint.organization)
    after = held.size if held and roots.get(held.size) == held.root else None
    raise ProofFailed("checkpoint_mismatch", "not what was signed, from here on or later", index=after)


def _roots(file: BinaryIO, sizes: Sequence[int]) -> dict[int, bytes]:
    """The roots at each of the ascending `sizes` that the file of hashes reaches."""
    frontier, roots = Frontier(), dict[int, bytes]()
    for size in sizes:
        while frontier.size < size:
            hashes = file.read(min(_HASHES_AT_ONCE, size - frontier.size) * HASH_BYTES)
            if len(hashes) < HASH_BYTES:
                return roots
            frontier.extend(hashes)
        roots[size] = frontier.root()
    return roots


def _check_events(directory: Path, checkpoint: Checkpoint) -> tuple[datetime | None, int]:
    """Every line is the leaf its hash says; returns when the newest happened and how many were erased."""
    index = offset = erased = 0
    newest: Line | None = None
    with open_file(directory / EVENTS) as events, open_file(directory / HASHES) as hashes:
        for block in blocks(events):
            pairs = _accept(block, index, checkpoint.organization, hashes)
            if pairs is None:
                events.seek(offset)
                raise examine(events, Hashes(directory / HASHES), checkpoint.organization, index)
            index, offset, newest = index + len(pairs), offset + len(block), pairs[-1][0]
            erased += sum(1 for line, body in pairs if body.personal is not None and line.personal is None)
    if index < checkpoint.size:
        raise ProofFailed("truncated", "the events from here on are gone", index=index)
    return (_dated(newest, index - 1) if newest else None), erased


def _accept(block: bytes, first: int, org: str, hashes: BinaryIO) -> list[tuple[Line, Body]] | None:
    """The leaves of a block if every one is the next of this log; None if anything at all is wrong with one."""
    sha256 = hashlib.sha256
    try:
        lines = LINE.decode_lines(block)
        bodies = BODY.decode_lines(b"\n".join([line.event for line in lines]))
    except UNREADABLE:
        return None
    digests = [sha256(b"\x00" + line.revision.to_bytes(8, "big") + line.event).digest() for line in lines]
    sound = (
        spelled(lines) == block
        and b"".join(digests) == hashes.read(len(lines) * HASH_BYTES)
        and [line.index for line in lines] == list(range(first, first + len(lines)))
        and len(bodies) == len(lines)
        and {body.org for body in bodies} == {org}
    )
    pairs = list(zip(lines, bodies, strict=True)) if sound else []
    return pairs if sound and all(personal_holds(line, body.personal) for line, body in pairs) else None


def _dated(line: Line, index: int) -> datetime:
    try:
        return DATED.decode(line.event).at
    except UNREADABLE as error:
        raise ProofFailed("malformed", "an event without a time", index=index) from error


def _valid(verifier: Verifier, published: Sequence[PublishedKey], newest: datetime | None) -> bool:
    """Whether the key could still sign a checkpoint whose newest event is `newest`; one revocation is enough.

    A checkpoint states no time; it cannot be older than what it covers. That of an empty log may be of any time, so a
    revoked key signs none.
    """
    entries = [key for key in published if key.vkey == verifier.vkey and key.purpose == PURPOSE]
    revoked = any(key.revoked is not None and (newest is None or newest > key.revoked) for key in entries)
    return not revoked and any(key.until is None or newest is None or newest <= key.until for key in entries)


def _check_files(directory: Path, manifest: Manifest) -> None:
    """The folder holds what an export has and nothing else; events and hashes were just proved byte by byte."""
    named = set(manifest.files)
    if not ALWAYS <= named <= ALWAYS | {TABLE}:
        raise ProofFailed("file_changed", f"the manifest names other files than an export has: {sorted(named)!r:.200}")
    for path in directory.iterdir():
        if path.name not in named | {MANIFEST}:
            raise ProofFailed("file_changed", f"{path.name!r:.200} is none of the files that were exported")
    for name in (CHECKPOINT, KEYS):
        if hashlib.sha256(read_file(directory / name)).hexdigest() != manifest.files[name]:
            raise ProofFailed("file_changed", f"{name} is not the file that was exported")
    if TABLE in named:
        with open_file(directory / EVENTS) as events, open_file(directory / TABLE) as table:
            check_table(table, events)
