"""`events.jsonl`: one line a leaf, written and read without touching a byte of the event, in blocks of bounded size."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, BinaryIO

import msgspec

from tenantry.audit.proof import ProofFailed

BLOCK_BYTES = 1 << 19
LINE_MAX_BYTES = 1 << 24

Counter = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Entry(msgspec.Struct, frozen=True):
    """A stored leaf: its index, revision (0 where no state changed) and canonical body, verbatim.

    `salt` and `personal` (canonical bytes) are None where there was no personal data or it was erased.
    """

    index: int
    revision: int
    body: bytes
    salt: bytes | None = None
    personal: bytes | None = None


class Personal(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The detachable part of a leaf: salt in hexadecimal, and the data as it was hashed. Absent once erased."""

    salt: str
    data: msgspec.Raw


class Line(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """One leaf as exported; `event` holds the bytes that were hashed."""

    index: Counter
    revision: Counter
    event: msgspec.Raw
    personal: Personal | None = None


class Body(msgspec.Struct, frozen=True, gc=False):
    """What a verifier reads of an event: whose log it is in, and the digest of its personal data."""

    org: str
    personal: str | None = None


Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time with its zone: one without cannot be compared with the others."""


class Dated(msgspec.Struct, frozen=True, gc=False):
    """When an event happened; read of the newest alone."""

    at: Moment


LINE = msgspec.json.Decoder(Line)
BODY = msgspec.json.Decoder(Body)
DATED = msgspec.json.Decoder(Dated)
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_encoder = msgspec.json.Encoder()


def line_of(entry: Entry) -> bytes:
    """The line of `events.jsonl` for one leaf, newline included; the stored bytes go in as they are, damaged or not."""
    head = b'{"index":%d,"revision":%d,"event":%b' % (entry.index, entry.revision, entry.body)
    if entry.salt is None or entry.personal is None:
        return head + b"}\n"
    return b'%b,"personal":{"salt":"%b","data":%b}}\n' % (head, entry.salt.hex().encode(), entry.personal)


def spelled(lines: list[Line]) -> bytes:
    """The one spelling of `lines`. What was read must equal it: no member twice, no space, no other order."""
    return _encoder.encode_lines(lines)


def blocks(file: BinaryIO) -> Iterator[bytes]:
    """Whole lines, about `BLOCK_BYTES` at a time; the last may lack its newline.

    Raises `ProofFailed` (`malformed`) for a line longer than `LINE_MAX_BYTES`.
    """
    rest = b""
    while block := file.read(BLOCK_BYTES):
        end = block.rfind(b"\n") + 1
        if end:
            yield rest + block[:end]
            rest = block[end:]
        elif len(rest) + len(block) > LINE_MAX_BYTES:
            raise ProofFailed("malformed", f"a line of more than {LINE_MAX_BYTES} bytes")
        else:
            rest += block
    if rest:
        yield rest
