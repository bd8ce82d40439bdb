"""Where a list goes on: opaque tokens, sealed under the organization's key and bound to the route, the store, the filter and the life of
the data, so that one that was edited, taken from elsewhere or kept over a restore is refused.
"""

import base64
import binascii

import msgspec

from tenantry.access.errors import AccessError
from tenantry.keys.aead import Damaged
from tenantry.keys.envelope import Aad, open_, seal
from tenantry.keys.keyring import Keyring

TOKEN_MAX_CHARACTERS = 5_120


class InvalidToken(AccessError):
    """The token is not one of this list, with this filter, in this life of the data."""

    code = "invalid_continuation_token"
    number = 2007
    sentence = "Invalid continuation token."


class Listing(msgspec.Struct, frozen=True):
    """What a token belongs to: an organization, one of its stores (empty where it is about none), a list, and how that was filtered."""

    org: str
    store: str
    name: str
    filter: tuple[str, ...] = ()


class Continuation:
    """Makes and reads tokens."""

    def __init__(self, keyring: Keyring, incarnation: int) -> None:
        self._keyring = keyring
        self._incarnation = incarnation

    async def token(self, listing: Listing, position: list[str]) -> str:
        """The token that leads back to a position.

        Raises:
            Upstream, KeysDestroyed: the organization's key cannot be had.
        """
        key = await self._keyring.data_key(listing.org)
        sealed = seal(key, msgspec.json.encode(position), self._aad(listing, key.version))
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    async def position(self, listing: Listing, token: str) -> list[str]:
        """The position that a token leads back to; nothing for an empty one, which begins.

        Raises:
            InvalidToken: it is not one of this listing: begin again.
            Upstream, KeysDestroyed: the organization's key cannot be had.
        """
        if not token:
            return []
        key = await self._keyring.data_key(listing.org)
        try:
            sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            opened = open_(key, sealed, self._aad(listing, key.version))
        except (binascii.Error, ValueError, Damaged) as error:
            raise InvalidToken(hint="Read again from the start.") from error
        return msgspec.json.decode(opened, type=list[str])

    def _aad(self, listing: Listing, version: int) -> Aad:
        terms = (str(self._incarnation), *listing.filter)
        return Aad("continuation", version, listing.org, "access", listing.name, listing.store, terms)
