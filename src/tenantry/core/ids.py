"""Ids: a type prefix and a UUIDv7 in Crockford base32, such as `user_01JDNQ3W4RZ0H6V8XK5T2C7M9E`.

The part after the prefix is 26 characters and a valid ULID: it sorts by time and satisfies clients that insist on ULIDs.
An id has one spelling; any other spelling is an unknown id (`NotFound`), never a second name for the same thing.
"""

import re
import secrets
import threading

from tenantry.core.clock import Clock
from tenantry.core.errors import NotFound

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 26

PREFIXES = frozenset(
    {
        "org",
        "domain",
        "invitation",
        "user",
        "account",
        "blueprint",
        "agent",
        "service",
        "mcp",
        "job",
        "run",
        "app",
        "resource",
        "connection",
        "directory",
        "session",
        "grant",
        "approval",
        "entry",
        "group",
        "key",
        "store",
        "model",
        "decision",
        "signal",
        "node",
        "incarnation",
        "deployment",
        "request",
        "token",
        "portal",
        "family",
        "ledger",
    }
)

PLATFORM = "org_" + "0" * LENGTH
"""The organization that is the platform itself."""


class IdSource:
    """Makes ids that are unique and, within one process, strictly increasing per millisecond.

    RFC 9562, 5.7 (UUIDv7) with method 1 of 6.2: the 12 bits of `rand_a` count within a millisecond, the 62 bits of `rand_b` are random.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last = 0

    def new(self, prefix: str) -> str:
        """A fresh id of a known type."""
        if prefix not in PREFIXES:
            raise ValueError(f"{prefix!r} is no type of id")
        with self._lock:
            self._last = max(self._last + 1, self._clock.now_ms() << 12)
            stamp = self._last
        uuid = (stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | secrets.randbits(62)
        return f"{prefix}_{_encode(uuid)}"


def parse(prefix: str, text: str) -> str:
    """`text` if it is an id of this type in its one spelling.

    Raises:
        NotFound: for anything else, as for an id that never existed.
    """
    head, _, tail = text.partition("_")
    if head != prefix or not is_ulid(tail):
        raise NotFound(f"There is no such {prefix}.")
    return text


def is_ulid(text: str) -> bool:
    """Whether `text` is 26 upper-case Crockford characters that fit into 128 bits."""
    return _ULID.fullmatch(text) is not None


def ulid(identifier: str) -> str:
    """The part of an id after its prefix."""
    return identifier[-LENGTH:]


def _encode(value: int) -> str:
    return "".join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])


_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
_SHIFTS = range(120, -1, -10)
_ULID = re.compile(f"[0-7][{ALPHABET}]{{{LENGTH - 1}}}")
