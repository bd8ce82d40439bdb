"""Client authentication by a signed assertion: the rules, without a database.

RFC 7523, 2.2, as draft-ietf-oauth-rfc7523bis-11 narrows it.
"""

from typing import Annotated

import msgspec

from tenantry.core.errors import ProofFailed
from tenantry.keys.jws import Malformed, Unverified, Verifier, take_apart
from tenantry.keys.signing import Algorithm
from tenantry.oauth.once import Once

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
METHOD = "private_key_jwt"
ALGORITHMS = (Algorithm.ES256, Algorithm.EDDSA, Algorithm.RS256)
"""Which of them counts is said by the registered key."""

TYPES = ("client-authentication+jwt", "JWT", "")
"""The `typ` of an assertion; the first is what the draft recommends, the others are what is sent. No other kind of JWT passes for one."""

LIVES_MS = 5 * 60_000
"""How far ahead `exp` may lie."""

AHEAD_MS = 10_000
"""How far a client's clock may be ahead of ours."""

JTI_MAX_CHARACTERS = 256


class _Claims(msgspec.Struct, frozen=True):
    """Others are ignored (RFC 7523, 3)."""

    iss: str
    sub: str
    aud: str | list[str]
    exp: int | float
    jti: Annotated[str, msgspec.Meta(min_length=1, max_length=JTI_MAX_CHARACTERS)]
    iat: int | float = 0
    nbf: int | float = 0


class _Subject(msgspec.Struct, frozen=True):
    sub: str


class Claimed(msgspec.Struct, frozen=True):
    """An assertion that names its client and key, neither of which it has proved."""

    client_id: str
    kid: str
    unverified: Unverified


def claimed(assertion: str) -> Claimed:
    """Whose assertion this says it is.

    Raises:
        ProofFailed: it is none of a kind verified here.
    """
    unverified = take_apart(assertion)
    header = unverified.header
    if header.typ not in TYPES or header.jwk is not None or not header.kid:
        raise Malformed("An assertion names a registered key by kid, and is of the type client-authentication+jwt.")
    return Claimed(unverified.unverified(_Subject).sub, header.kid, unverified)


def verify(claim: Claimed, key: Verifier, *, issuer: str, now_ms: int) -> Once:
    """What makes this assertion count once, if the registered key `key` signed it for us and for now.

    `aud` is our issuer as sole value: an assertion that also names another server could be the one that server was sent.

    Raises:
        ProofFailed: the signature or a claim does not hold.
    """
    claims = claim.unverified.by(key, _Claims)
    if not claims.iss == claims.sub == claim.client_id:
        raise ProofFailed("An assertion is issued by its client, about itself.")
    if claims.aud not in (issuer, [issuer]):
        raise ProofFailed("An assertion is for this issuer alone.")
    expires_ms, latest_ms = claims.exp * 1000, now_ms + AHEAD_MS
    if not now_ms < expires_ms <= latest_ms + LIVES_MS:
        raise ProofFailed(f"An assertion expires within {LIVES_MS // 60_000} minutes.")
    if claims.iat * 1000 > latest_ms or claims.nbf * 1000 > latest_ms:
        raise ProofFailed("An assertion is not made, or valid, in the future.")
    return Once.of("client_assertion", claim.client_id, claims.jti, int(expires_ms))
