"""Attacks by those who are inside: an admin who would be more, an operator who would stay, a provider who goes on after the end."""

from collections.abc import AsyncIterator

import pytest

from tenantry.access.language import parse
from tenantry.access.stores import add_model
from tenantry.app.config import Config
from tenantry.core import scopes
from tenantry.core.principal import SYSTEM
from tests.app.test_callers import Company, Service, Whole, whole

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)

MODEL = """model
  schema 1.1
type user
type doc
  relations
    define viewer: [user]
"""
VIEWER = {"user": "user:anne", "relation": "viewer", "object": "doc:1"}


@pytest.fixture
async def server(fresh: Config) -> AsyncIterator[Whole]:
    """A whole server of this test alone."""
    async with whole(fresh) as made:
        yield made


@pytest.mark.parametrize("role", ["owner", "auditor"])
async def test_an_admin_makes_no_secret_of_one_who_has_what_it_has_not(server: Whole, role: str) -> None:
    acme = await server.found("Acme")
    admin = await (await acme.service("admin")).token()
    worker, above = await acme.service(), await acme.service(role)
    owner = await (await acme.service("owner")).token()
    for target, caller, status in ((worker, admin, 201), (above, admin, 403), (above, owner, 201)):
        made = await server.client.post(f"/v1/workloads/{target.id}/secrets", json={}, headers=caller)
        assert made.status_code == status, made.text


async def test_an_admin_puts_nobody_into_a_group_of_auditors(server: Whole) -> None:
    acme = await server.found("Acme")
    admin = await acme.service("admin")
    headers = await admin.token()
    for role, status in (("admin", 204), ("auditor", 403)):
        group = (await acme.ask("POST", "/v1/groups", json={"name": role})).json()["id"]
        assert (await acme.ask("PUT", f"/v1/roles/{role}/holders/{group}")).status_code == 204
        joined = await server.client.put(f"/v1/groups/{group}/members/{admin.id}", headers=headers)
        assert joined.status_code == status, joined.text
    assert (await server.client.get("/v1/decisions", headers=headers)).status_code == 403


async def test_an_operators_entry_is_over_once_the_organization_has_cut_it(server: Whole) -> None:
    acme = await server.found("Acme")
    admin = await (await acme.service("admin")).token()
    assert (await acme.ask("GET", "/v1/users")).status_code == 200
    cut = await server.client.post(f"/v1/branches/{acme.entry}/cut", json={"reason": "out"}, headers=admin)
    assert cut.status_code == 200, cut.text
    refused = await acme.ask("GET", "/v1/users")
    assert refused.json()["code"] == "entry_over"


async def test_a_token_that_is_not_for_entering_is_not_taken_inside(server: Whole) -> None:
    acme, console = await server.found("Acme"), server.console
    service = (await console.post("/v1/services", json={"name": "support"})).json()["id"]
    secret = (await console.post(f"/v1/workloads/{service}/secrets", json={})).json()["secret"]
    assert (await console.put(f"/v1/roles/admin/holders/{service}")).status_code == 204
    operator = Service(server, service, secret)
    entering = f"/v1/organizations/{acme.org}/entries"
    entry = await server.client.post(entering, json={"reason": "help"}, headers=await operator.token())
    inside = {"Tenantry-Entry": f"{acme.org}/{entry.json()['id']}"}
    for scope, status in (("can_read_users can_enter_organizations", 200), ("can_read_users", 403)):
        listed = await server.client.get("/v1/users", headers=await operator.token(scope=scope) | inside)
        assert listed.status_code == status, listed.text


async def test_an_operator_is_not_in_an_organization_that_was_deleted(server: Whole) -> None:
    acme = await server.found("Acme")
    assert (await acme.ask("POST", "/v1/groups", json={"name": "before"})).status_code == 201
    deleted = await server.console.post(f"/v1/organizations/{acme.org}/delete", json={"reason": "over"})
    assert deleted.status_code == 200, deleted.text
    for refused in (await acme.ask("GET", "/v1/groups"), await acme.ask("POST", "/v1/groups", json={"name": "after"})):
        assert refused.json()["code"] == "not_found"


@pytest.mark.parametrize("end", ["suspend", "delete"])
async def test_a_provider_decides_and_writes_nothing_in_an_organization_that_has_ended(server: Whole, end: str) -> None:
    acme = await server.found("Acme")
    provider, store = await provided(server, acme)
    headers = await provider.token() | {"Tenantry-Organization": acme.org}
    write = {"writes": {"tuple_keys": [VIEWER]}}
    assert (await server.client.post(f"/stores/{store}/write", json=write, headers=headers)).status_code == 200
    asked = await server.client.post(f"/stores/{store}/check", json={"tuple_key": VIEWER}, headers=headers)
    assert asked.json()["allowed"]
    ended = await server.console.post(f"/v1/organizations/{acme.org}/{end}", json={"reason": "over"})
    assert ended.status_code == 200, ended.text
    asked = await server.client.post(f"/stores/{store}/check", json={"tuple_key": VIEWER}, headers=headers)
    assert asked.status_code == 403, asked.text
    more = {"writes": {"tuple_keys": [VIEWER | {"object": "doc:2"}]}}
    assert (await server.client.post(f"/stores/{store}/write", json=more, headers=headers)).status_code == 403


async def provided(server: Whole, tenant: Company) -> tuple[Service, str]:
    """The platform's service that writes in one of its applications, and the tenant's store there, as OpenFGA's clients name it."""
    console, node = server.console, server.rooms.node
    application = (await console.post("/v1/applications", json={"name": "Atlas", "kind": "first_party"})).json()["id"]
    service = (await console.post("/v1/services", json={"name": "atlas"})).json()["id"]
    secret = (await console.post(f"/v1/workloads/{service}/secrets", json={})).json()["secret"]
    given = await console.put(f"/v1/applications/{application}/roles/writer/holders/{service}")
    assert given.status_code == 204, given.text
    async with node.journal.begin(scopes.of_platform(), SYSTEM) as w:
        add_model(w, node.ids, application, parse(MODEL).model, node.clock.now_ms())
    made = await tenant.ask("POST", f"/v1/applications/{application}/stores", json={"name": "docs"})
    return Service(server, service, secret), made.json()["id"].removeprefix("store_")
