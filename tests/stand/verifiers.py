"""The SDK against a served node: its requests go to loopback whatever their host, and can be made to get lost."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec

from tenantry.app.config import Config
from tenantry.core.clock import Clock
from tenantry.core.ids import PLATFORM
from tenantry.core.principal import Principal
from tenantry.keys.signing import Jwk, Purpose, Use
from tenantry.sessions.routes import routes
from tenantry.sessions.tokens import AccessTokens
from tenantry.web import PUBLIC, Call, Dialect, Media, Route, route
from tenantry_sdk import Token, Verifier
from tests.stand.clock import ManualClock
from tests.stand.credentials import ISSUER, RESOURCE, access_tokens
from tests.stand.http import Served, served
from tests.stand.nodes import looked
from tests.stand.tree import Forest, forest


class Towards(httpx2.AsyncHTTPTransport):
    """Sends everything to a port of this machine. `lost` are paths, with all below them, to which nothing arrives."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self.lost: str | None = None
        self.asked: list[str] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See httpx2."""
        self.asked.append(request.url.path)
        if self.lost is not None and request.url.path.startswith(self.lost):
            raise httpx2.ConnectTimeout("lost", request=request)
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
        return await super().handle_async_request(request)


class SdkClock:
    """A test's clock as the SDK reads one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        """Seconds since 1970."""
        return self._clock.now_ms() / 1000

    def boottime(self) -> float:
        """Seconds since boot."""
        return self._clock.boottime()


class Metadata(msgspec.Struct, frozen=True):
    """As much of RFC 8414 as a verifier reads."""

    issuer: str
    jwks_uri: str
    introspection_endpoint: str


class Introspected(msgspec.Struct, frozen=True):
    """As much of RFC 7662, 2.1, as a test's server reads; the answer has `active` alone."""

    token: str


class Active(msgspec.Struct, frozen=True):
    """RFC 7662, 2.2."""

    active: bool


class Keys(msgspec.Struct, frozen=True):
    """A JWK Set."""

    keys: list[Jwk]


def published(woods: Forest, active: Mapping[str, bool]) -> tuple[Route, ...]:
    """What every issuer publishes of itself, and whether it calls a token active."""

    @route("GET", "/.well-known/oauth-authorization-server", PUBLIC)
    async def metadata(_: Call) -> Metadata:
        """The server's metadata."""
        return Metadata(ISSUER, f"{ISSUER}/keys-of-a-test", f"{ISSUER}/introspection-of-a-test")

    @route("GET", "/keys-of-a-test", PUBLIC)
    async def keys(_: Call) -> Keys:
        """The keys of access tokens."""
        use = Use(Purpose.ACCESS_TOKEN, ISSUER, PLATFORM)
        return Keys([key.jwk() for key in await woods.node.published_keys.of(use)])

    @route("POST", "/introspection-of-a-test", PUBLIC, asks=True, media=Media.FORM, dialect=Dialect.OAUTH)
    async def introspection(_: Call, body: Introspected) -> Active:
        """Whether a token is active."""
        return Active(active.get(body.token, False))

    return metadata, keys, introspection


class Place(msgspec.Struct, frozen=True, eq=False):
    """A served node, what mints on it, and the way to it."""

    woods: Forest
    server: Served
    tokens: AccessTokens
    towards: Towards
    active: dict[str, bool]
    """What introspection answers of a token."""

    def proves(self, org: str) -> Token:
        """What proves a service of an organization that may follow the feed."""
        self.server.enter(f"service of {org}", Principal(f"service of {org}", org, None))
        return Token(f"service of {org}")

    def verifier(self, org: str = PLATFORM, *, clock: Clock | None = None, **more: Any) -> Verifier:
        """A verifier of the tests' resource, not yet opened."""
        given: Mapping[str, Any] = {
            "audience": RESOURCE,
            "credential": self.proves(org),
            "clock": SdkClock(clock) if clock else None,
            "http": httpx2.AsyncClient(transport=self.towards),
        }
        return Verifier(ISSUER, **{**given, **more})


@asynccontextmanager
async def place(config: Config, clock: ManualClock | None = None) -> AsyncIterator[Place]:
    """Serve a node of a deployment."""
    async with forest(config, clock) as woods:
        active: dict[str, bool] = {}
        own = routes(woods.kinds, woods.receipts, woods.feed, woods.node.clock)
        async with (
            served(woods.node, config, routes=(*own, *published(woods, active))) as server,
            Towards(server.port) as towards,
        ):
            if clock is not None:
                clock.advance(
                    1_000
                )  # it stood still while the node began, and a ping asks a little further back than that
                await looked(woods.node)
            yield Place(woods, server, access_tokens(woods.node), towards, active)
