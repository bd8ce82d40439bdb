"""The whole server over HTTP, with its rooms put together, and organizations that its own interface founded and filled."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from tenantry.app.config import Config
from tenantry.app.listening import beside
from tenantry.app.node import Node
from tenantry.app.rooms import Rooms, open_rooms
from tenantry.core import scopes
from tenantry.core.clock import Clock
from tenantry.organizations import keys, roles, services
from tests.oauth.keys import KeyPair, ath
from tests.organizations.stock import body_of
from tests.organizations.tenants import Tenant
from tests.stand.http import Served, local_client, served
from tests.stand.nodes import ALL_ROOMS
from tests.stand.organizations import Organization

Headers = dict[str, str]
MODEL = {
    "schema_version": "1.1",
    "type_definitions": [
        {"type": "user"},
        {
            "type": "document",
            "relations": {"viewer": {"this": {}}},
            "metadata": {"relations": {"viewer": {"directly_related_user_types": [{"type": "user"}]}}},
        },
    ],
}


class House(msgspec.Struct, frozen=True, eq=False):
    """A server with every room. `console` is whoever owns the platform: the socket beside a SQLite file, or a service of the platform's."""

    rooms: Rooms
    server: Served
    config: Config
    console: httpx2.AsyncClient

    @property
    def node(self) -> Node:
        """The node that answers."""
        return self.rooms.node

    @property
    def client(self) -> httpx2.AsyncClient:
        """Whoever comes over the network."""
        return self.server.client

    @property
    def issuer(self) -> str:
        """By which it names itself, and its own interface as a resource."""
        return self.rooms.issuer


class Home(msgspec.Struct, frozen=True, eq=False):
    """An organization, its administrator's headers, and what it has by the name of the parameter that leads to it."""

    house: House
    org: str
    owner: str
    admin: Headers
    have: dict[str, str]

    @property
    def tenant(self) -> Tenant:
        """The same as the room's own tests see it."""
        return Tenant(self.house.node, scopes.of_job(self.org), self.owner)

    @property
    def ledger(self) -> Organization:
        """The same as a test sees it that compares before and after."""
        return Organization(self.house.node, scopes.of_job(self.org))

    async def ask(self, method: str, path: str, body: Any = None) -> httpx2.Response:
        """What its administrator is answered."""
        return await self.house.client.request(method, path, headers=self.admin, json=body)

    async def made(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """What its administrator was given; anything but success is a mistake of the test."""
        answer = await patient(self.house, lambda: self.ask(method, path, body))
        assert answer.is_success, (method, path, answer.text)
        return answer.json() if answer.content else {}


@asynccontextmanager
async def assembled(config: Config, *, clock: Clock | None = None) -> AsyncIterator[House]:
    """The server for the block, as `tenantry serve` puts it together; the ledger's tables are there for comparisons."""
    async with AsyncExitStack() as opened:
        rooms = await opened.enter_async_context(open_rooms(config, schemas=ALL_ROOMS, clock=clock))
        server = await opened.enter_async_context(
            served(rooms.node, config, routes=rooms.routes(), admit=rooms.callers.admit)
        )
        house = House(rooms, server, config, local_client(beside(Path(config.database.file or "none"))))
        if not config.database.file:
            token = await secret_token(house, *await _operator(rooms.node))
            headers = {"Authorization": f"Bearer {token}"}
            own = httpx2.AsyncClient(base_url=server.client.base_url, headers=headers, timeout=10)
            house = msgspec.structs.replace(house, console=own)
        await opened.enter_async_context(house.console)
        yield house


async def _operator(node: Node) -> tuple[str, str]:
    """A service that owns the platform, and its secret."""
    platform = Organization(node, scopes.of_platform())
    service, now_ms = node.ids.new("service"), node.clock.now_ms()
    async with platform.begin() as w:
        services.add(w, service, "operator", now_ms)
        secret = keys.issue_secret(w, node.ids.new("key"), service, now_ms=now_ms)
        roles.give(w, roles.OWNER, service)
    return service, secret.reveal()


async def founded(house: House, name: str) -> Home:
    """An organization that the console began and entered, with a service that owns it and one of everything."""
    console = house.console
    first = {"name": name, "owner": {"email": f"o@{name}.example"}}
    begun = await patient(house, lambda: console.post("/v1/organizations", json=first))
    org, owner = begun.json()["organization"]["id"], begun.json()["owner_id"]
    entry, second = [
        (
            await patient(house, lambda: console.post(f"/v1/organizations/{org}/entries", json={"reason": "Set up."}))
        ).json()["id"]
        for _ in "12"
    ]
    inside = Home(house, org, owner, {"Tenantry-Entry": f"{org}/{entry}"}, {})

    async def setup(method: str, path: str, body: Any) -> dict[str, Any]:
        answer = await patient(house, lambda: console.request(method, path, headers=inside.admin, json=body))
        assert answer.is_success, (path, answer.text)
        return answer.json() if answer.content else {}

    service = (await setup("POST", "/v1/services", {"name": "admin"}))["id"]
    secret = (await setup("POST", f"/v1/workloads/{service}/secrets", {}))["secret"]
    await setup("PUT", f"/v1/roles/owner/holders/{service}", None)
    token = await secret_token(house, service, secret)
    home = Home(house, org, owner, {"Authorization": f"Bearer {token}"}, {"entry_id": entry, "organization_id": org})
    home.have["second_entry_id"] = second
    home.have.update(admin_id=service, admin_secret=secret)
    await _fill(home, name)
    return home


async def patient(house: House, asking: Callable[[], Awaitable[httpx2.Response]]) -> httpx2.Response:
    """An answer, asked for again while a machine with too much to do makes the node say that it is stale."""
    async with asyncio.timeout(10):
        while (answer := await asking()).status_code == 503:
            await house.node.engine.changed(0.05)
    return answer


async def secret_token(house: House, client_id: str, secret: str) -> str:
    """A token for the interface itself, as a service gets it by its secret."""
    form = {"grant_type": "client_credentials", "resource": house.issuer}
    answer = await patient(house, lambda: house.client.post("/oauth/token", data=form, auth=(client_id, secret)))
    assert answer.is_success, answer.text
    return answer.json()["access_token"]


async def bound_token(house: House, client_id: str, key: str, pair: KeyPair) -> str:
    """A token for the interface itself, as a client gets it by its key, bound to that key."""
    now_ms = house.node.clock.now_ms()
    form = {
        "grant_type": "client_credentials",
        "resource": house.issuer,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": pair.assertion(client_id, key, now_ms),
    }
    asked = await house.client.post("/oauth/token", data=form, headers={"DPoP": pair.proof(now_ms)})
    nonce = asked.headers["DPoP-Nonce"]
    form["client_assertion"] = pair.assertion(client_id, key, now_ms)
    answer = await house.client.post("/oauth/token", data=form, headers={"DPoP": pair.proof(now_ms, nonce=nonce)})
    assert answer.is_success, answer.text
    return answer.json()["access_token"]


def proved(house: House, token: str, pair: KeyPair, method: str, path: str) -> Headers:
    """The headers of one request with a token that is bound to a key."""
    proof = pair.proof(house.node.clock.now_ms(), htm=method, htu=house.issuer + path, ath=ath(token))
    return {"Authorization": f"DPoP {token}", "DPoP": proof}


async def _fill(home: Home, name: str) -> None:
    """One of everything, made by the administrator through the interface."""
    have = home.have
    for kind, path, body in (
        ("user_id", "/v1/users", "add_user"),
        ("service_id", "/v1/services", "add_service"),
        ("group_id", "/v1/groups", "add_group"),
        ("blueprint_id", "/v1/blueprints", "add_blueprint"),
        ("agent_id", "/v1/agents", "add_agent"),
        ("visitor_id", "/v1/visiting-agents", "let_in_visiting_agent"),
        ("server_id", "/v1/mcp-servers", "add_mcp_server"),
        ("job_id", "/v1/jobs", "add_job"),
        ("application_id", "/v1/applications", "add_application"),
        ("resource_id", "/v1/resources", "add_resource"),
        ("domain_id", "/v1/domains", "claim_domain"),
    ):
        given = body_of(body, home.tenant, _Later(have)) or {}
        have[kind] = (await home.made("POST", path, _own(given, name)))["id"]
    invited = await home.made("POST", "/v1/invitations", body_of("invite", home.tenant, have))
    have["invitation_id"] = invited["invitation"]["id"]
    jwk = body_of("register_agent_key", home.tenant, have)
    have["key_id"] = (await home.made("POST", f"/v1/workloads/{have['service_id']}/keys", jwk))["id"]
    jwk = body_of("register_agent_key", home.tenant, have)
    have["agent_key_id"] = (await home.made("POST", f"/v1/agents/{have['agent_id']}/keys", jwk))["id"]
    await home.made("PUT", f"/v1/groups/{have['group_id']}/members/{have['user_id']}")
    await home.made("PUT", f"/v1/agents/{have['agent_id']}/delegators/{have['user_id']}")
    await home.made("PUT", f"/v1/visiting-agents/{have['visitor_id']}/behind/{have['user_id']}")
    await home.made("PUT", f"/v1/roles/admin/holders/{have['user_id']}")
    await _fill_store(home)


async def _fill_store(home: Home) -> None:
    have = home.have
    for _ in range(2):  # so that there is a page after the first
        have["store"] = (await home.made("POST", "/stores", {"name": "documents"}))["id"]
    have["store_id"] = f"store_{have['store']}"
    for _ in range(2):
        model = await home.made("POST", f"/stores/{have['store']}/authorization-models", MODEL)
        have["model"] = model["authorization_model_id"]
    have["model_id"] = f"model_{have['model']}"
    keys = [{"user": f"user:{name}", "relation": "viewer", "object": "document:1"} for name in ("anne", "bob")]
    await home.made("POST", f"/stores/{have['store']}/write", {"writes": {"tuple_keys": keys}})


class _Later(dict[str, str]):
    """What an organization has; what it does not have yet is named by nothing."""

    def __init__(self, have: Mapping[str, str]) -> None:
        super().__init__(have)

    def __missing__(self, name: str) -> str:
        return ""


def _own(body: dict[str, Any], name: str) -> dict[str, Any]:
    """A body without empty references, whose names no other organization has."""
    texts = {"other.example": f"{name}.example", "mcp2.example": f"mcp.{name}.example"}
    return {key: _renamed(value, texts) for key, value in body.items() if value != ""}


def _renamed(value: Any, texts: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for old, new in texts.items():
            value = value.replace(old, new)
        return value
    if isinstance(value, dict):
        return {key: _renamed(of, texts) for key, of in value.items()}
    if isinstance(value, list):
        return [_renamed(of, texts) for of in value if of != ""]
    return value
