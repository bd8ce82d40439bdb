"""One value, one spelling: canonical JSON (RFC 8785, JCS), for everything that is hashed or signed.

`encode` is on the path of every audited write, so plain values (strings, integers, booleans, null; ASCII keys) go
through msgspec, whose sorted output has the same bytes there; the rest goes through the library `rfc8785`.
Do not use it for answers to a client: `msgspec.json.encode` is faster and refuses less.
"""

import math
from typing import Any

import msgspec
import rfc8785

from tenantry.core.errors import Invalid

MAX_DEPTH = 32
MAX_INTEGER = 2**53 - 1
"""The largest integer every JSON reader keeps exactly (RFC 7493, 2.2); larger ones are sent as strings."""

_encoder = msgspec.json.Encoder(order="sorted")


class NotCanonical(Invalid):
    """A value that has no canonical JSON form."""

    code = "not_canonical"


def encode(value: object) -> bytes:
    """Return the RFC 8785 form of `value`: msgspec structs, dictionaries, lists, tuples and scalars.

    Structs, times, enums and bytes are written as msgspec writes them. Refused with `NotCanonical`: NaN and the
    infinities, integers beyond `MAX_INTEGER`, lone surrogates, keys that are not strings, nesting deeper than
    `MAX_DEPTH`, and types msgspec does not know.
    """
    try:
        plain = msgspec.to_builtins(value)
        if _spelled_alike(plain, MAX_DEPTH):
            return _encoder.encode(plain)
        return rfc8785.dumps(plain)
    except (TypeError, RecursionError, UnicodeEncodeError, rfc8785.CanonicalizationError) as error:
        raise NotCanonical(f"no canonical JSON form: {error}") from error


def _spelled_alike(value: Any, depth: int) -> bool:
    """Whether msgspec's sorted output is canonical too; raises for what has no canonical form at all.

    Floats are spelled differently (1e21, -0.0), and sorting by UTF-8 differs from sorting by UTF-16 (RFC 8785, 3.2.3)
    only outside ASCII. Strings are escaped alike: a test compares every code point.
    """
    kind = type(value)
    if kind is dict:
        if depth == 0:
            raise NotCanonical(f"nested deeper than {MAX_DEPTH}")
        alike = True
        for key, item in value.items():
            if type(key) is not str:
                raise NotCanonical(f"a key that is not a string: {key!r}")
            alike = alike and key.isascii()
            if type(item) is not str:
                alike = _spelled_alike(item, depth - 1) and alike
        return alike
    if kind is list or kind is tuple:
        if depth == 0:
            raise NotCanonical(f"nested deeper than {MAX_DEPTH}")
        alike = True
        for item in value:
            alike = _spelled_alike(item, depth - 1) and alike
        return alike
    if kind is int:
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise NotCanonical("an integer beyond 2^53 - 1: send it as a string")
        return True
    if kind is float:
        if not math.isfinite(value):
            raise NotCanonical("a number that is not finite")
        return False
    return True
