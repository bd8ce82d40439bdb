"""The running server, as an operator's commands reach it: by the socket beside a SQLite file, which only the server's own user can open."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx2
import msgspec

from tenantry.app.config import Config
from tenantry.app.dialects import Problem
from tenantry.app.listening import beside
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

T = TypeVar("T")
TIMEOUT_S = 30.0
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


class _NewEntry(msgspec.Struct, frozen=True):
    organization_id: str
    reason: str


class _Entry(msgspec.Struct, frozen=True):
    id: str


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
        try:
            response = self._client.request(method, path, content=content, headers={**self._headers, **media})
        except httpx2.ConnectError as error:
            raise Unavailable("The server does not run.", hint="Start it with `tenantry serve`.") from error
        except httpx2.TransportError as error:
            raise Unknown(
                "The server did not answer.", hint="Look whether it was done before you try again."
            ) from error
        if response.is_error:
            raise _refusal(response)
        return msgspec.json.decode(response.content or b"null", type=answer)

    @contextmanager
    def entered(self, organization: str, reason: str) -> Iterator["Server"]:
        """Within an organization for the block, which its log tells of, with the reason.

        Raises:
            TenantryError: as `ask`.
        """
        entry = self.ask("POST", "/v1/entries", _Entry, _NewEntry(organization, reason))
        yield Server(self._client, entry.id)
        self.ask("POST", f"/v1/entries/{entry.id}/end", type(None))


@contextmanager
def running(config: Config) -> Iterator[Server]:
    """The server of this configuration, for the block.

    Raises:
        Invalid: its data does not lie in a SQLite file, so it has no such socket.
    """
    if not config.database.file:
        raise Invalid("There is no socket beside a database of PostgreSQL.", hint="Use its HTTP interface.")
    path = beside(Path(config.database.file).absolute())
    transport = httpx2.HTTPTransport(uds=str(path))
    with httpx2.Client(transport=transport, base_url="http://localhost", timeout=TIMEOUT_S) as client:
        yield Server(client)


def _refusal(response: httpx2.Response) -> TenantryError:
    try:
        problem = msgspec.json.decode(response.content, type=Problem)
    except msgspec.DecodeError:
        return Unavailable(f"The server answered with status {response.status_code}.", hint="Look into its log.")
    error = _KINDS.get(response.status_code, Denied)(problem.detail, hint=problem.hint)
    error.code = problem.code
    return error
