"""The one place where a refusal of ours becomes an answer: an OAuth error, a SCIM error, an error of
OpenFGA's API or a problem of RFC 9457.

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

    openfga: str
    """The `code` by OpenFGA's name, where the error's own is none of OpenFGA's."""

    scim: str = ""
    """The `scimType` of RFC 7644, 3.12."""


FACES: tuple[tuple[type[TenantryError], Face], ...] = (
    (Unauthenticated, Face(401, "invalid_client", "unauthenticated")),
    (NotAllowed, Face(405, "invalid_request", "undefined_endpoint")),
    (NotFound, Face(404, "invalid_request", "undefined_endpoint")),
    (Conflict, Face(409, "invalid_request", "Aborted")),
    (TooLarge, Face(413, "invalid_request", "exceeded_entity_limit")),
    (WrongMedia, Face(415, "invalid_request", "validation_error", "invalidSyntax")),
    (TooSlow, Face(408, "invalid_request", "validation_error")),
    (Malformed, Face(400, "invalid_request", "validation_error", "invalidSyntax")),
    (Invalid, Face(400, "invalid_request", "validation_error", "invalidValue")),
    (Ended, Face(401, "invalid_grant", "unauthenticated")),
    (AlreadyDone, Face(409, "invalid_grant", "Aborted", "mutability")),
    (Denied, Face(403, "access_denied", "forbidden")),
    (Unavailable, Face(503, "temporarily_unavailable", "unavailable")),
    (Stale, Face(503, "temporarily_unavailable", "unavailable")),
    (Throttled, Face(429, "temporarily_unavailable", "rate_limit_exceeded")),
    (Upstream, Face(502, "server_error", "unavailable")),
    (Unknown, Face(500, "server_error", "internal_error")),
)
"""The first that fits counts."""

FAULT = Face(500, "server_error", "internal_error")
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


class OpenFgaError(msgspec.Struct, frozen=True):
    """An error of OpenFGA's API."""

    code: str
    message: str


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
        if error.code == "invalid_dpop_proof":
            return {"WWW-Authenticate": 'DPoP realm="tenantry", error="invalid_dpop_proof"'}  # RFC 9449, 7.1
        why = ', error="invalid_token"' if error.code in ("invalid_token", "ended") else ""  # RFC 6750, 3.1
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
    if dialect is Dialect.OPENFGA:
        return OpenFgaError(error.code if error.code in _OPENFGA_CODES else face.openfga, str(error))
    return ScimError((SCIM_ERROR,), str(face.status), str(error), face.scim or msgspec.UNSET)


BODIES: dict[Dialect, tuple[str, type[msgspec.Struct]]] = {
    Dialect.PROBLEM: ("application/problem+json", Problem),
    Dialect.OAUTH: ("application/json", OAuthError),
    Dialect.SCIM: ("application/scim+json", ScimError),
    Dialect.OPENFGA: ("application/json", OpenFgaError),
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

_OPENFGA_CODES = frozenset(
    {
        "validation_error",
        "authorization_model_not_found",
        "authorization_model_resolution_too_complex",
        "invalid_write_input",
        "cannot_allow_duplicate_tuples_in_one_request",
        "invalid_continuation_token",
        "write_failed_due_to_invalid_input",
        "latest_authorization_model_not_found",
        "type_not_found",
        "relation_not_found",
        "invalid_tuple",
        "exceeded_entity_limit",
        "invalid_authorization_model",
        "invalid_start_time",
        "store_id_not_found",
        "Aborted",
    }
)
"""Of openfga.v1.ErrorCode and NotFoundErrorCode: an error whose code is one of these says it as it is."""
