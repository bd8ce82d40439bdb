"""An authorization server over HTTP, an organization that was founded as the server founds it, and a client of each class in it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec
from joserfc import jwk, jwt

from tenantry.access.ceiling import Allowance, Ceiling
from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.core import scopes
from tenantry.core.ids import PLATFORM
from tenantry.core.secrets import Secret
from tenantry.keys.signing import Purpose, Use
from tenantry.oauth.assertion import TYPE
from tenantry.oauth.client_credentials import grant
from tenantry.oauth.clients import Clients
from tenantry.oauth.nonces import Nonces
from tenantry.oauth.routes import routes
from tenantry.oauth.token import TokenEndpoint
from tenantry.organizations import agents, blueprints, jobs, keys, mcp_servers, organization, resources, services, users
from tenantry.organizations.keys import PublicJwk
from tenantry.organizations.resources import NewResource
from tenantry.web import Route
from tests.oauth.keys import ISSUER, KeyPair
from tests.stand.credentials import access_tokens
from tests.stand.http import Served, served
from tests.stand.organizations import Organization

API = "https://api.example.com/"
SCOPES = ("docs:read", "docs:write")
PERMISSIONS = ("can_check", "can_read_users")
CLASSES = ("service", "agent", "mcp", "job")
DAY_MS = 86_400_000


def oauth_routes(node: Node) -> tuple[Route, ...]:
    """The endpoints of a node."""
    tokens = access_tokens(node)
    clients = Clients(node.engine, node.journal, node.cuts, node.clock, tokens, ISSUER)
    nonces = Nonces(node.keyring, node.clock)
    endpoint = TokenEndpoint(node.journal, node.clock, tokens, clients, nonces, ISSUER, (grant(ISSUER, PERMISSIONS),))
    return routes(endpoint, node.keyring, node.published_keys, Use(Purpose.ACCESS_TOKEN, ISSUER, PLATFORM))


class Bearer(msgspec.Struct, frozen=True, eq=False):
    """A client with what it proves itself by."""

    id: str
    key: str
    pair: KeyPair
    secret: Secret | None = None


def basic(bearer: Bearer, client_id: str = "") -> dict[str, str]:
    """A secret in the header."""
    assert bearer.secret is not None
    return {"Authorization": httpx2.BasicAuth(client_id or bearer.id, bearer.secret.reveal())._auth_header}


def posted(bearer: Bearer, client_id: str = "") -> dict[str, str]:
    """A secret in the form."""
    assert bearer.secret is not None
    return {"client_id": client_id or bearer.id, "client_secret": bearer.secret.reveal()}


class Server(msgspec.Struct, frozen=True, eq=False):
    """A served node, and the ways to ask it for a token."""

    served: Served

    @property
    def node(self) -> Node:
        """The node that answers."""
        return self.served.node

    @property
    def now_ms(self) -> int:
        """Its time."""
        return self.node.clock.now_ms()

    async def post(self, form: dict[str, Any], headers: dict[str, str] | None = None) -> httpx2.Response:
        """A form to the token endpoint."""
        return await self.served.client.post("/oauth/token", data=form, headers=headers or {})

    def form(self, **more: Any) -> dict[str, Any]:
        """What every request for a token says; `None` leaves out."""
        full = {"grant_type": "client_credentials", "resource": API, "scope": "docs:read", **more}
        return {name: value for name, value in full.items() if value is not None}

    def by_assertion(self, bearer: Bearer, *, header: dict[str, Any] | None = None, **claims: Any) -> dict[str, str]:
        """The parameters by which a client proves itself with its key."""
        assertion = bearer.pair.assertion(bearer.id, bearer.key, self.now_ms, header=header, **claims)
        return {"client_assertion_type": TYPE, "client_assertion": assertion}

    async def nonce(self) -> str:
        """A nonce of the server, got as clients get it: by a proof that is refused, whoever sends it."""
        somebody = {"client_id": self.node.ids.new("service"), "client_secret": Secret.issue(PLATFORM).reveal()}
        answer = await self.post(self.form(**somebody), {"DPoP": KeyPair.generate().proof(self.now_ms)})
        assert answer.json()["error"] == "use_dpop_nonce"
        return answer.headers["DPoP-Nonce"]

    async def proof(self, pair: KeyPair, **claims: Any) -> dict[str, str]:
        """A proof with a nonce of the server."""
        return {"DPoP": pair.proof(self.now_ms, **{"nonce": await self.nonce(), **claims})}

    async def token(self, bearer: Bearer, **more: Any) -> httpx2.Response:
        """A token as this client gets it: by its key, and bound."""
        form = self.form(**{**self.by_assertion(bearer), **more})
        return await self.post(form, await self.proof(bearer.pair))


@asynccontextmanager
async def serving(node: Node, config: Config) -> AsyncIterator[Server]:
    """A server over a node."""

    async with served(node, config, routes=oauth_routes(node)) as running:
        yield Server(running)


async def founded(node: Node) -> Organization:
    """A fresh organization with its record."""
    org = Organization(node, scopes.of_job(node.ids.new("org")))
    async with org.begin(with_platform=True) as w:
        organization.create(w, "Acme", node.clock.now_ms())
    return org


async def resource(org: Organization, indicator: str = API, scopes: tuple[str, ...] = SCOPES, **more: Any) -> str:
    """A resource of the organization."""
    resource_id = org.node.ids.new("resource")
    async with org.begin() as w:
        resources.add(w, resource_id, NewResource("API", indicator, scopes, **more), org.node.clock.now_ms())
    return resource_id


async def client(org: Organization, named: str, pair: KeyPair | None = None) -> Bearer:
    """A client of a class, with a registered key."""
    made = await _MADE[named](org)
    pair = pair or KeyPair.generate()
    key = await registered(org, made, pair)
    return Bearer(made, key, pair)


async def registered(
    org: Organization, principal: str, pair: KeyPair, ends_at_ms: int | None = None, kid: str = ""
) -> str:
    """Another key of a client, with a name of its own if it has one."""
    key, jwk = org.node.ids.new("key"), msgspec.convert({**pair.public, "kid": kid}, PublicJwk)
    async with org.begin() as w:
        keys.register(w, key, principal, jwk, now_ms=org.node.clock.now_ms(), ends_at_ms=ends_at_ms)
    return key


async def with_secret(org: Organization, principal: str = "", ends_at_ms: int | None = None) -> Bearer:
    """A service with a secret, or a secret for a principal that may have one."""
    made, key = principal or await _service(org), org.node.ids.new("key")
    async with org.begin() as w:
        secret = keys.issue_secret(w, key, made, now_ms=org.node.clock.now_ms(), ends_at_ms=ends_at_ms)
    return Bearer(made, key, KeyPair.generate(), secret)


async def _service(org: Organization) -> str:
    made = org.node.ids.new("service")
    async with org.begin() as w:
        services.add(w, made, "Worker", org.node.clock.now_ms())
    return made


async def _agent(org: Organization) -> str:
    new, now_ms = org.node.ids.new, org.node.clock.now_ms()
    made, owner, kind = new("agent"), new("user"), new("blueprint")
    ceiling = Ceiling((Allowance("document", "viewer"),))
    declared = blueprints.Declaration(model="any", ceiling=ceiling, agent_life_ms=DAY_MS, run_life_ms=DAY_MS)
    async with org.begin() as w:
        users.add(w, owner, users.Profile("ann@acme.example", "Ann"), now_ms)
        blueprints.add(w, kind, "Helper", declared, now_ms)
    wanted = agents.NewAgent(
        blueprint_id=kind,
        blueprint_version=1,
        name="Helper",
        purpose="help",
        owner_id=owner,
        sponsors=(owner,),
        ends_at_ms=now_ms + DAY_MS,
    )
    async with org.begin() as w:
        await agents.add(w, org.reads, made, wanted, now_ms)
    return made


async def _mcp_server(org: Organization) -> str:
    made, at = org.node.ids.new("mcp"), org.node.ids.new("resource")
    async with org.begin() as w:
        mcp_servers.add(
            w, made, at, NewResource("Tools", f"https://{made.lower()}.example.com/"), org.node.clock.now_ms()
        )
    return made


async def _job(org: Organization, initiator: str = "") -> str:
    initiator, now_ms = initiator or await _service(org), org.node.clock.now_ms()
    made, run = org.node.ids.new("job"), org.node.ids.new("run")
    async with org.begin() as w:
        jobs.add(w, made, run, "Nightly", initiator, now_ms=now_ms, ends_at_ms=now_ms + DAY_MS)
    return made


async def _job_of_an_agent(org: Organization) -> str:
    return await _job(org, await _agent(org))


_MADE = {
    "service": _service,
    "agent": _agent,
    "mcp": _mcp_server,
    "job": _job,
    "job of an agent": _job_of_an_agent,
}


def refused(answer: httpx2.Response, error: str, status: int = 400) -> None:
    """It was refused by this name (RFC 6749, 5.2)."""
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert set(answer.json()) == {"error", "error_description"}


async def claims_of(server: Server, token: str) -> dict[str, Any]:
    """What a token says to another library that has nothing but the published keys."""
    keys = jwk.KeySet.import_key_set((await server.served.client.get("/oauth/jwks")).json())
    read = jwt.decode(token, keys, algorithms=["ES256"])
    assert read.header["typ"] == "at+jwt"
    return read.claims
