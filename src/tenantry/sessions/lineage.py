"""The claim `tny`: what a credential descends from, and what its minting node had heard, in at most 400 bytes.

    {"path": "<base64url>", "rev": 41, "prev": 7, "inc": 1}

`path` is 17 bytes an id: the number of its kind (`tree.KINDS`), then the 16 bytes of its ULID. The organization is left out, `org_id` names
it. The kind tells on which side an id stands; `rev` counts for the organization's, `prev` for the platform's.
"""

import msgspec

from tenantry.core import base64url
from tenantry.core.base64url import NotBase64url
from tenantry.core.ids import ALPHABET, LENGTH, ulid
from tenantry.core.principal import Lineage
from tenantry.sessions.tree import BY_NUMBER, NoBranch, Side, check_path, kind_of

TNY_MAX_BYTES = 400

_ID_BYTES = 17
_VALUES = {character: value for value, character in enumerate(ALPHABET)}


class Tny(msgspec.Struct, frozen=True):
    """The claim as it stands in a token."""

    path: str
    rev: int
    prev: int
    inc: int

    def __post_init__(self) -> None:
        if min(self.rev, self.prev, self.inc) < 0:
            raise ValueError("a revision is never negative")


def encode(org: str, lineage: Lineage) -> Tny:
    """The claim of a credential of `org`.

    Raises:
        NoBranch: its path is none of the tree, or does not fit into `TNY_MAX_BYTES`.
    """
    check_path(org, lineage.path, lineage.platform_path)
    ids = [(branch, Side.ORGANIZATION) for branch in lineage.path[1:]]
    ids += [(branch, Side.PLATFORM) for branch in lineage.platform_path]
    packed = b"".join(bytes([kind_of(branch, side).number]) + _sixteen(branch) for branch, side in ids)
    claim = Tny(base64url.encode(packed), lineage.rev, lineage.platform_rev, lineage.incarnation)
    if (size := len(msgspec.json.encode(claim))) > TNY_MAX_BYTES:
        raise NoBranch(f"A credential's path takes {size} bytes; {TNY_MAX_BYTES} are allowed.")
    return claim


def decode(org: str, claim: Tny) -> Lineage:
    """What the claim of a credential of `org` says.

    Raises:
        NoBranch: it is not what `encode` writes.
    """
    if len(claim.path) > TNY_MAX_BYTES:
        raise NoBranch("This path is too long.")
    try:
        packed = base64url.decode(claim.path)
    except NotBase64url as error:
        raise NoBranch(error.message) from error
    if len(packed) % _ID_BYTES:
        raise NoBranch(f"A path has {_ID_BYTES} bytes an id.")
    sides: dict[Side, list[str]] = {Side.ORGANIZATION: [org], Side.PLATFORM: []}
    for at in range(0, len(packed), _ID_BYTES):
        kind = BY_NUMBER.get(packed[at])
        if kind is None:
            raise NoBranch(f"No kind of branch has the number {packed[at]}.")
        sides[kind.side].append(f"{kind.prefix}_{_spelled(packed[at + 1 : at + _ID_BYTES])}")
    lineage = Lineage(claim.inc, tuple(sides[Side.ORGANIZATION]), claim.rev, tuple(sides[Side.PLATFORM]), claim.prev)
    if encode(org, lineage) != claim:
        raise NoBranch("A path has one spelling.")
    return lineage


def _sixteen(branch: str) -> bytes:
    value = 0
    for character in ulid(branch):
        value = value << 5 | _VALUES[character]
    return value.to_bytes(16, "big")


def _spelled(sixteen: bytes) -> str:
    value = int.from_bytes(sixteen, "big")
    return "".join(ALPHABET[value >> 5 * place & 31] for place in reversed(range(LENGTH)))
