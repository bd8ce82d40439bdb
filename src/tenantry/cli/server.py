"""The running server, as an operator's commands reach it: by the socket beside a SQLite file, which only the server's own user can open;
on PostgreSQL at its address, with the key that `tenantry init` enrolled.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import httpx2
import msgspec
from cyclopts import Parameter
from joserfc import jws

from tenantry.app.config import Config
from tenantry.app.dialects import OAuthError, Problem
from tenantry.app.enrollment import OperatorKey, read_operator_key
from tenantry.app.listening import beside
from tenantry.core.clock import SystemClock
from tenantry.core.errors import (
    Conflict,
    Denied,
    Invalid,
    NotFound,
    TenantryError,
    Throttled,
    TooLarge,
    Unavailable,
    Unknown,
    Upstream,
)
from tenantry.core.ids import parse
from tenantry.oauth.assertion import TYPE
from tenantry.oauth.token import TOKEN_PATH

T = TypeVar("T")
TIMEOUT_S = 30.0
ASSERTION_S = 60

Organization = Annotated[
    str, Parameter(help="The organization that this is about, by its id; unless told, the platform's own.")
]
Reason = Annotated[str, Parameter(help="Why, for the organization's log; what is done there is told in it.")]
ENTRY = "Tenantry-Entry"
"""The header that names the operator's entry into the organization that a request is about."""

_KINDS: dict[int, type[TenantryError]] = {
    400: Invalid,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    429: Throttled,
    502: Upstream,
    503: Unavailable,
}
"""What a refusal becomes here, so that the exit status is that of one made here; any other is `Denied`."""


class _Entering(msgspec.Struct, frozen=True):
    reason: str


class _Entry(msgspec.Struct, frozen=True):
    id: str


class _Token(msgspec.Struct, frozen=True):
    access_token: str


class Server:
    """Asks the server. Made by `running`."""

    def __init__(self, client: httpx2.Client, entry: str = "") -> None:
        self._client = client
        self._headers = {ENTRY: entry} if entry else {}

    def ask(self, method: str, path: str, answer: type[T], body: object = None) -> T:
        """One request; `body` is sent as JSON.

        Raises:
            TenantryError: the server's refusal, with its code, sentence and hint.
            Unavailable: it does not run, or did not answer.
            Unknown: it went away after the request was sent.
        """
        content = b"" if body is None else msgspec.json.encode(body)
        media = {} if body is None else {"Content-Type": "application/json"}
        headers = {**self._headers, **media}
        response = _sent(lambda: self._client.request(method, path, content=content, headers=headers))
        if response.is_error:
            raise _refusal(response)
        return msgspec.json.decode(response.content or b"null", type=answer)

    @contextmanager
    def entered(self, organization: str, reason: str) -> Iterator["Server"]:
        """Within an organization for the block, which its log tells of, with the reason; without one, in the platform's own.

        Raises:
            TenantryError: as `ask`.
        """
        if not organization:
            yield self
            return
        entries = f"/v1/organizations/{parse('org', organization)}/entries"
        entry = self.ask("POST", entries, _Entry, _Entering(reason))
        try:
            yield Server(self._client, f"{organization}/{entry.id}")
        finally:
            self.ask("POST", f"{entries}/{entry.id}/end", _Entry)


@contextmanager
def running(config: Config) -> Iterator[Server]:
    """The server of this configuration, for the block.

    Raises:
        Unsafe: on PostgreSQL, no key was enrolled here, or others may read it.
        TenantryError: the server does not take the key.
    """
    if config.database.file:
        path = beside(Path(config.database.file).absolute())
        transport = httpx2.HTTPTransport(uds=str(path))
        with httpx2.Client(transport=transport, base_url="http://localhost", timeout=TIMEOUT_S) as client:
            yield Server(client)
        return
    key = read_operator_key(Path(config.state))
    with httpx2.Client(base_url=_address(config), timeout=TIMEOUT_S) as client:
        client.headers["Authorization"] = f"Bearer {_token(client, key, config.issuer)}"
        yield Server(client)


def _address(config: Config) -> str:
    """Where everybody reaches the deployment; in development this machine's own server, which may have nothing in front of it."""
    return f"http://{config.http.listen}" if config.development else config.issuer


def _token(client: httpx2.Client, key: OperatorKey, issuer: str) -> str:
    """A token for the server's own interface, by a signed assertion (RFC 7523, 2.2)."""
    form = {
        "grant_type": "client_credentials",
        "resource": issuer,
        "client_assertion_type": TYPE,
        "client_assertion": _assertion(key, issuer),
    }
    response = _sent(lambda: client.post(TOKEN_PATH, data=form))
    if response.is_error:
        raise _refusal(response)
    return msgspec.json.decode(response.content, type=_Token).access_token


def _assertion(key: OperatorKey, issuer: str) -> str:
    now_s = SystemClock().now_ms() // 1000
    claims = {
        "iss": key.client_id,
        "sub": key.client_id,
        "aud": issuer,
        "iat": now_s,
        "exp": now_s + ASSERTION_S,
        "jti": secrets.token_urlsafe(16),
    }
    header = {"alg": "ES256", "typ": "client-authentication+jwt", "kid": key.kid}
    return jws.serialize_compact(header, msgspec.json.encode(claims), key.key)


def _sent(send: Callable[[], httpx2.Response]) -> httpx2.Response:
    """The answer.

    Raises:
        Unavailable: the server does not run, or cannot be reached.
        Unknown: it went away after the request was sent.
    """
    try:
        return send()
    except httpx2.ConnectError as error:
        raise Unavailable("The server does not run.", hint="Start it with `tenantry serve`.") from error
    except httpx2.TransportError as error:
        raise Unknown("The server did not answer.", hint="Look whether it was done before you try again.") from error


def _refusal(response: httpx2.Response) -> TenantryError:
    kind = _KINDS.get(response.status_code, Denied)
    try:
        problem = msgspec.json.decode(response.content, type=Problem)
        error = kind(problem.detail, hint=problem.hint)
        error.code = problem.code
    except msgspec.DecodeError:
        try:
            said = msgspec.json.decode(response.content, type=OAuthError)
        except msgspec.DecodeError:
            return Unavailable(f"The server answered with status {response.status_code}.", hint="Look into its log.")
        error = kind(said.error_description)
        error.code = said.error
    return error
