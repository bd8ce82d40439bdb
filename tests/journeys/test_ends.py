"""Each way to end access, over HTTP, held against a live credential of each class on every node: what it ends is refused within commit and
lease, everywhere, after a restart too; everything else lives on.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from tenantry.app.config import Config
from tenantry.core.errors import Ended
from tests.oauth.keys import KeyPair
from tests.stand.assembled import Home, House, assembled, founded
from tests.stand.databases import postgres_database, sqlite_database
from tests.stand.living import Credential, asked, delegated, living
from tests.stand.nodes import deployed

BOUND_S = 1.0
USER = ("user", "agent for user")
SERVICE = ("service by secret", "service by key")
AGENT = ("agent", "agent for user")
EVERYBODY = (*USER, *SERVICE, "agent", "mcp server", "job", "user by group", "admin", "entry")
_numbers = itertools.count(1)


class Way(msgspec.Struct, frozen=True):
    """A way to end access: who asks for it, what, and which credentials are refused from then on."""

    method: str
    path: str
    dead: tuple[str, ...]
    by: str = "admin"
    body: dict[str, str] | None = msgspec.field(default_factory=lambda: {"reason": "Because."})


JOBS = ("job",)
WAYS = {
    "organization suspended": Way("POST", "/v1/organizations/{organization_id}/suspend", EVERYBODY, "console"),
    "organization deleted": Way("POST", "/v1/organizations/{organization_id}/delete", EVERYBODY, "console"),
    "user deactivated": Way("POST", "/v1/users/{user_id}/deactivate", USER),
    "user removed": Way("DELETE", "/v1/users/{user_id}", USER, body=None),
    "user cut": Way("POST", "/v1/branches/{user_id}/cut", USER),
    "service deactivated": Way("POST", "/v1/services/{service_id}/deactivate", (*SERVICE, *JOBS)),
    "service removed": Way("DELETE", "/v1/services/{service_id}", (*SERVICE, *JOBS), body=None),
    "service cut": Way("POST", "/v1/branches/{service_id}/cut", (*SERVICE, *JOBS)),
    "secret revoked": Way("POST", "/v1/workloads/{service_id}/keys/{secret_key_id}/revoke", ("service by secret",)),
    "key revoked": Way("POST", "/v1/workloads/{service_id}/keys/{key_id}/revoke", ("service by key",)),
    "key cut": Way("POST", "/v1/branches/{key_id}/cut", ("service by key",)),
    "agent deactivated": Way("POST", "/v1/agents/{agent_id}/deactivate", AGENT),
    "agent removed": Way("DELETE", "/v1/agents/{agent_id}", AGENT, body=None),
    "agent cut": Way("POST", "/v1/branches/{agent_id}/cut", AGENT),
    "agent's key revoked": Way("POST", "/v1/agents/{agent_id}/keys/{agent_key_id}/revoke", ("agent",)),
    "blueprint deactivated": Way("POST", "/v1/blueprints/{blueprint_id}/deactivate", AGENT),
    "blueprint removed": Way("DELETE", "/v1/blueprints/{blueprint_id}", AGENT, body=None),
    "mcp server deactivated": Way("POST", "/v1/mcp-servers/{server_id}/deactivate", ("mcp server",)),
    "mcp server removed": Way("DELETE", "/v1/mcp-servers/{server_id}", ("mcp server",), body=None),
    "mcp server's key revoked": Way("POST", "/v1/workloads/{server_id}/keys/{server_key_id}/revoke", ("mcp server",)),
    "job ended": Way("POST", "/v1/jobs/{job_id}/end", JOBS),
    "job's key revoked": Way("POST", "/v1/workloads/{job_id}/keys/{job_key_id}/revoke", JOBS),
    "member taken out of its group": Way(
        "DELETE", "/v1/groups/{readers_id}/members/{colleague_id}", ("user by group",), body=None
    ),
    "group removed": Way("DELETE", "/v1/groups/{readers_id}", ("user by group",), body=None),
    "role taken": Way("DELETE", "/v1/roles/member/holders/{service_id}", SERVICE, body=None),
    "role of a group taken": Way("DELETE", "/v1/roles/auditor/holders/{readers_id}", ("user by group",), body=None),
    "operator sent out": Way("POST", "/v1/operator-entries/{entry_id}/veto", ("entry",), body=None),
    "operator left": Way(
        "POST", "/v1/organizations/{organization_id}/entries/{entry_id}/end", ("entry",), "console", body=None
    ),
    "application deactivated": Way("POST", "/v1/applications/{application_id}/deactivate", ()),
    "resource deactivated": Way("POST", "/v1/resources/{resource_id}/deactivate", ()),
}


@pytest.fixture(scope="module")
async def houses(
    dialect: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[list[House]]:
    """One node over a file; over PostgreSQL two."""
    folder = tmp_path_factory.mktemp("ends")
    async with AsyncExitStack() as opened:
        found = [await opened.enter_async_context(assembled(one)) for one in await configs(dialect, request, folder)]
        for other in found[1:]:
            other.console.headers.update(found[0].console.headers)  # one operator, on every node
        yield found


async def configs(dialect: str, request: pytest.FixtureRequest, folder: Path) -> list[Config]:
    """The configurations of the nodes."""
    if dialect == "sqlite":
        return [await deployed(sqlite_database(folder), folder / "state")]
    database = postgres_database(request.getfixturevalue("cluster"), f"ends_{next(_numbers)}")
    return [await deployed(database, folder / f"state{number}") for number in range(2)]


@pytest.fixture(scope="module")
async def neighbour(houses: list[House]) -> tuple[Home, dict[str, Credential]]:
    """An organization beside, and its live credentials."""
    globex = await founded(houses[0], "globex")
    return globex, await living(globex)


async def answers(house: House, home: Home, credentials: dict[str, Credential]) -> dict[str, int]:
    """What a node says to each credential of an organization, and to its administrator and an operator inside."""
    found = {name: (await asked(house, one)).status_code for name, one in credentials.items()}
    found["admin"] = (await house.client.get("/v1/organization", headers=home.admin)).status_code
    headers = {"Tenantry-Entry": f"{home.org}/{home.have['entry_id']}"}
    found["entry"] = (await house.console.get("/v1/organization", headers=headers)).status_code
    return found


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_ended_is_refused_on_every_node_and_nothing_else_is(
    houses: list[House], neighbour: tuple[Home, dict[str, Credential]], way: str
) -> None:
    told, (globex, theirs) = WAYS[way], neighbour
    acme = await founded(houses[0], "acme")
    credentials = await living(acme)
    for house in houses:
        await _until(house, acme, credentials, ())
    client = houses[0].console if told.by == "console" else houses[0].client
    headers = {} if told.by == "console" else acme.admin
    answer = await client.request(told.method, told.path.format(**acme.have), json=told.body, headers=headers)
    assert answer.is_success, answer.text
    since = time.monotonic()
    for house in houses:
        await _until(house, acme, credentials, told.dead, since)
        await _until(house, globex, theirs, ())


async def _until(
    house: House, home: Home, credentials: dict[str, Credential], dead: tuple[str, ...], since: float | None = None
) -> None:
    """Wait until a node refuses exactly these."""
    since = time.monotonic() if since is None else since
    while True:
        began = time.monotonic()
        found = await answers(house, home, credentials)
        refused = {name for name, status in found.items() if status != 200}
        if refused == set(dead) and 503 not in found.values():
            assert {found[name] for name in refused} <= {401, 403, 404, 409}
            return
        assert began < since + BOUND_S or not [name for name in dead if found[name] == 200], found
        assert began < since + 15, found  # a node that is stale says yes to nobody, and comes back
        await asyncio.wait({asyncio.ensure_future(house.node.engine.changed(0.02))})


async def test_an_agent_that_acts_for_a_user_may_do_what_both_may(
    houses: list[House], neighbour: tuple[Home, dict[str, Credential]]
) -> None:
    globex, theirs = neighbour
    assert (await asked(houses[0], theirs["agent for user"])).status_code == 200
    stranger = await globex.made("POST", "/v1/users", {"email": "x@globex.example"})
    nobody = await delegated(globex, stranger["id"], KeyPair.generate())
    assert (await asked(houses[0], nobody)).status_code == 403


async def test_what_was_ended_is_refused_after_a_restart_and_what_was_not_lives_on(
    dialect: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    ways = (
        "user cut",
        "service deactivated",
        "agent's key revoked",
        "job ended",
        "role of a group taken",
        "operator left",
    )
    dead = {name for way in ways for name in WAYS[way].dead}
    config = (await configs(dialect, request, tmp_path))[0]
    async with assembled(config) as house:
        acme = await founded(house, "acme")
        credentials = await living(acme)
        for told in map(WAYS.__getitem__, ways):
            client, headers = (house.console, {}) if told.by == "console" else (house.client, acme.admin)
            path = told.path.format(**acme.have)
            assert (await client.request(told.method, path, json=told.body, headers=headers)).is_success
        await _until(house, acme, credentials, tuple(dead))
        operator = house.console.headers
    async with assembled(config) as house:
        house.console.headers.update(operator)
        acme = msgspec.structs.replace(acme, house=house)
        found = await answers(house, acme, credentials)
        assert {name for name, status in found.items() if status != 200} == dead


@pytest.mark.xfail(
    strict=True, raises=pytest.fail.Exception, reason="a token does not descend from the resource that it is for"
)
async def test_a_token_for_a_resource_that_was_deactivated_is_refused(houses: list[House]) -> None:
    house = houses[0]
    acme = await founded(house, "acme")
    resource = await acme.made("GET", f"/v1/resources/{acme.have['resource_id']}")
    form = {"grant_type": "client_credentials", "resource": resource["indicator"], "scope": resource["scopes"][0]}
    proof = (acme.have["admin_id"], acme.have["admin_secret"])
    token = (await house.client.post("/oauth/token", data=form, auth=proof)).json()["access_token"]
    await house.rooms.tokens.verify(token, audience=resource["indicator"])
    await acme.made("POST", f"/v1/resources/{resource['id']}/deactivate", {})
    assert (await house.client.post("/oauth/token", data=form, auth=proof)).status_code == 400
    head = await house.node.journal.head(acme.ledger.scope)
    await house.node.cuts.lineage(acme.org, (), head.rev)
    with pytest.raises(Ended):
        await house.rooms.tokens.verify(token, audience=resource["indicator"])
