"""Compact JWS and JWKs, as strictly as this project writes them (RFC 7515, 7517, 8725). The signatures are the library's."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

_TEXT = re.compile(r"[A-Za-z0-9_-]+")
_P256_BYTES = 32


class NotJose(ValueError):
    """A text that is not of the form asked for, or a signature that does not hold."""


@dataclass(frozen=True, slots=True)
class Key:
    """A public key of one algorithm; `verify` raises `NotJose` for a signature that is not its own."""

    algorithm: str
    thumbprint: str
    verify: Callable[[bytes, bytes], None]


@dataclass(frozen=True, slots=True)
class Compact:
    """A JWS in its compact form, of which nothing is verified."""

    header: Mapping[str, Any]
    payload: bytes
    signed: bytes
    signature: bytes


def encode(value: bytes) -> str:
    """Unpadded base64url."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The bytes of unpadded base64url in its one spelling.

    Raises:
        NotJose: it is something else.
    """
    if not _TEXT.fullmatch(text):
        raise NotJose("no unpadded base64url")
    try:
        value = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise NotJose("no unpadded base64url") from None
    if encode(value) != text:
        raise NotJose("base64url has one spelling")
    return value


def read_object(data: bytes) -> dict[str, Any]:
    """A JSON object in which no name stands twice.

    Raises:
        NotJose: it is something else.
    """
    try:
        value = json.loads(data.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise NotJose("no JSON") from None
    if not isinstance(value, dict):
        raise NotJose("no JSON object")
    return value


def read(token: str, most_bytes: int) -> Compact:
    """The parts of a compact JWS (RFC 7515, 7.1).

    Raises:
        NotJose: it is of another form, or longer than `most_bytes`.
    """
    parts = token.split(".", 3) if len(token) <= most_bytes else []
    if len(parts) != 3:
        raise NotJose("no compact JWS")
    header, payload, signature = parts
    return Compact(read_object(decode(header)), decode(payload), f"{header}.{payload}".encode(), decode(signature))


def key_of(jwk: Mapping[str, Any]) -> Key:
    """A public key on P-256 or Ed25519.

    Raises:
        NotJose: it is another kind of key, or holds a private part.
    """
    if {"d", "k", "p", "q"} & jwk.keys():
        raise NotJose("a private key")
    match jwk:
        case {"kty": "EC", "crv": "P-256", "x": str(x), "y": str(y)}:
            algorithm, verify = "ES256", _p256(decode(x), decode(y))
            required = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
        case {"kty": "OKP", "crv": "Ed25519", "x": str(x)}:
            algorithm, verify = "EdDSA", _ed25519(decode(x))
            required = {"crv": "Ed25519", "kty": "OKP", "x": x}
        case _:
            raise NotJose("no key on P-256 or Ed25519")
    if jwk.get("alg", algorithm) != algorithm or jwk.get("use", "sig") != "sig":
        raise NotJose("a key for something else")
    canonical = json.dumps(required, separators=(",", ":"), sort_keys=True).encode()  # RFC 7638, 3
    return Key(algorithm, encode(hashlib.sha256(canonical).digest()), verify)


def _p256(x: bytes, y: bytes) -> Callable[[bytes, bytes], None]:
    if len(x) != _P256_BYTES or len(y) != _P256_BYTES:
        raise NotJose("no point on P-256")
    try:
        key = ec.EllipticCurvePublicNumbers(
            int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1()
        ).public_key()
    except ValueError:
        raise NotJose("no point on P-256") from None

    def verify(message: bytes, signature: bytes) -> None:
        if len(signature) != 2 * _P256_BYTES:
            raise NotJose("an ES256 signature is 64 bytes")
        r, s = (int.from_bytes(half, "big") for half in (signature[:_P256_BYTES], signature[_P256_BYTES:]))
        try:
            key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise NotJose("the signature does not hold") from None

    return verify


def _ed25519(x: bytes) -> Callable[[bytes, bytes], None]:
    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(x)
    except ValueError:
        raise NotJose("no Ed25519 key") from None

    def verify(message: bytes, signature: bytes) -> None:
        try:
            key.verify(signature, message)
        except InvalidSignature:
            raise NotJose("the signature does not hold") from None

    return verify


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    given = dict(pairs)
    if len(given) != len(pairs):
        raise NotJose("a name stands twice")
    return given
