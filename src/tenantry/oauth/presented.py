"""What a request presents of its client, before anything of it is verified: exactly one method, and the client that it names.

A client id is `<ULID of the organization>.<id of the principal>`. Like a secret it names its organization in its text, so that the lookup
is within that organization; it is no secret, and no proof of anything.
"""

import base64
import enum
from urllib.parse import unquote_plus

import msgspec

from tenantry.core.errors import Invalid, NotFound, ProofFailed
from tenantry.core.ids import is_ulid, ulid
from tenantry.core.secrets import Secret
from tenantry.oauth.assertion import TYPE, Claimed, claimed
from tenantry.web.refusals import Unauthenticated


class Method(enum.StrEnum):
    """How a client proves itself (RFC 6749, 2.3.1; RFC 7523, 2.2), in the words of RFC 7591."""

    SECRET_BASIC = "client_secret_basic"  # noqa: S105
    SECRET_POST = "client_secret_post"  # noqa: S105
    PRIVATE_KEY_JWT = "private_key_jwt"


class InvalidClient(Unauthenticated):
    """The client has not proved itself (RFC 6749, 5.2). Unknown, ended and wrong are one answer, so that nobody learns by trying."""

    code = "invalid_client"
    sentence = "The client has not proved itself."


class ClientId(msgspec.Struct, frozen=True):
    """An organization and one of its principals."""

    org: str
    principal: str

    @classmethod
    def parse(cls, text: str) -> "ClientId":
        """The client that a text names, in its one spelling.

        Raises:
            InvalidClient: it names none.
        """
        organization, _, principal = text.partition(".")
        prefix, _, tail = principal.partition("_")
        if not (is_ulid(organization) and is_ulid(tail) and prefix.isascii() and prefix.isalpha()):
            raise InvalidClient
        return cls(f"org_{organization}", principal)

    @property
    def text(self) -> str:
        """As it stands in requests and tokens."""
        return f"{ulid(self.org)}.{self.principal}"


class BySecret(msgspec.Struct, frozen=True):
    """A secret in the header or the form."""

    client: ClientId
    method: Method
    secret: Secret


class ByAssertion(msgspec.Struct, frozen=True):
    """A signed assertion."""

    client: ClientId
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
        found = BySecret(ClientId.parse(given.client_id), Method.SECRET_POST, _secret(given.client_secret))
    elif given.client_assertion:
        found = _assertion(given)
    else:
        raise InvalidClient
    if given.client_id and given.client_id != found.client.text:
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
    return BySecret(ClientId.parse(client_id), Method.SECRET_BASIC, _secret(secret))


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
    return ByAssertion(ClientId.parse(claim.client_id), claim)
