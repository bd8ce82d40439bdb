"""The claim `tny`: what a token descends from, and what its minting node had heard."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tenantry_sdk.jose import NotJose, decode

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ID_BYTES = 17
_ID_CHARACTERS = 26
_PLATFORM = {18: "account", 19: "app", 20: "key", 21: "user"}
_ORGANIZATION = {
    2: "blueprint",
    3: "agent",
    4: "user",
    5: "service",
    6: "mcp",
    7: "connection",
    8: "directory",
    9: "session",
    10: "grant",
    11: "run",
    12: "job",
    13: "key",
    14: "portal",
    15: "entry",
    16: "family",
    17: "approval",
}
"""The prefix of each kind's ids. A kind that is not known here may be cut in a way that is not known here: it is refused."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """The ids a token descends from, the organization's and the platform's, and the revisions up to which their cuts count for nothing."""

    incarnation: int
    path: tuple[str, ...]
    rev: int
    platform_path: tuple[str, ...]
    platform_rev: int


def read_lineage(org: str, claim: Mapping[str, Any]) -> Lineage:
    """What the claim of a token of `org` says.

    Raises:
        NotJose: it is not what the server writes.
    """
    match claim:
        case {"path": str(text), "rev": int(rev), "prev": int(platform_rev), "inc": int(incarnation)}:
            packed = decode(text)
        case _:
            raise NotJose("no lineage")
    if len(packed) % _ID_BYTES:
        raise NotJose("a path has 17 bytes an id")
    own, platform = [org], []
    for at in range(0, len(packed), _ID_BYTES):
        number, value = packed[at], int.from_bytes(packed[at + 1 : at + _ID_BYTES], "big")
        spelled = "".join(_ALPHABET[value >> 5 * place & 31] for place in reversed(range(_ID_CHARACTERS)))
        if number in _ORGANIZATION:
            own.append(f"{_ORGANIZATION[number]}_{spelled}")
        elif number in _PLATFORM:
            platform.append(f"{_PLATFORM[number]}_{spelled}")
        else:
            raise NotJose("an unknown kind of branch")
    return Lineage(incarnation, tuple(own), rev, tuple(platform), platform_rev)
