"""The leaf of an audit log: which bytes of an event are committed to, and how personal data hangs beside them.

A leaf is the revision in 8 bytes followed by the event's canonical JSON. Personal data is never inside: the event
holds the digest of salt and data, the row holds both, and clearing them leaves every proof valid. The random salt
keeps a digest from being guessed back (an address or a name is a small space).
"""

import hashlib
import os

import msgspec

from tenantry.core import canonical
from tenantry.core.errors import TooLarge
from tenantry.core.limits import LEAF_MAX_BYTES, REVISION_BYTES

SALT_BYTES = 16


class Sealed(msgspec.Struct, frozen=True):
    """Personal data made detachable: `digest` goes into the event, `salt` and `data` into columns of their own."""

    salt: bytes
    data: bytes
    digest: str


def leaf(revision: int, body: bytes) -> bytes:
    """Return the bytes a log commits to: `revision` (0 where no state changed) in 8 bytes, then the canonical body.

    Raises `TooLarge` past `LEAF_MAX_BYTES`.
    """
    committed = revision.to_bytes(REVISION_BYTES, "big") + body
    if len(committed) > LEAF_MAX_BYTES:
        raise TooLarge(f"An event of {len(body)} bytes does not fit a leaf of {LEAF_MAX_BYTES} bytes.")
    return committed


def seal(personal: object) -> Sealed:
    """Detach `personal` under a fresh salt; its canonical bytes are what is stored and exported, verbatim."""
    salt = os.urandom(SALT_BYTES)
    data = canonical.encode(personal)
    return Sealed(salt=salt, data=data, digest=personal_digest(salt, data))


def personal_digest(salt: bytes, data: bytes) -> str:
    """SHA-256 of salt and data, in lower-case hexadecimal, as the event's member `personal` holds it."""
    return hashlib.sha256(salt + data).hexdigest()
