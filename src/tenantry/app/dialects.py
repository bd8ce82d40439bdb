"""The one place where a refusal of ours becomes an answer: an OAuth error, a SCIM error or a problem of RFC 9457.

An error has two faces. Whoever called reads its code and sentence; what went wrong inside (500) is for the log alone.
"""

import math
import secrets

import msgspec

from tenantry.core.errors import (
    AlreadyDone,
    Conflict,
    Denied,
    Ended,
    Invalid,
    NotFound,
    Stale,
    TenantryError,
    Throttled,
    TooLarge,
    Unavailable,
    Unknown,
    Upstream,
)
from tenantry.web import Dialect
from tenantry.web.refusals import Malformed, NotAllowed, TooSlow, Unauthenticated, WrongMedia

SCIM_ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
INSIDE = "Something went wrong inside; the server's log says what, under the id of this request."


class Face(msgspec.Struct, frozen=True):
    """How a kind of error looks from outside."""

    status: int
    oauth: str
    """The `error` of RFC 6749, 5.2, where the error's own code is none of OAuth's."""

    scim: str = ""
    """The `scimType` of RFC 7644, 3.12."""


FACES: tuple[tuple[type[TenantryError], Face], ...] = (
    (Unauthenticated, Face(401, "invalid_client")),
    (NotAllowed, Face(405, "invalid_request")),
    (NotFound, Face(404, "invalid_request")),
    (Conflict, Face(409, "invalid_request")),
    (TooLarge, Face(413, "invalid_request")),
    (WrongMedia, Face(415, "invalid_request", "invalidSyntax")),
    (TooSlow, Face(408, "invalid_request")),
    (Malformed, Face(400, "invalid_request", "invalidSyntax")),
    (Invalid, Face(400, "invalid_request", "invalidValue")),
    (Ended, Face(401, "invalid_grant")),
    (AlreadyDone, Face(409, "invalid_grant", "mutability")),
    (Denied, Face(403, "access_denied")),
    (Unavailable, Face(503, "temporarily_unavailable")),
    (Stale, Face(503, "temporarily_unavailable")),
    (Throttled, Face(429, "temporarily_unavailable")),
    (Upstream, Face(502, "server_error")),
    (Unknown, Face(500, "server_error")),
)
"""The first that fits counts."""

FAULT = Face(500, "server_error")
"""How a fault of ours looks: whatever is not named above."""


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error of our own interface (RFC 9457)."""

    type: str
    """Names the kind of error, and leads to what it means."""

    title: str
    status: int
    code: str
    """Stable; sentences are not."""

    detail: str
    hint: str = ""
    """What to do next."""


class OAuthError(msgspec.Struct, frozen=True):
    """RFC 6749, 5.2."""

    error: str
    error_description: str


class ScimError(msgspec.Struct, frozen=True, rename="camel"):
    """RFC 7644, 3.12."""

    schemas: tuple[str, ...]
    status: str
    detail: str
    scim_type: str | msgspec.UnsetType = msgspec.UNSET


class Refusal(msgspec.Struct, frozen=True):
    """A refusal as it is sent."""

    status: int
    media: str
    body: bytes
    headers: dict[str, str]


def face_of(kind: type[TenantryError]) -> Face:
    """How a kind of error looks from outside."""
    return next((face for known, face in FACES if issubclass(kind, known)), FAULT)


def refusal(error: TenantryError, dialect: Dialect, issuer: str) -> Refusal:
    """An error as the answer of a route of this dialect."""
    face = face_of(type(error))
    told = TenantryError(INSIDE) if face is FAULT else error
    body = _body(dialect, face, told, issuer)
    return Refusal(face.status, BODIES[dialect][0], msgspec.json.encode(body), _headers(error, face, dialect))


def _headers(error: TenantryError, face: Face, dialect: Dialect) -> dict[str, str]:
    """What RFC 9110 asks for beside some statuses. Those who come back are spread, so that they do not come back together."""
    if isinstance(error, Throttled):
        least_ms = max(error.retry_after_ms, 1_000)
        return {"Retry-After": str(math.ceil((least_ms + secrets.randbelow(least_ms)) / 1000))}
    if isinstance(error, NotAllowed):
        return {"Allow": ", ".join(error.allowed)}
    if face.status == 401:
        why = ', error="invalid_token"' if isinstance(error, Ended) else ""  # RFC 6750, 3.1
        scheme = 'Basic realm="tenantry"' if dialect is Dialect.OAUTH else f'Bearer realm="tenantry"{why}'
        return {"WWW-Authenticate": scheme}
    return {}


def _body(dialect: Dialect, face: Face, error: TenantryError, issuer: str) -> msgspec.Struct:
    if dialect is Dialect.PROBLEM:
        title = error.code.replace("_", " ").capitalize()
        where = f"{issuer}/problems/{error.code}"
        return Problem(where, title, face.status, error.code, error.message, error.hint)
    if dialect is Dialect.OAUTH:
        code = error.code if error.code in _OAUTH_CODES else face.oauth
        return OAuthError(code, str(error).translate(_DESCRIPTION))
    return ScimError((SCIM_ERROR,), str(face.status), str(error), face.scim or msgspec.UNSET)


BODIES: dict[Dialect, tuple[str, type[msgspec.Struct]]] = {
    Dialect.PROBLEM: ("application/problem+json", Problem),
    Dialect.OAUTH: ("application/json", OAuthError),
    Dialect.SCIM: ("application/scim+json", ScimError),
}
"""The content type and body of each dialect's errors."""


class _Description(dict[int, str]):
    """RFC 6749, 5.2: printable ASCII without the double quote and the backslash."""

    def __missing__(self, character: int) -> str:
        return chr(character) if 0x20 <= character <= 0x7E else "?"


_DESCRIPTION = _Description({ord('"'): "'", ord("\\"): "/"})

_OAUTH_CODES = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "invalid_target",
        "invalid_dpop_proof",
        "use_dpop_nonce",
        "invalid_token",
        "insufficient_scope",
        "authorization_pending",
        "slow_down",
        "access_denied",
        "expired_token",
        "invalid_redirect_uri",
        "invalid_client_metadata",
        "unsupported_token_type",
    }
)
"""Of RFC 6749, 6750, 7009, 7591, 8628, 8707 and 9449: an error whose code is one of these says it as it is."""
