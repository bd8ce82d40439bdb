"""The authorization server's endpoints."""

from tenantry.keys.keyring import Keyring
from tenantry.keys.published import PublishedKeys
from tenantry.keys.rotation import JWKS_CACHE_MS
from tenantry.keys.signing import Algorithm, PublicKey, Use
from tenantry.oauth.grant import TokenForm
from tenantry.oauth.metadata import (
    JWKS_PATH,
    METADATA_CACHE_S,
    TOKEN_PATH,
    Jwks,
    Metadata,
    metadata,
    metadata_path,
)
from tenantry.oauth.token import TokenAnswer, TokenEndpoint
from tenantry.web import CLIENT, PUBLIC, Call, Dialect, Limits, Media, Route, route

TOKEN_LIMITS = Limits(body_bytes=16_384, fields=32)
"""An assertion of the greatest length fits, and a resource and scopes beside it."""


def routes(endpoint: TokenEndpoint, keyring: Keyring, published: PublishedKeys, use: Use) -> tuple[Route, ...]:
    """The endpoints of one issuer; `use` is that of the keys which sign its access tokens."""
    about = metadata(use.issuer, endpoint.grants)

    @route("POST", TOKEN_PATH, CLIENT, media=Media.FORM, limits=TOKEN_LIMITS, dialect=Dialect.OAUTH)
    async def issue_token(call: Call, body: TokenForm) -> TokenAnswer:
        """Issue an access token to a client that proves itself (RFC 6749, 3.2)."""
        return await endpoint.answer(call, body)

    @route("GET", metadata_path(use.issuer), PUBLIC)
    async def get_authorization_server_metadata(call: Call) -> Metadata:
        """What this authorization server supports (RFC 8414)."""
        _for_everybody(call, METADATA_CACHE_S)
        return about

    @route("GET", JWKS_PATH, PUBLIC)
    async def get_jwks(call: Call) -> Jwks:
        """The public keys of access tokens (RFC 7517): the next one before it signs, the last one until nothing of it lives."""
        keys = await _published(keyring, published, use)
        _for_everybody(call, JWKS_CACHE_MS // 1000)
        return Jwks([key.jwk() for key in keys])

    return (issue_token, get_authorization_server_metadata, get_jwks)


async def _published(keyring: Keyring, published: PublishedKeys, use: Use) -> list[PublicKey]:
    """Never none: whoever keeps an empty list for as long as it may would refuse the first tokens."""
    keys = await published.of(use)
    if keys:
        return keys
    return [key for key, cut_at_ms in await keyring.public(use, Algorithm.ES256) if cut_at_ms is None]


def _for_everybody(call: Call, seconds: int) -> None:
    """The same for all who ask, from any origin."""
    call.answer_headers["Access-Control-Allow-Origin"] = "*"
    call.answer_headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    call.answer_headers["Cache-Control"] = f"public, max-age={seconds}"
