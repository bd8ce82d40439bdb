"""What the server says of itself (RFC 8414), and the keys that its tokens are verified with (RFC 7517).

The metadata is made from what is served: the grants that were registered, the methods and algorithms that are verified. Lists that would
have a default when left out are always there.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec

from tenantry.keys.jws import spelled
from tenantry.keys.signing import Jwk
from tenantry.oauth import assertion, dpop
from tenantry.oauth.presented import Method

TOKEN_PATH = "/oauth/token"  # noqa: S105
JWKS_PATH = "/oauth/jwks"
WELL_KNOWN = "/.well-known/oauth-authorization-server"
METADATA_CACHE_S = 3_600


class Metadata(msgspec.Struct, frozen=True):
    """RFC 8414, 2; RFC 9449, 5.1."""

    issuer: str
    token_endpoint: str
    jwks_uri: str
    grant_types_supported: list[str]
    response_types_supported: list[str]
    """Empty: nobody signs in here yet."""

    token_endpoint_auth_methods_supported: list[str]
    token_endpoint_auth_signing_alg_values_supported: list[str]
    dpop_signing_alg_values_supported: list[str]


class Jwks(msgspec.Struct, frozen=True):
    """RFC 7517, 5."""

    keys: list[Jwk]


def metadata(issuer: str, grants: Iterable[str]) -> Metadata:
    """The metadata of an issuer that serves these grants."""
    return Metadata(
        issuer=issuer,
        token_endpoint=f"{issuer}{TOKEN_PATH}",
        jwks_uri=f"{issuer}{JWKS_PATH}",
        grant_types_supported=sorted(grants),
        response_types_supported=[],
        token_endpoint_auth_methods_supported=[method.value for method in Method],
        token_endpoint_auth_signing_alg_values_supported=spelled(assertion.ALGORITHMS),
        dpop_signing_alg_values_supported=spelled(dpop.ALGORITHMS),
    )


def metadata_path(issuer: str) -> str:
    """Where the metadata of an issuer lies: the well-known part goes before the issuer's own path (RFC 8414, 3.1)."""
    return f"{WELL_KNOWN}{urlsplit(issuer).path}"
