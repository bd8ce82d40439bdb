"""Nonces for DPoP proofs (RFC 9449, 8): made by any node, taken by all, kept by none.

A nonce is a MAC over a stretch of time under a key that every node derives from the platform's data key. It says that a proof was not made
long before, whatever the client's clock and whoever held the client's key for a moment; that a proof comes once is `once`'s to say.
"""

import hmac

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tenantry.core import base64url
from tenantry.core.clock import Clock
from tenantry.core.ids import PLATFORM
from tenantry.keys.envelope import DataKey
from tenantry.keys.keyring import Keyring

STRETCH_MS = 60_000
"""A nonce is taken during its own stretch of time, the next, and, because clocks differ, the one before."""

_KEY_BYTES = 32
_MAC_BYTES = 16


class Near(msgspec.Struct, frozen=True):
    """The nonces of this moment."""

    now: str
    """What the next proof is to carry."""

    taken: tuple[bytes, ...]

    def takes(self, nonce: str) -> bool:
        """Whether some node gave this one lately."""
        return any([hmac.compare_digest(nonce.encode(), one) for one in self.taken])  # noqa: C419 - all of them, always


class Nonces:
    """The nonces of a node."""

    def __init__(self, keyring: Keyring, clock: Clock) -> None:
        self._keyring = keyring
        self._clock = clock
        self._version = 0
        self._key = b""

    async def near(self) -> Near:
        """The nonces of this moment.

        Raises:
            Upstream: the root key cannot be reached.
        """
        key, stretch = await self._current_key(), self._clock.now_ms() // STRETCH_MS
        before, now, after = (_nonce(key, stretch + step) for step in (-1, 0, 1))
        return Near(now, (before.encode(), now.encode(), after.encode()))

    async def _current_key(self) -> bytes:
        """Derived anew when the data key is: nonces under the older one are refused, and their senders given a new one."""
        data_key = await self._keyring.data_key(PLATFORM)
        if data_key.version != self._version:
            self._key, self._version = _derived(data_key), data_key.version
        return self._key


def _nonce(key: bytes, stretch: int) -> str:
    return base64url.encode(hmac.digest(key, stretch.to_bytes(8, "big"), "sha256")[:_MAC_BYTES])


def _derived(data_key: DataKey) -> bytes:
    return HKDF(hashes.SHA256(), _KEY_BYTES, salt=None, info=b"tenantry dpop nonce").derive(data_key.reveal())
