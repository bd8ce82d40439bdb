"""Signing keys: each signs for one purpose, one issuer, one owner, with one algorithm.

`SigningKey.sign` and `PublicKey.verify` take the `Use` that the caller is about; a key made for another use refuses.
Which key of several signs now, and when each is published and goes away, is `rotation`.
"""

import enum
import hashlib
from functools import lru_cache

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from msgspec import UNSET, UnsetType

from tenantry.core import base64url
from tenantry.core.errors import ProofFailed
from tenantry.keys.aead import Damaged
from tenantry.keys.envelope import Aad, DataKey, open_, seal, version_of

RSA_BITS = 2048
"""What profiles ask for at least; RS256 stands beside ES256 only where a relying party knows nothing else."""

_RSA_EXPONENT = 65_537
_P256_BYTES = 32


class Purpose(enum.StrEnum):
    """What a key signs, and nothing else."""

    ACCESS_TOKEN = "access_token"  # noqa: S105
    AUDIT_CHECKPOINT = "audit_checkpoint"
    RECEIPT = "receipt"


class Algorithm(enum.StrEnum):
    """The `alg` of a key (RFC 7518, 3.1; RFC 8037, 3.1). `EdDSA` is Ed25519 here."""

    ES256 = "ES256"
    RS256 = "RS256"
    EDDSA = "EdDSA"


class Use(msgspec.Struct, frozen=True):
    """What a key is for: one purpose, one issuer (a URL, or a log's origin), one owner (an organization's id)."""

    purpose: Purpose
    issuer: str
    owner: str


class Schedule(msgspec.Struct, frozen=True):
    """The life of a key in milliseconds since 1970, each bound inclusive at its start.

    Published from `published_at_ms`, signs from `active_at_ms` until `retire_at_ms`, is verified until `gone_at_ms`.
    None: no end yet.
    """

    published_at_ms: int
    active_at_ms: int
    retire_at_ms: int | None = None
    gone_at_ms: int | None = None


class State(enum.StrEnum):
    """Where in its life a key is."""

    UPCOMING = "upcoming"  # published, not yet used
    ACTIVE = "active"
    RETIRING = "retiring"  # signs no more, still verifies
    RETIRED = "retired"


class BadSignature(ProofFailed):
    """A signature does not hold."""

    code = "signature_bad"


class WrongUse(ProofFailed):
    """The key signs for another purpose, issuer or owner."""

    code = "key_wrong_use"


class KeyRetired(ProofFailed):
    """The key is no longer, or was never, in use at that time."""

    code = "key_retired"


class Jwk(msgspec.Struct, frozen=True, omit_defaults=True):
    """A public key as JWK (RFC 7517, 4; members of the kinds: RFC 7518, 6.2 and 6.3, RFC 8037, 2)."""

    kty: str
    kid: str
    alg: str
    use: str | UnsetType = UNSET
    crv: str | UnsetType = UNSET
    x: str | UnsetType = UNSET
    y: str | UnsetType = UNSET
    n: str | UnsetType = UNSET
    e: str | UnsetType = UNSET


class PublicKey(msgspec.Struct, frozen=True):
    """The public half of a signing key with its record: enough to publish and to verify."""

    id: str
    use: Use
    algorithm: Algorithm
    schedule: Schedule
    spki: bytes
    """SubjectPublicKeyInfo in DER (RFC 5280, 4.1.2.7)."""

    def state(self, now_ms: int) -> State:
        """Where in its life the key is at `now_ms`."""
        plan = self.schedule
        if plan.gone_at_ms is not None and now_ms >= plan.gone_at_ms:
            return State.RETIRED
        if plan.retire_at_ms is not None and now_ms >= plan.retire_at_ms:
            return State.RETIRING
        return State.ACTIVE if now_ms >= plan.active_at_ms else State.UPCOMING

    def verify(self, message: bytes, signature: bytes, use: Use, now_ms: int) -> bytes:
        """`message`, if this key signed it for `use`.

        An upcoming key verifies too: another node's clock may be ahead of ours. ECDSA signatures are r ‖ s (RFC 7518,
        3.4).

        Raises:
            WrongUse: the key is for another purpose, issuer or owner.
            KeyRetired: the key is gone at `now_ms`.
            BadSignature: the signature does not hold.
        """
        _same_use(self.use, use)
        if self.state(now_ms) is State.RETIRED:
            raise KeyRetired(f"Key {self.id} is retired: what it signed has ended.")
        verify_raw(self.algorithm, self.spki, message, signature)
        return message

    def jwk(self) -> Jwk:
        """The key as JWK, named by its thumbprint."""
        required = _required_members(self.algorithm, self.spki)
        return Jwk(kid=self.kid(), alg=self.algorithm.value, use="sig", **required)

    def kid(self) -> str:
        """The key's JWK thumbprint."""
        return thumbprint(self.algorithm, self.spki)


class SigningKey:
    """A key that can sign. Its `repr` shows no private part, which leaves only sealed."""

    __slots__ = ("_private", "public")

    def __init__(self, public: PublicKey, private: "_Private") -> None:
        if _spki(private) != public.spki:
            raise Damaged(f"The private part does not belong to key {public.id}.")
        self.public = public
        self._private = private

    @classmethod
    def generate(cls, key_id: str, use: Use, algorithm: Algorithm, schedule: Schedule) -> "SigningKey":
        """A fresh key. Making an RS256 key takes up to a second of CPU: keep it off the event loop."""
        private = _generate(algorithm)
        return cls(PublicKey(key_id, use, algorithm, schedule, _spki(private)), private)

    @classmethod
    def open(cls, public: PublicKey, sealed: bytes, data_key: DataKey) -> "SigningKey":
        """The key whose private part `sealed` was stored beside `public`.

        Raises:
            Damaged: it was changed or moved, or was made for another key, organization, purpose, issuer or algorithm.
        """
        document = open_(data_key, sealed, _place(public, version_of(sealed)))
        private = serialization.load_der_private_key(document, password=None)
        if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
            raise Damaged(f"The private part of key {public.id} is of an unknown kind.")
        return cls(public, private)

    def seal(self, data_key: DataKey) -> bytes:
        """The private part for storage, under the owner's data key and bound to this key's id, use and algorithm.

        Raises:
            Misuse: the data key is another organization's.
        """
        document = self._private.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return seal(data_key, document, _place(self.public, data_key.version))

    def sign(self, message: bytes, use: Use, now_ms: int) -> bytes:
        """The signature over `message`; r ‖ s for ES256 (RFC 7518, 3.4).

        Raises:
            WrongUse: the key is for another purpose, issuer or owner.
            KeyRetired: the key is not active at `now_ms`.
        """
        _same_use(self.public.use, use)
        if self.public.state(now_ms) is not State.ACTIVE:
            raise KeyRetired(f"Key {self.public.id} is {self.public.state(now_ms)} and signs nothing.")
        return _sign(self._private, message)

    def __repr__(self) -> str:
        return f"SigningKey({self.public.id!r}, {self.public.algorithm.value!r}, '…')"


_Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
_Public = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey


def verify_raw(algorithm: Algorithm, spki: bytes, message: bytes, signature: bytes) -> None:
    """Check a signature by mathematics alone, for who verifies offline; a server's callers use `PublicKey.verify`.

    Raises:
        BadSignature: it does not hold.
        ProofFailed: the key is not one of this algorithm.
    """
    key = _load(algorithm, spki)
    try:
        match key:
            case ec.EllipticCurvePublicKey():
                key.verify(_der_signature(signature), message, ec.ECDSA(hashes.SHA256()))
            case rsa.RSAPublicKey():
                key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
            case ed25519.Ed25519PublicKey():
                key.verify(signature, message)
    except InvalidSignature:
        raise BadSignature("The signature does not hold.") from None


def thumbprint(algorithm: Algorithm, spki: bytes) -> str:
    """The JWK thumbprint of a public key (RFC 7638, 3): unpadded base64url of a SHA-256."""
    required = _required_members(algorithm, spki)
    canonical = msgspec.json.encode(required, order="sorted")  # required members only, sorted, no white space: 3.3
    return base64url.encode(hashlib.sha256(canonical).digest())


def _sign(private: _Private, message: bytes) -> bytes:
    match private:
        case ec.EllipticCurvePrivateKey():
            r, s = utils.decode_dss_signature(private.sign(message, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(_P256_BYTES, "big") + s.to_bytes(_P256_BYTES, "big")
        case rsa.RSAPrivateKey():
            return private.sign(message, padding.PKCS1v15(), hashes.SHA256())
        case ed25519.Ed25519PrivateKey():
            return private.sign(message)


def _generate(algorithm: Algorithm) -> _Private:
    match algorithm:
        case Algorithm.ES256:
            return ec.generate_private_key(ec.SECP256R1())
        case Algorithm.RS256:
            return rsa.generate_private_key(public_exponent=_RSA_EXPONENT, key_size=RSA_BITS)
        case Algorithm.EDDSA:
            return ed25519.Ed25519PrivateKey.generate()


@lru_cache(maxsize=1024)
def _load(algorithm: Algorithm, spki: bytes) -> _Public:
    try:
        key = serialization.load_der_public_key(spki)
    except ValueError:
        raise ProofFailed("This is no public key.") from None
    match algorithm, key:
        case Algorithm.ES256, ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
            return key
        case Algorithm.RS256, rsa.RSAPublicKey() if key.key_size >= RSA_BITS:
            return key
        case Algorithm.EDDSA, ed25519.Ed25519PublicKey():
            return key
    raise ProofFailed(f"The public key is none for {algorithm}.")


def _required_members(algorithm: Algorithm, spki: bytes) -> dict[str, str]:
    match _load(algorithm, spki):
        case ec.EllipticCurvePublicKey() as key:
            point = key.public_numbers()
            x, y = (base64url.encode(value.to_bytes(_P256_BYTES, "big")) for value in (point.x, point.y))
            return {"kty": "EC", "crv": "P-256", "x": x, "y": y}
        case rsa.RSAPublicKey() as key:
            numbers = key.public_numbers()
            return {"kty": "RSA", "n": _base64url_integer(numbers.n), "e": _base64url_integer(numbers.e)}
        case ed25519.Ed25519PublicKey() as key:
            return {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(key.public_bytes_raw())}


def _der_signature(signature: bytes) -> bytes:
    if len(signature) != 2 * _P256_BYTES:
        raise BadSignature("An ES256 signature is 64 bytes.")
    r, s = (int.from_bytes(half, "big") for half in (signature[:_P256_BYTES], signature[_P256_BYTES:]))
    return utils.encode_dss_signature(r, s)


def _spki(private: _Private) -> bytes:
    return private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _place(public: PublicKey, key_version: int) -> Aad:
    terms = (public.use.purpose.value, public.use.issuer, public.algorithm.value)
    return Aad("signing_key", key_version, public.use.owner, "signing_keys", "sealed", public.id, terms)


def _same_use(mine: Use, asked: Use) -> None:
    if mine != asked:
        difference = [name for name in ("purpose", "issuer", "owner") if getattr(mine, name) != getattr(asked, name)]
        raise WrongUse(f"The key is one for another {' and '.join(difference)}.")


def _base64url_integer(value: int) -> str:
    return base64url.encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))
