"""Public keys of others, as they bring them: a JWK (RFC 7517) taken into the few kinds that are verified with here.

The algorithm follows from the kind of key and is never chosen by whoever signs. A JWK with a private member is refused: whoever sends
one has lost it, and a key that others can sign with proves nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tenantry.core import base64url
from tenantry.core.base64url import NotBase64url
from tenantry.core.errors import Invalid
from tenantry.keys.jws import SPELLINGS
from tenantry.keys.signing import RSA_BITS, Algorithm, thumbprint, verify_raw

RSA_MAX_BITS = 4_096
"""What verifying may cost: the work grows with the square of the modulus."""

MEMBERS_MAX = 24
"""Members of a JWK, which are few; of the others none is read."""

_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_COORDINATE_BYTES = 32
_EXPONENT = 65_537


class BadKey(Invalid):
    """A JWK that is no public key of a kind verified with here."""

    code = "key_bad"


class ForeignKey(msgspec.Struct, frozen=True):
    """A public key whose private half is somebody else's."""

    algorithm: Algorithm
    spki: bytes
    """SubjectPublicKeyInfo in DER (RFC 5280, 4.1.2.7)."""

    def thumbprint(self) -> str:
        """The JWK thumbprint (RFC 7638)."""
        return thumbprint(self.algorithm, self.spki)

    def verify(self, message: bytes, signature: bytes) -> bytes:
        """`message`, if this key signed it.

        Raises:
            BadSignature: the signature does not hold.
        """
        verify_raw(self.algorithm, self.spki, message, signature)
        return message


def foreign_key(jwk: Mapping[str, Any]) -> ForeignKey:
    """The public key that a JWK describes: P-256, Ed25519, or RSA of 2,048 to 4,096 bits with the exponent 65,537.

    Members that are not needed are ignored (RFC 7517, 4), but `alg`, `use` and `key_ops` must allow what the key is for.

    Raises:
        BadKey: it is none of these, is not a point of its curve, has a private member, or is meant for something else.
    """
    if len(jwk) > MEMBERS_MAX:
        raise BadKey(f"A JWK has at most {MEMBERS_MAX} members.")
    if not _PRIVATE.isdisjoint(jwk):
        raise BadKey("The JWK has a private member.", hint="This key is no secret any more: make another one.")
    kind = jwk.get("kty"), jwk.get("crv")
    if kind == ("EC", "P-256"):
        key = _made(Algorithm.ES256, lambda: _p256(jwk))
    elif kind == ("OKP", "Ed25519"):
        key = _made(Algorithm.EDDSA, lambda: ed25519.Ed25519PublicKey.from_public_bytes(_bytes(jwk, "x")))
    elif kind == ("RSA", None):
        key = _made(Algorithm.RS256, lambda: _rsa(jwk))
    else:
        raise BadKey("The key must be P-256, Ed25519 or RSA.")
    if jwk.get("alg", key.algorithm.value) not in SPELLINGS[key.algorithm] or jwk.get("use", "sig") != "sig":
        raise BadKey(f"The key must be one for {key.algorithm.value} signatures.")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise BadKey("The key must be one to verify with.")
    return key


_Public = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey


def _made(algorithm: Algorithm, make: Callable[[], _Public]) -> ForeignKey:
    try:
        spki = make().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except ValueError as error:
        raise BadKey(f"The JWK is no public key for {algorithm.value}.") from error
    return ForeignKey(algorithm, spki)


def _p256(jwk: Mapping[str, Any]) -> ec.EllipticCurvePublicKey:
    x, y = _bytes(jwk, "x"), _bytes(jwk, "y")
    if len(x) != _COORDINATE_BYTES or len(y) != _COORDINATE_BYTES:  # RFC 7518, 6.2.1.2
        raise BadKey(f"A coordinate of P-256 has {_COORDINATE_BYTES} bytes.")
    point = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1())
    return point.public_key()


def _rsa(jwk: Mapping[str, Any]) -> rsa.RSAPublicKey:
    modulus, exponent = (int.from_bytes(_bytes(jwk, name), "big") for name in ("n", "e"))
    if not RSA_BITS <= modulus.bit_length() <= RSA_MAX_BITS or exponent != _EXPONENT:
        raise BadKey(f"An RSA key has {RSA_BITS} to {RSA_MAX_BITS} bits, and the exponent {_EXPONENT}.")
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def _bytes(jwk: Mapping[str, Any], name: str) -> bytes:
    text = jwk.get(name)
    if not isinstance(text, str):
        raise BadKey(f"The JWK has no {name}.")
    try:
        return base64url.decode(text)
    except NotBase64url as error:
        raise BadKey(f"The {name} of the JWK is no base64url.") from error
