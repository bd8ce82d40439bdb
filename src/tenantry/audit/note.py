"""Signed notes (C2SP signed-note v1.0.0): a text and the signatures below it, Ed25519 only (type 0x01).

`sign` writes one, `open_note` returns the text only after verification. What a note says means nothing before.
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tenantry.audit.proof import ProofFailed

MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100
"""A verifier must take at least 16; a post-quantum one has up to 5 kB."""

_ED25519 = b"\x01"
_DASH = "\N{EM DASH} "


class Signer(msgspec.Struct, frozen=True):
    """A key that may sign notes under `name`; `sign` returns the Ed25519 signature of its argument."""

    name: str
    public_key: bytes
    sign: Callable[[bytes], bytes]


class Verifier(msgspec.Struct, frozen=True):
    """A key that a reader knows: raw Ed25519 public key and the name it signs under."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """Four bytes that say which key of that name signed."""
        return key_id(self.name, self.public_key)

    @property
    def vkey(self) -> str:
        """The key as one line of text, `name+id+base64`, as it is published and configured."""
        return f"{self.name}+{self.key_id.hex()}+{_base64(_ED25519 + self.public_key)}"


class Opened(msgspec.Struct, frozen=True):
    """A note of which at least one signature verified: its text, and the known keys that signed it."""

    text: str
    signed_by: tuple[Verifier, ...]


def key_id(name: str, public_key: bytes) -> bytes:
    """The first four bytes of SHA-256(name, newline, signature type, public key)."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:4]


def parse_vkey(vkey: str) -> Verifier:
    """Read a published key; raises `ProofFailed` (`malformed`) if it is not Ed25519 or its id does not belong to it."""
    name, _, rest = vkey.partition("+")
    stated, _, encoded = rest.partition("+")
    key = _unbase64(encoded)
    if not valid_name(name) or len(key) != 33 or key[:1] != _ED25519:
        raise ProofFailed("malformed", f"not an Ed25519 verifier key: {vkey[:200]!r}")
    verifier = Verifier(name, key[1:])
    if stated != verifier.key_id.hex():
        raise ProofFailed("malformed", f"the id of this verifier key belongs to another: {vkey[:200]!r}")
    return verifier


def valid_name(name: str) -> bool:
    """Whether `name` can name a key: not empty, no Unicode space, no plus, nothing that ends a line."""
    return bool(name) and "+" not in name and not any(character.isspace() for character in name) and _clean(name)


def sign(text: str, signers: Sequence[Signer]) -> bytes:
    """Return `text` (which ends in a newline) as a note with one signature a signer.

    Raises ValueError for a text or name that cannot stand in a note.
    """
    if not text.endswith("\n") or not _clean(text):
        raise ValueError("a note's text ends in a newline and holds no other control character")
    lines: list[str] = []
    for signer in signers:
        if not valid_name(signer.name):
            raise ValueError(f"not a key name: {signer.name!r}")
        signature = key_id(signer.name, signer.public_key) + signer.sign(text.encode())
        lines.append(f"{_DASH}{signer.name} {_base64(signature)}\n")
    return f"{text}\n{''.join(lines)}".encode()


def open_note(note: bytes, verifiers: Sequence[Verifier]) -> Opened:
    """Verify a note against the keys a reader knows and return its text.

    Signatures of unknown keys are ignored; a known key whose signature fails refuses the whole note, and so does a
    note that no known key signed. Raises `ProofFailed`: `malformed` or `checkpoint_signature`.
    """
    text, signatures = _parse(note)
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    signed_by: dict[tuple[str, bytes], Verifier] = {}
    for name, signature in signatures:
        verifier = known.get((name, signature[:4]))
        if verifier is None:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(verifier.public_key).verify(signature[4:], text.encode())
        except InvalidSignature as error:
            raise ProofFailed("checkpoint_signature", f"the signature of the known key {name!r} fails") from error
        signed_by[name, signature[:4]] = verifier
    if not signed_by:
        raise ProofFailed("checkpoint_signature", "no known key signed this note")
    return Opened(text, tuple(signed_by.values()))


def _parse(note: bytes) -> tuple[str, list[tuple[str, bytes]]]:
    if len(note) > MAX_NOTE_BYTES:
        raise ProofFailed("malformed", f"a note of {len(note)} bytes")
    try:
        decoded = note.decode()
    except UnicodeDecodeError as error:
        raise ProofFailed("malformed", "a note that is not UTF-8") from error
    text, blank, below = decoded.rpartition("\n\n")
    if not blank or not below.endswith("\n") or not _clean(decoded):
        raise ProofFailed("malformed", "not a signed note")
    lines = below[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise ProofFailed("malformed", f"a note of {len(lines)} signatures")
    return text + "\n", [_parse_signature(line) for line in lines]


def _parse_signature(line: str) -> tuple[str, bytes]:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    signature = _unbase64(encoded)
    if not line.startswith(_DASH) or not valid_name(name) or len(signature) < 5:
        raise ProofFailed("malformed", f"not a signature line: {line[:200]!r}")
    return name, signature


def _clean(text: str) -> bool:
    return all(character >= " " or character == "\n" for character in text)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unbase64(text: str) -> bytes:
    """Decode the one spelling `_base64` writes; anything else reads as nothing."""
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""
    return data if _base64(data) == text else b""
