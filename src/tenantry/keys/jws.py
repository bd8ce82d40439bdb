"""Signed JWTs in compact form (RFC 7515, 7.1), taken apart within bounds and in one way only, before any key is used.

What comes out is still a claim: nothing here is verified. Whoever has found the key by its own records calls `Unverified.by`, which gives
the claims, or raises.
"""

import json
from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

import msgspec

from tenantry.core import base64url
from tenantry.core.base64url import NotBase64url
from tenantry.core.errors import ProofFailed
from tenantry.keys.signing import Algorithm

JWT_MAX_CHARACTERS = 8_192
"""A signature of RSA-4096 and a key in the header fit; what is longer is read by nobody."""

DEPTH_MAX = 16
"""Brackets in a header or payload, so that nothing nests deeper than a parser likes."""

SPELLINGS = {
    Algorithm.ES256: ("ES256",),
    Algorithm.EDDSA: ("EdDSA", "Ed25519"),
    Algorithm.RS256: ("RS256",),
}
"""What `alg` may say of each; RFC 9864 gave Ed25519 a name of its own."""

_UNTRUSTED = frozenset({"crit", "b64", "jku", "x5u", "x5c", "zip", "enc", "epk", "p2c", "p2s"})
"""Headers that would change what is verified, or with what (RFC 8725, 3.10). None is needed, so none is weighed."""

T = TypeVar("T")


class Malformed(ProofFailed):
    """This is no signed JWT that we would verify."""

    code = "jwt_malformed"


class Verifier(Protocol):
    """A key that says yes by giving the message back."""

    @property
    def algorithm(self) -> Algorithm: ...

    def verify(self, message: bytes, signature: bytes) -> bytes:
        """`message`, or `BadSignature`."""
        ...


class Header(msgspec.Struct, frozen=True):
    """What a JWT says about itself. Unknown members are ignored (RFC 7515, 4)."""

    alg: str
    typ: str = ""
    kid: str = ""
    jwk: dict[str, Any] | None = None
    """A key that the sender brought: trusted in a DPoP proof alone."""


class Unverified(msgspec.Struct, frozen=True):
    """A JWT whose signature nobody has looked at."""

    header: Header
    claims: bytes
    """JSON; read it for what names the key, and for nothing else."""

    signed: bytes
    signature: bytes

    def by(self, key: Verifier, claims: type[T]) -> T:
        """The claims, once `key` is found to have signed them with its own algorithm.

        Raises:
            ProofFailed: it did not, or the claims are not of this type.
        """
        if self.header.alg not in SPELLINGS[key.algorithm]:
            raise Malformed(f"The JWT must be signed with {key.algorithm.value}.")
        key.verify(self.signed, self.signature)
        return self.unverified(claims)

    def unverified(self, claims: type[T]) -> T:
        """What the claims say before anybody verified them, to find the key by.

        Raises:
            Malformed: they are not of this type.
        """
        return _decoded(self.claims, claims)


def take_apart(jwt: str) -> Unverified:
    """The parts of a compact JWS.

    Raises:
        Malformed: it is too long, has not three parts in unpadded base64url, its header or payload is no JSON object with each
            name once, or its header asks for what is not verified here.
    """
    if len(jwt) > JWT_MAX_CHARACTERS:
        raise Malformed(f"A JWT has at most {JWT_MAX_CHARACTERS} characters.")
    parts = jwt.split(".")
    if len(parts) != 3:
        raise Malformed("A signed JWT has three parts.")
    header, claims, signature = (_part(part) for part in parts)
    _object(claims)
    if not _UNTRUSTED.isdisjoint(_object(header)):
        raise Malformed("The header of the JWT asks for what is not done here.")
    return Unverified(_decoded(header, Header), claims, f"{parts[0]}.{parts[1]}".encode(), signature)


def spelled(algorithms: Iterable[Algorithm]) -> list[str]:
    """Every `alg` by which these may be called, for metadata."""
    return [name for algorithm in algorithms for name in SPELLINGS[algorithm]]


def _part(text: str) -> bytes:
    try:
        return base64url.decode(text)
    except NotBase64url as error:
        raise Malformed("A part of the JWT is no base64url.") from error


def _object(encoded: bytes) -> dict[str, Any]:
    """A JSON object that gives each name once and has only numbers that can be compared."""
    if encoded.count(b"{") + encoded.count(b"[") > DEPTH_MAX:
        raise Malformed("A part of the JWT nests too much.")
    try:
        value = json.loads(encoded, object_pairs_hook=_once, parse_constant=_no_number)
    except ValueError as error:
        raise Malformed("A part of the JWT is no JSON.") from error
    if not isinstance(value, dict):
        raise Malformed("A part of the JWT is no object.")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name twice")
    return members


def _no_number(text: str) -> None:
    raise ValueError(text)


def _decoded(encoded: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(encoded, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Malformed("A part of the JWT is not what it should be.") from error
