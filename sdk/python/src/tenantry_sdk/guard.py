"""Guarding an application's routes: an ASGI application around another, for Starlette, FastAPI or anything that speaks ASGI.

    app.add_middleware(Guard, verifier=verifier, public=("/healthz",))

    @app.get("/documents/{id}")
    async def document(id: str, request: Request):
        who = caller(request)
        who.require("docs:read")
        await client.require(f"user:{who.subject}", "can_view", f"document:{id}")

Whatever of `tenantry_sdk.errors` the application raises before it answers becomes the answer that it means.
"""

import json
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any, Protocol

from tenantry_sdk.errors import BadProof, BadToken, MissingScope, TenantryError, Unauthenticated
from tenantry_sdk.verifier import Verified, Verifier

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_ONCE = frozenset({b"authorization", b"dpop"})
_KEY = "tenantry"


class Guard:
    """Lets a request through once its access token holds, and says who it is.

    `public` are paths that need none, each exactly as it stands. `origin` is the address as clients see it (`https://api.example.com`), to
    which DPoP proofs are made; without one it is what the request says, which is right only where nothing in front changes it.
    """

    def __init__(self, app: App, verifier: Verifier, public: Collection[str] = (), origin: str = "") -> None:
        self._app = app
        self._verifier = verifier
        self._public = frozenset(public)
        self._origin = origin.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in self._public):
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"This guard knows nothing of {scope['type']}.")
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            scope.setdefault("state", {})[_KEY] = await self._verified(scope)
            await self._app(scope, receive, noted)
        except TenantryError as error:
            if begun:
                raise
            await _answer(error, send)

    async def _verified(self, scope: Scope) -> Verified:
        given = [(name, value) for name, value in scope["headers"] if name in _ONCE or name == b"host"]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in given}
        if len(headers) != len(given):
            raise BadToken("A header that proves the caller is given twice.")
        origin = self._origin or f"{scope.get('scheme', 'http')}://{headers.get('host', '')}"
        path = scope.get("raw_path") or scope["path"].encode()
        return await self._verifier.verify_request(scope["method"], origin + path.decode("latin-1"), headers)


class _Request(Protocol):
    """A request of Starlette's or FastAPI's."""

    @property
    def scope(self) -> Scope: ...


def caller(request: _Request) -> Verified:
    """Who sends a request that a `Guard` let through.

    Raises:
        Unauthenticated: none did.
    """
    found = request.scope.get("state", {}).get(_KEY)
    if not isinstance(found, Verified):
        raise Unauthenticated
    return found


async def _answer(error: TenantryError, send: Send) -> None:
    """A problem (RFC 9457) and, where a credential is wanted, what kind (RFC 6750, 3; RFC 9449, 7.1)."""
    body = json.dumps({"status": error.status, "code": error.code, "detail": error.message}).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if error.status == 401 or isinstance(error, MissingScope):
        headers += [(b"www-authenticate", challenge.encode()) for challenge in _challenges(error)]
    if error.status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _challenges(error: TenantryError) -> list[str]:
    if isinstance(error, MissingScope):
        return [f'Bearer error="insufficient_scope", scope="{error.scope}"']
    code = f' error="{error.code}"' if isinstance(error, BadToken) else ""
    dpop = f'DPoP{code}{"," if code else ""} algs="ES256 EdDSA"'
    return [dpop] if isinstance(error, BadProof) else [f"Bearer{code}", dpop]
