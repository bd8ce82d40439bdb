"""Proofs of possession (RFC 9449): that whoever sends a request holds the key that its token is, or is to be, bound to.

`prove` is for a request without a token yet, and with one for a resource that takes bound tokens. Not checked here: that the proof is new
(`Proof.once` with `once.once`), and that its key is the token's (`Proof.jkt`).
"""

import hashlib
import re
from typing import Annotated

import msgspec

from tenantry.core import base64url
from tenantry.core.errors import Invalid, ProofFailed
from tenantry.keys.jwk import BadKey, ForeignKey, foreign_key
from tenantry.keys.jws import Malformed, Unverified, take_apart
from tenantry.keys.signing import Algorithm
from tenantry.oauth.once import Once

ALGORITHMS = (Algorithm.ES256, Algorithm.EDDSA, Algorithm.RS256)
"""Asymmetric all (RFC 9449, 4.3); which of them counts is said by the kind of the key."""

PROOF_LIVES_MS = 60_000
"""How old a proof may be by its own `iat`."""

AHEAD_MS = 10_000
"""How far a client's clock may be ahead of ours."""

JTI_MAX_CHARACTERS = 256
TYPE = "dpop+jwt"


class InvalidProof(Invalid):
    """The proof is missing where it is needed, or proves nothing (RFC 9449, 5 and 7.1)."""

    code = "invalid_dpop_proof"
    sentence = "The DPoP proof is not valid for this request."


class UseNonce(Invalid):
    """The proof must carry the nonce that this answer brings (RFC 9449, 8)."""

    code = "use_dpop_nonce"
    sentence = "The DPoP proof must carry the nonce of this answer's DPoP-Nonce."


class _Claims(msgspec.Struct, frozen=True):
    """RFC 9449, 4.2. Others are ignored."""

    jti: Annotated[str, msgspec.Meta(min_length=1, max_length=JTI_MAX_CHARACTERS)]
    htm: str
    htu: str
    iat: int | float
    ath: str = ""
    nonce: str = ""


class Proof(msgspec.Struct, frozen=True):
    """A proof whose signature holds and which was made for this request."""

    jkt: str
    """The thumbprint of the key (RFC 7638), as it stands in a token's `cnf`."""

    nonce: str
    """Empty where the proof has none."""

    once: Once
    """To be presented once."""


def prove(proof: str, *, method: str, url: str, now_ms: int, access_token: str = "") -> Proof:
    """The proof, if its key made it for this request, recently, and for this token.

    `url` is where the request went by our own configuration, never by what it says of its host.

    Raises:
        InvalidProof: it is none of a kind verified here (RFC 9449, 4.3), or it was made for another method, address, time or token.
    """
    unverified, key = _signed_by(proof)
    try:
        claims = unverified.by(key, _Claims)
    except ProofFailed as error:
        raise InvalidProof from error
    address = normalised(url)
    if claims.htm != method or not address or normalised(claims.htu) != address:
        raise InvalidProof("The DPoP proof was made for another method or address.")
    if not now_ms - PROOF_LIVES_MS <= claims.iat * 1000 <= now_ms + AHEAD_MS:
        raise InvalidProof("The DPoP proof was not made now.", hint="Compare the clock of the client with a good one.")
    if access_token and claims.ath != digest_of(access_token):
        raise InvalidProof("The DPoP proof was made for another token.")
    jkt = key.thumbprint()
    until_ms = int(claims.iat * 1000) + PROOF_LIVES_MS
    return Proof(jkt, claims.nonce, Once.of("dpop", jkt, claims.jti, until_ms))


def digest_of(access_token: str) -> str:
    """The `ath` of a token (RFC 9449, 4.2): unpadded base64url of its SHA-256."""
    return base64url.encode(hashlib.sha256(access_token.encode()).digest())


def _signed_by(proof: str) -> tuple[Unverified, ForeignKey]:
    """The proof in its parts, and the key it brought: the one place where a key in a header counts."""
    try:
        unverified = take_apart(proof)
        if unverified.header.typ != TYPE or unverified.header.jwk is None:
            raise InvalidProof(f"A DPoP proof is of the type {TYPE} and brings its public key as jwk.")
        return unverified, foreign_key(unverified.header.jwk)
    except (Malformed, BadKey) as error:
        raise InvalidProof(error.message) from error


_ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{0,5}))?"
    r"(?P<path>(?:/(?:[a-z0-9._~!$&'()*+,;=:@-]|%[0-9a-f]{2})*)*)(?:[?#][\x21-\x7e]*)?",
    re.IGNORECASE | re.ASCII,
)
_ENCODED = re.compile("%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PORTS = {"http": "80", "https": "443"}
ADDRESS_MAX_CHARACTERS = 2_048


def normalised(address: str) -> str:
    """An http address without query and fragment, normalised by syntax and scheme (RFC 9449, 4.3; RFC 3986, 6.2.2 and 6.2.3).

    Empty for what is no such address, or names a user: that is the address of nothing here.
    """
    if len(address) > ADDRESS_MAX_CHARACTERS or not (found := _ADDRESS.fullmatch(address)):
        return ""
    scheme = found["scheme"].lower()
    port = "" if found["port"] in (None, "", _PORTS[scheme]) else f":{found['port']}"
    path = _without_dots(_ENCODED.sub(_decoded, found["path"]) or "/")
    return f"{scheme}://{found['host'].lower()}{port}{path}"


def _decoded(encoded: re.Match[str]) -> str:
    character = chr(int(encoded[1], 16))
    return character if character in _UNRESERVED else encoded[0].upper()


def _without_dots(path: str) -> str:
    """RFC 3986, 5.2.4, for a path that begins with a slash."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
