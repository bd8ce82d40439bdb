"""Naming what is wrong with an export that did not verify: the first bad leaf, and what was done to it.

Slow and thorough, one line at a time; `verify` calls it only once it knows that something is wrong.
"""

import mmap
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tenantry.audit.files import open_file
from tenantry.audit.lines import BODY, LINE, LINE_MAX_BYTES, UNREADABLE, Line, spelled
from tenantry.audit.merkle import HASH_BYTES, Frontier, leaf_hash
from tenantry.audit.proof import ProofFailed
from tenantry.core.leaf import personal_digest
from tenantry.core.text import display

_SALT = re.compile(r"[0-9a-f]{32}")


def examine(events: BinaryIO, hashes: "Hashes", org: str, first: int = 0) -> ProofFailed:
    """Read on from leaf `first`, where `events` stands, and return the first failure against trusted `hashes`.

    Where every line holds, the log was cut after them: `truncated`.
    """
    index = first
    for raw in _raw_lines(events):
        line = _line(raw)
        if index >= len(hashes):
            return ProofFailed("inserted", f"the checkpoint covers {len(hashes)} events", index=index)
        if line is None:
            return ProofFailed("malformed", "not a line of an export", index=index)
        digest = _hash(line)
        if digest != hashes[index]:
            return _name(events, line, digest, hashes, org, index)
        failure = _beside_the_hash(line, org, index)
        if failure:
            return failure
        index += 1
    return ProofFailed("truncated", "the events from here on are gone", index=index)


def events_root(events: BinaryIO, size: int) -> bytes | None:
    """The root over the first `size` lines, or None where there are fewer or one cannot be read."""
    frontier = Frontier()
    for raw in _raw_lines(events):
        line = _line(raw)
        if frontier.size == size or line is None:
            break
        frontier.append(_hash(line))
    return frontier.root() if frontier.size == size else None


def personal_holds(line: Line, digest: str | None) -> bool:
    """Whether the personal data beside an event, if there is any, is what the event committed to."""
    if line.personal is None:
        return True
    if not _SALT.fullmatch(line.personal.salt):
        return False
    return personal_digest(bytes.fromhex(line.personal.salt), bytes(line.personal.data)) == digest


class Hashes:
    """The leaf hashes of an export, read where they lie."""

    def __init__(self, path: Path) -> None:
        with open_file(path) as file:
            self._length = os.fstat(file.fileno()).st_size // HASH_BYTES
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self._length else b""

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> bytes:
        return self._map[index * HASH_BYTES : (index + 1) * HASH_BYTES]

    def __contains__(self, digest: bytes) -> bool:
        at = self._map.find(digest)
        while at % HASH_BYTES and at >= 0:
            at = self._map.find(digest, at + 1)
        return at >= 0


def _name(events: BinaryIO, line: Line, digest: bytes, hashes: Hashes, org: str, index: int) -> ProofFailed:
    """What happened where the leaf at `index` has another hash than the tree says; reads `events` to the end."""
    named = _org(line)
    if named is not None and named != org:
        return _foreign(named, index)
    total, elsewhere = index + 1, False
    for raw in _raw_lines(events):
        total += 1
        later = _line(raw)
        elsewhere = elsewhere or (later is not None and _hash(later) == hashes[index])
    if digest not in hashes:
        if elsewhere:
            return ProofFailed("inserted", "an event the log never had; the right one follows", index=index)
        return ProofFailed("changed", "not the event that was logged here", index=index)
    if elsewhere and total > len(hashes):
        return ProofFailed("inserted", "an event of this log stands here a second time", index=index)
    if elsewhere:
        return ProofFailed("reordered", "an event of this log, at another place", index=index)
    if total < len(hashes):
        return ProofFailed("missing", "the event that was logged here is gone", index=index)
    return ProofFailed("changed", "another event of this log stands in place of this one", index=index)


def _beside_the_hash(line: Line, org: str, index: int) -> ProofFailed | None:
    """What a leaf hash does not cover: the stated index, the personal data, and whose log the event says it is in."""
    if line.index != index:
        return ProofFailed("renumbered", f"this event calls itself number {line.index}", index=index)
    try:
        body = BODY.decode(line.event)
    except UNREADABLE:
        return ProofFailed("malformed", "an event that names no organization", index=index)
    if body.org != org:
        return _foreign(body.org, index)
    if not personal_holds(line, body.personal):
        return ProofFailed("personal_mismatch", "not the personal data this event committed to", index=index)
    return None


def _foreign(org: str, index: int) -> ProofFailed:
    return ProofFailed("foreign", f"an event of the log of {display(org[:100])}", index=index)


def _raw_lines(events: BinaryIO) -> Iterator[bytes]:
    while raw := events.readline(LINE_MAX_BYTES):
        yield raw


def _line(raw: bytes) -> Line | None:
    """The line as it was exported, or None for any other spelling."""
    try:
        line = LINE.decode(raw)
    except UNREADABLE:
        return None
    return line if spelled([line]) == raw else None


def _org(line: Line) -> str | None:
    try:
        return BODY.decode(line.event).org
    except UNREADABLE:
        return None


def _hash(line: Line) -> bytes:
    return leaf_hash(line.revision.to_bytes(8, "big") + line.event)
