"""What each file of this room keeps, so that `schema` can put the room's schema together; and records made of rows.

A row has columns of text, integers and bytes. Where a record holds more (a ceiling, a list of addresses) its column is JSON and called
`<field>_json`.
"""

import functools
import typing

import msgspec

from tenantry.store import Read, Statement, Table

T = typing.TypeVar("T", bound=msgspec.Struct)

PAGE_MAX = 100
"""Rows in one page of a list."""

PAGE_ARGS = {"after": str, "most": int}
"""What a page is asked for by: the last id of the one before, and how many rows."""


class Part(msgspec.Struct, frozen=True):
    """Tables, statements and reads of one file, with the text that makes the tables."""

    tables: tuple[Table, ...]
    statements: tuple[Statement, ...]
    reads: tuple[Read[typing.Any], ...]
    ddl: str


def unfold(row: msgspec.Struct, kind: type[T]) -> T:
    """The record of a row: the same fields, with each `<field>_json` decoded to the type that the record gives `field`."""
    decoders = _decoders(kind)
    fields = ((name, getattr(row, name)) for name in row.__struct_fields__)
    return kind(
        **{name: value for name, value in fields if not name.endswith("_json")},
        **{name: decoders[name].decode(value) for name, value in _folded(row)},
    )


def fold(value: object) -> str:
    """A value as its column holds it."""
    return msgspec.json.encode(value).decode()


def _folded(row: msgspec.Struct) -> list[tuple[str, str]]:
    return [(n.removesuffix("_json"), getattr(row, n)) for n in row.__struct_fields__ if n.endswith("_json")]


@functools.cache
def _decoders(kind: type[msgspec.Struct]) -> dict[str, msgspec.json.Decoder[typing.Any]]:
    return {name: msgspec.json.Decoder(hint) for name, hint in typing.get_type_hints(kind).items()}
