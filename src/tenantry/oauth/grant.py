"""What a grant is: its name, and who may get what by it. One file a grant; the token endpoint serves those that `app/` gives it."""

from collections.abc import Awaitable, Callable

import msgspec

from tenantry.core.errors import Invalid
from tenantry.journal import Reads
from tenantry.oauth.clients import Client
from tenantry.oauth.dpop import Proof
from tenantry.oauth.presented import Credentials
from tenantry.sessions.claims import Ask


class TokenForm(Credentials, frozen=True):
    """A request to the token endpoint. What is unknown is ignored, what is empty is absent (RFC 6749, 3.2)."""

    grant_type: str = ""
    scope: str = ""
    resource: tuple[str, ...] = ()


class Asking(msgspec.Struct, frozen=True, eq=False):
    """A request whose client has proved itself."""

    client: Client
    form: TokenForm
    proof: Proof | None
    """The key that the client holds, where it proved one."""

    reads: Reads
    """Of the client's organization."""

    platform_reads: Reads


class Grant(msgspec.Struct, frozen=True, eq=False):
    """A way to get a token. `decide` says what the token is asked to say, or raises a refusal of this file."""

    name: str
    decide: Callable[[Asking], Awaitable[Ask]]


class UnsupportedGrant(Invalid):
    """RFC 6749, 5.2."""

    code = "unsupported_grant_type"
    sentence = "This server has no such grant."


class InvalidScope(Invalid):
    """RFC 6749, 5.2."""

    code = "invalid_scope"
    sentence = "The resource has not all of these scopes."


class InvalidTarget(Invalid):
    """RFC 8707, 2."""

    code = "invalid_target"
    sentence = "Name one resource, by an indicator that is registered."
