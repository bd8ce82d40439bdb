"""The keys under which a deployment's checkpoints are signed and published.

One key signs for all logs of a deployment, under the name of each log: the origin stands in what is signed and in the key's
name, so no organization's checkpoint passes for another's.
"""

from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tenantry.audit.checkpoint import origin
from tenantry.audit.export import PublishedKey, published_key
from tenantry.audit.note import Signer
from tenantry.core.clock import Clock
from tenantry.core.errors import Misuse
from tenantry.core.ids import PLATFORM
from tenantry.keys.keyring import Keyring
from tenantry.keys.signing import Algorithm, PublicKey, Purpose, Use


class CheckpointKeys:
    """Signs checkpoints for the logs of one issuer, and publishes the keys that did."""

    def __init__(self, keyring: Keyring, clock: Clock, issuer: str) -> None:
        self._keyring = keyring
        self._clock = clock
        self._use = Use(Purpose.AUDIT_CHECKPOINT, issuer, PLATFORM)
        self.host = urlsplit(issuer).netloc

    async def signer(self, name: str) -> Signer:
        """The key that signs now, under the name of a log.

        Raises:
            Upstream: the root key cannot be reached.
        """
        key = await self._keyring.signing(self._use, Algorithm.EDDSA)
        return Signer(name, _raw(key.public), lambda message: key.sign(message, self._use, self._clock.now_ms()))

    async def published(self, org: str) -> list[PublishedKey]:
        """Every key that signs or signed the log of an organization, under that log's name."""
        name = origin(self.host, org)
        keys = await self._keyring.public(self._use, Algorithm.EDDSA)
        return [published_key(key, name, cut_at_ms) for key, cut_at_ms in keys]


def _raw(key: PublicKey) -> bytes:
    public = load_der_public_key(key.spki)
    if not isinstance(public, Ed25519PublicKey):
        raise Misuse(f"Key {key.id} is no Ed25519 key, and signs no checkpoint.")
    return public.public_bytes_raw()
