"""What is asked of the server: its metadata, its keys, and whatever needs this program's own credential."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx2

from tenantry_sdk.clock import Clock
from tenantry_sdk.errors import Refused, Unreachable
from tenantry_sdk.jose import Key, NotJose, key_of, read_object

DOCUMENT_MAX_BYTES = 1_048_576
KEYS_LIVE_S = 3_600.0
"""How long the server's keys are kept; it publishes a new one for longer than that before it signs with it."""

REREAD_S = 5.0
"""How long after a look an unknown `kid` is unknown without another one."""

METADATA_LIVES_S = 3_600.0


class Credential(Protocol):
    """How this program proves itself to the server."""

    async def headers(self, server: "Server") -> Mapping[str, str]:
        """The headers that carry a credential that holds now.

        Raises:
            Refused, Unreachable: there is none.
        """
        ...


class Server:
    """One issuer. Share it: connections, metadata and keys are kept."""

    def __init__(
        self,
        issuer: str,
        clock: Clock,
        *,
        credential: Credential | None = None,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        self.issuer = issuer
        self.clock = clock
        self.credential = credential
        self.http = http or httpx2.AsyncClient(timeout=10, follow_redirects=False)
        self._owns_http = http is None
        self._metadata: tuple[float, dict[str, Any]] | None = None
        self._keys: dict[str, Key] = {}
        self._keys_read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def close(self) -> None:
        """Let go of the connections that it opened itself."""
        if self._owns_http:
            await self.http.aclose()

    def url(self, path: str) -> str:
        """An address of the server's own interface."""
        return self.issuer.rstrip("/") + path

    async def own_headers(self) -> dict[str, str]:
        """What proves this program.

        Raises:
            Refused, Unreachable: nothing does.
        """
        return dict(await self.credential.headers(self)) if self.credential else {}

    async def metadata(self) -> dict[str, Any]:
        """The server's metadata (RFC 8414); its `issuer` is exactly ours (3.3).

        Raises:
            Unreachable, Refused: it cannot be read, or is another issuer's.
        """
        now = self.clock.boottime()
        if self._metadata is None or now >= self._metadata[0] + METADATA_LIVES_S:
            parts = urlsplit(self.issuer)
            path = f"/.well-known/oauth-authorization-server{parts.path.rstrip('/')}"
            found = await self.get(f"{parts.scheme}://{parts.netloc}{path}")
            if found.get("issuer") != self.issuer:
                raise Refused("The metadata is of another issuer.", 200)
            self._metadata = now, found
        return self._metadata[1]

    async def endpoint(self, name: str) -> str:
        """An address that the metadata names.

        Raises:
            Refused: it does not.
        """
        found = (await self.metadata()).get(name)
        if not isinstance(found, str):
            raise Refused(f"The server has no {name}.", 200)
        return found

    async def key(self, kid: str) -> Key | None:
        """The published key of this thumbprint; read again where it is not known, but not at every unknown one.

        Raises:
            Unreachable, Refused: the keys cannot be read.
        """
        if self._is_due(KEYS_LIVE_S) or (kid not in self._keys and self._is_due(REREAD_S)):
            async with self._reading:
                if self._is_due(REREAD_S):
                    document = await self.get(await self.endpoint("jwks_uri"))
                    self._keys = {key.thumbprint: key for key in _keys(document)}
                    self._keys_read_at = self.clock.boottime()
        return self._keys.get(kid)

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """A JSON object.

        Raises:
            Unreachable, Refused: there is none.
        """
        return await self._send("GET", url, headers=headers or {})

    async def post(self, path: str, body: object, more: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What the server's own interface answers to this program; `more` are headers beside its own.

        Raises:
            Unreachable, Refused: it does not.
        """
        headers = {**await self.own_headers(), **(more or {}), "Content-Type": "application/json"}
        return await self._send("POST", self.url(path), headers=headers, content=json.dumps(body).encode())

    async def form(self, url: str, fields: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
        """What an endpoint of OAuth answers.

        Raises:
            Unreachable, Refused: it does not.
        """
        return await self._send("POST", url, headers=headers, data=dict(fields))

    async def _send(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        try:
            response = await self.http.request(method, url, **more)
        except httpx2.HTTPError as error:
            raise Unreachable(f"{urlsplit(url).netloc} did not answer.") from error
        if response.status_code >= 500:
            raise Unreachable(f"{urlsplit(url).netloc} answered {response.status_code}.")
        if response.status_code != 200:
            raise Refused(f"{method} {urlsplit(url).path} was answered {response.status_code}.", response.status_code)
        if len(response.content) > DOCUMENT_MAX_BYTES:
            raise Refused(f"The answer to {method} {urlsplit(url).path} is too long.", 200)
        try:
            return read_object(response.content)
        except NotJose as error:
            raise Refused(f"The answer to {method} {urlsplit(url).path} is no JSON object.", 200) from error

    def _is_due(self, after_s: float) -> bool:
        return self.clock.boottime() >= self._keys_read_at + after_s


def _keys(document: Mapping[str, Any]) -> list[Key]:
    """The keys of a JWK Set that are of use here; others are left alone (RFC 7517, 5)."""
    found: list[Key] = []
    for jwk in document.get("keys", ()):
        try:
            key = key_of(jwk)
        except NotJose:
            continue
        if jwk.get("kid") == key.thumbprint:
            found.append(key)
    return found
