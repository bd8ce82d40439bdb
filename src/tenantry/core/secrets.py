"""Secrets that Tenantry issues: `tnk_<ULID of the organization>_<43 characters>`, 256 random bits.

The organization stands in the text so that a lookup is by (organization, hash), on one shard, under row security; the prefix
lets secret scanners find a leaked one. Only the SHA-256 is stored: 256 random bits need no slow hash.
"""

import hashlib
import hmac
import re
import secrets

from tenantry.core.errors import NotFound
from tenantry.core.ids import is_ulid, ulid

_SHAPE = re.compile(r"tnk_([0-9A-Z]{26})_([A-Za-z0-9_-]{43})")


class Secret:
    """A secret in memory. Its `repr` is a mask and its value leaves by `reveal` alone."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    @classmethod
    def issue(cls, org: str) -> "Secret":
        """A fresh secret of this organization."""
        return cls(f"tnk_{ulid(org)}_{secrets.token_urlsafe(32)}")

    def reveal(self) -> str:
        """The text itself, for the one answer that shows it."""
        return self._value

    def digest(self) -> bytes:
        """The SHA-256 under which the secret is stored."""
        return hashlib.sha256(self._value.encode()).digest()

    def organization(self) -> str:
        """The organization that the text names; a claim until the digest is found there.

        Raises:
            NotFound: the text is no secret of ours.
        """
        match = _SHAPE.fullmatch(self._value)
        if match is None or not is_ulid(match[1]):
            raise NotFound("This is no secret of this deployment.")
        return f"org_{match[1]}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret('tnk_…')"

    __str__ = __repr__
