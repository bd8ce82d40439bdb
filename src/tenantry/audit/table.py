"""The log as CSV: what a spreadsheet opens without running anything (CWE-1236), and what can be read back exactly.

Cells that a spreadsheet could take for a formula get an apostrophe in front; so do cells that begin with one, which
makes it reversible. The last columns hold the leaf itself; the ones before are for people.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import msgspec

from tenantry.audit.lines import UNREADABLE, Entry
from tenantry.core.text import display

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_LEAF = ("event", "salt", "personal")


def cell(text: str) -> str:
    """`text` as a cell that no spreadsheet takes for a formula."""
    return "'" + text if text.startswith(_FORMULA) else text


def uncell(text: str) -> str:
    """The text that `cell` was given."""
    return text.removeprefix("'")


def header(columns: Sequence[str]) -> bytes:
    """The first row: `columns`, which are members of an event, then the leaf."""
    return _row(["index", "revision", *columns, *_LEAF])


def row(entry: Entry, columns: Sequence[str]) -> bytes:
    """A leaf as a row. `columns` are shown, with controls escaped; `event`, `salt` and `personal` are verbatim."""
    return _row(
        [
            str(entry.index),
            str(entry.revision),
            *_shown(entry.body, columns),
            entry.body.decode("utf-8", "backslashreplace"),
            entry.salt.hex() if entry.salt is not None else "",
            entry.personal.decode("utf-8", "backslashreplace") if entry.personal is not None else "",
        ]
    )


def read_table(file: TextIO) -> Iterator[Entry]:
    """The leaves of a table that `header` and `row` wrote; open `file` with `newline=""`."""
    for cells in csv.DictReader(file):
        salt, personal = uncell(cells["salt"]), uncell(cells["personal"])
        yield Entry(
            index=int(cells["index"]),
            revision=int(cells["revision"]),
            body=uncell(cells["event"]).encode(),
            salt=bytes.fromhex(salt) if salt else None,
            personal=personal.encode() if personal else None,
        )


def _shown(body: bytes, columns: Sequence[str]) -> list[str]:
    """The members of an event for people: texts as they are, the rest as JSON; nothing of a body that cannot be read."""
    try:
        event = msgspec.json.decode(body, type=dict[str, Any])
    except UNREADABLE:
        return [""] * len(columns)
    values = [event.get(name, "") for name in columns]
    return [display(value if isinstance(value, str) else msgspec.json.encode(value).decode()) for value in values]


def _row(cells: Sequence[str]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerow([cell(text) for text in cells])
    return out.getvalue().encode()
