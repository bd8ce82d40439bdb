"""The log as CSV: what a spreadsheet opens without running anything (CWE-1236), and what can be read back exactly.

The events determine every byte of it, so it is proved by writing it again.

Cells that a spreadsheet could take for a formula get an apostrophe in front; so do cells that begin with one, which
makes it reversible. The last columns hold the leaf itself; the ones before are for people.
"""

import csv
import io
from collections.abc import Sequence
from typing import BinaryIO

import msgspec

from tenantry.audit.lines import LINE, UNREADABLE, Entry, Line, blocks
from tenantry.audit.proof import ProofFailed
from tenantry.core.text import display

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_SHOWN = ("at", "type", "outcome", "actor", "targets", "data")
"""The members of an event that people look for, before the leaf itself."""


def cell(text: str) -> str:
    """`text` as a cell that no spreadsheet takes for a formula."""
    return "'" + text if text.startswith(_FORMULA) else text


def row(entry: Entry) -> bytes:
    """A leaf as a row: members of its event, with controls escaped; then `event`, `salt` and `personal` verbatim."""
    salt = personal = ""
    if entry.salt is not None and entry.personal is not None:
        salt, personal = entry.salt.hex(), entry.personal.decode("utf-8", "backslashreplace")
    body = entry.body.decode("utf-8", "backslashreplace")
    return _row([str(entry.index), str(entry.revision), *_shown(entry.body), body, salt, personal])


def check_table(table: BinaryIO, events: BinaryIO) -> None:
    """Hold a table against `events`, the lines of a log that were proved.

    Raises:
        ProofFailed: `file_changed`, with the index of the first row that is not its event's, unless it is the header.
    """
    if table.read(len(HEADER)) != HEADER:
        raise ProofFailed("file_changed", "the table has other columns")
    index = 0
    for block in blocks(events):
        for line in LINE.decode_lines(block):
            expected = row(_entry(line))
            if table.read(len(expected)) != expected:
                raise ProofFailed("file_changed", "the table tells of another event", index=index)
            index += 1
    if table.read(1):
        raise ProofFailed("file_changed", "the table goes on after the last event", index=index)


def _entry(line: Line) -> Entry:
    if line.personal is None:
        return Entry(line.index, line.revision, bytes(line.event))
    salt, personal = bytes.fromhex(line.personal.salt), bytes(line.personal.data)
    return Entry(line.index, line.revision, bytes(line.event), salt, personal)


def _shown(body: bytes) -> list[str]:
    """The members of an event for people: texts as they are, the rest as its JSON; nothing of a body that cannot be read."""
    try:
        event = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        return [display(_text(bytes(event[name]))) if name in event else "" for name in _SHOWN]
    except UNREADABLE:
        return [""] * len(_SHOWN)


def _text(value: bytes) -> str:
    return msgspec.json.decode(value, type=str) if value.startswith(b'"') else value.decode()


def _row(cells: Sequence[str]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerow([cell(text) for text in cells])
    return out.getvalue().encode()


HEADER = _row(["index", "revision", *_SHOWN, "event", "salt", "personal"])
"""The first row."""
