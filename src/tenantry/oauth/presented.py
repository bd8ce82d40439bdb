"""What a request presents of its client, before anything of it is verified: exactly one method, and the client that it names.

A client that acts for itself is a principal, and its client id is the principal's own: a token of such a client has it as `sub` too, and no
user's id is ever one.
"""

import base64
import enum
from urllib.parse import unquote_plus

import msgspec

from tenantry.core.errors import Invalid, NotFound, ProofFailed
from tenantry.core.ids import is_ulid
from tenantry.core.secrets import Secret
from tenantry.oauth.assertion import TYPE, Claimed, claimed
from tenantry.web.refusals import Unauthenticated


class Method(enum.StrEnum):
    """How a client proves itself (RFC 6749, 2.3.1; RFC 7523, 2.2), in the words of RFC 7591."""

    SECRET_BASIC = "client_secret_basic"  # noqa: S105
    SECRET_POST = "client_secret_post"  # noqa: S105
    PRIVATE_KEY_JWT = "private_key_jwt"


CLASSES = ("service", "agent", "mcp", "job")
"""The types of ids of those who can be clients for themselves."""


class InvalidClient(Unauthenticated):
    """The client has not proved itself (RFC 6749, 5.2). Unknown, ended and wrong are one answer, so that nobody learns by trying."""

    code = "invalid_client"
    sentence = "The client has not proved itself."


class BySecret(msgspec.Struct, frozen=True):
    """A secret in the header or the form."""

    client_id: str
    method: Method
    secret: Secret


class ByAssertion(msgspec.Struct, frozen=True):
    """A signed assertion."""

    client_id: str
    claim: Claimed
    method: Method = Method.PRIVATE_KEY_JWT


class Credentials(msgspec.Struct, frozen=True):
    """The parameters by which a client proves itself in a form; empty where they are not given."""

    client_id: str = ""
    client_secret: str = ""
    client_assertion_type: str = ""
    client_assertion: str = ""


def presented(authorization: str | None, given: Credentials) -> BySecret | ByAssertion:
    """What the request presents.

    Raises:
        InvalidClient: nothing, or nothing that could be a client's.
        Invalid: more than one method (RFC 6749, 2.3).
    """
    ways = [authorization is not None, bool(given.client_secret), bool(given.client_assertion)]
    if sum(ways) > 1:
        raise Invalid("A client proves itself in one way a request.")
    if bool(given.client_assertion) != bool(given.client_assertion_type):
        raise Invalid("client_assertion and client_assertion_type are given together.")
    if authorization is not None:
        found = _basic(authorization)
    elif given.client_secret:
        found = BySecret(_client_id(given.client_id), Method.SECRET_POST, _secret(given.client_secret))
    elif given.client_assertion:
        found = _assertion(given)
    else:
        raise InvalidClient
    if given.client_id and given.client_id != found.client_id:
        raise InvalidClient
    return found


def _basic(authorization: str) -> BySecret:
    """RFC 6749, 2.3.1: both parts are form-encoded before they are put together."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise InvalidClient
    try:
        client_id, colon, secret = base64.b64decode(encoded.strip(" "), validate=True).decode().partition(":")
        if not colon:
            raise InvalidClient
        client_id, secret = unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except ValueError as error:
        raise InvalidClient from error
    return BySecret(_client_id(client_id), Method.SECRET_BASIC, _secret(secret))


def _client_id(text: str) -> str:
    """The id of a principal that can be a client, in its one spelling."""
    prefix, _, tail = text.partition("_")
    if prefix not in CLASSES or not is_ulid(tail):
        raise InvalidClient
    return text


def _secret(text: str) -> Secret:
    """A secret of ours by its shape."""
    secret = Secret(text)
    try:
        secret.organization()
    except NotFound as error:
        raise InvalidClient from error
    return secret


def _assertion(given: Credentials) -> ByAssertion:
    if given.client_assertion_type != TYPE:
        raise InvalidClient
    try:
        claim = claimed(given.client_assertion)
    except ProofFailed as error:
        raise InvalidClient from error
    return ByAssertion(_client_id(claim.client_id), claim)
