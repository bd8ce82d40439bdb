"""AES-256-GCM with a random nonce: the cipher under root key wraps and envelopes. For what is stored use `envelope`.

`nonce (12 bytes) ‖ ciphertext ‖ tag (16 bytes)`. A random 96-bit nonce is safe for 2^32 values under one key (NIST SP
800-38D, 8.3); a tenant's few secrets come nowhere near.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tenantry.core.errors import Misuse, ProofFailed

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
OVERHEAD_BYTES = NONCE_BYTES + TAG_BYTES


class Damaged(ProofFailed):
    """A sealed value does not open: it was changed, cut, moved from its place, or sealed under another key.

    Which of these it was is not told apart, so that nobody learns by trying.
    """

    code = "sealed_damaged"


def encrypt(key: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """`plaintext` under `key` (32 bytes), bound to `aad`."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + _cipher(key).encrypt(nonce, plaintext, aad)


def decrypt(key: bytes, sealed: bytes, aad: bytes) -> bytes:
    """The plaintext of what `encrypt` made with the same `key` and `aad`.

    Raises:
        Damaged: anything differs by a bit.
    """
    if len(sealed) < OVERHEAD_BYTES:
        raise Damaged("A sealed value was cut short.")
    try:
        return _cipher(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], aad)
    except InvalidTag:
        raise Damaged("A sealed value does not open: it was changed, moved, or sealed under another key.") from None


def bind(*parts: str) -> bytes:
    """One byte string for a list of texts; two different lists never give the same (each text is led by its length)."""
    encoded = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


def _cipher(key: bytes) -> AESGCM:
    if len(key) != KEY_BYTES:
        raise Misuse(f"AES-256-GCM takes a key of {KEY_BYTES} bytes, not {len(key)}.")
    return AESGCM(key)
