"""The room over HTTP: what each route does for whom, and that no tenant's caller reaches another's records by any of them."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.core.principal import Principal
from tenantry.organizations.routes import routes
from tenantry.web import Route, Table
from tests.organizations.stock import OPERATOR, body_of, stocked
from tests.organizations.tenants import HOUR_MS, Tenant, begun
from tests.stand.http import Served, served

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
LAST = (
    "DELETE",
    "remove",
    "deactivate",
    "end_",
    "revoke",
    "retire",
    "withdraw",
    "veto",
    "delete",
    "take",
    "stand_back",
)
"""What changes what others need comes last."""


@pytest.fixture
async def server(node: Node, deployment: Config) -> AsyncIterator[Served]:
    """A server with the routes of this room."""
    async with served(node, deployment, routes=table(node)) as running:
        yield running


def table(node: Node) -> tuple[Route, ...]:
    return routes(node.ids, node.clock, node.engine, node.keyring)


def by_harm(all_routes: tuple[Route, ...]) -> list[Route]:
    return sorted(
        all_routes, key=lambda route: (route.method == "DELETE", route.name.startswith(LAST), -len(route.path))
    )


def values(route: Route, tenant: Tenant, have: dict[str, str]) -> dict[str, str]:
    """What the parameters of a route can be in an organization."""
    visiting = "visiting" in route.path
    fixed = {
        "agent_id": have["visitor_id"] if visiting else have["agent_id"],
        "key_id": have["agent_key_id"] if "agents" in route.path else have["key_id"],
        "principal_id": have["service_id"],
        "member_id": have["user_id"],
        "party_id": have["user_id"],
        "holder_id": have["user_id"],
        "organization_id": tenant.id,
        "role": "checker" if "/roles/{role}" in route.path and not route.path.startswith("/v1/roles") else "admin",
        "tie": "sponsors",
        "number": "1",
    }
    return {name: fixed.get(name) or have[name] for name in route.parameters}


async def ask(
    server: Served, headers: dict[str, str], route: Route, path: dict[str, str], body: Any
) -> httpx2.Response:
    return await server.client.request(route.method, route.path.format(**path), headers=headers, json=body)


def caller(server: Served, tenant: Tenant) -> dict[str, str]:
    return server.enter(f"owner of {tenant.id}", Principal(tenant.owner, tenant.id, None))


async def test_every_route_of_a_tenant_does_what_it_says_for_its_own(server: Served, acme: Tenant) -> None:
    have, headers, failed = await stocked(acme), caller(server, acme), list[Any]()
    for route in by_harm(table(acme.node)):
        if route.path.startswith("/v1/organizations"):
            continue
        body = body_of(route.name, acme, have)
        assert (body is None) == (route.body is None), route.name
        answer = await ask(server, headers, route, values(route, acme, have), body)
        if answer.status_code != route.status:
            failed.append((route.name, answer.status_code, answer.text))
    assert failed == []


async def test_no_route_tells_another_tenants_id_from_one_that_never_existed(
    server: Served, acme: Tenant, globex: Tenant
) -> None:
    ours, theirs, headers, told = await stocked(globex), await stocked(acme), caller(server, globex), list[Any]()
    before, asked = await acme.ledger.holdings(), 0
    for route in by_harm(table(acme.node)):
        own, foreign = values(route, globex, ours), values(route, acme, theirs)
        for name in [name for name in own if own[name] != foreign[name]]:
            asked += 1
            body = body_of(route.name, globex, ours)
            prefix = foreign[name].partition("_")[0]
            answers = [
                await ask(server, headers, route, {**own, name: value}, body)
                for value in (foreign[name], acme.new(prefix))
            ]
            statuses = [answer.status_code for answer in answers]
            if statuses != [404, 404] or answers[0].content != answers[1].content:
                told.append((route.name, name, statuses, answers[0].text))
    assert told == []
    assert asked > 70
    assert await acme.ledger.holdings() == before


async def test_ten_03_no_body_can_name_what_is_another_tenants(server: Served, acme: Tenant, globex: Tenant) -> None:
    """TEN-03: a reference to another organization's user, group, service, agent or blueprint is as unknown as one that never was."""
    ours, theirs, headers, asked = await stocked(globex), await stocked(acme), caller(server, globex), 0
    foreign = {value: theirs[name] for name, value in ours.items()}
    for route in by_harm(table(acme.node)):
        body = body_of(route.name, globex, ours)
        for field in references(body, foreign):
            asked += 1
            path = values(route, globex, ours)
            answers = [
                await ask(server, headers, route, path, replaced(body, field, other))
                for other in (foreign[field], acme.new(field.partition("_")[0]))
            ]
            assert [answer.status_code for answer in answers] == [404, 404], (route.name, field, answers[0].text)
            assert answers[0].content == answers[1].content
            assert (await ask(server, headers, route, path, body)).status_code == route.status
    assert asked > 7


def references(body: object, known: dict[str, str]) -> set[str]:
    if isinstance(body, dict):
        return {one for value in body.values() for one in references(value, known)}
    if isinstance(body, list):
        return {one for value in body for one in references(value, known)}
    return {body} if isinstance(body, str) and body in known else set()


def replaced(body: Any, value: str, other: str) -> Any:
    if isinstance(body, dict):
        return {name: replaced(of, value, other) for name, of in body.items()}
    if isinstance(body, list):
        return [replaced(of, value, other) for of in body]
    return other if body == value else body


async def test_no_tenant_is_admitted_to_a_route_of_the_platform(server: Served, acme: Tenant) -> None:
    have, headers = await stocked(acme), caller(server, acme)
    operator = server.enter("an operator", OPERATOR)
    for route in by_harm(table(acme.node)):
        if not route.path.startswith("/v1/organizations"):
            continue
        path, body = values(route, acme, have), body_of(route.name, acme, have)
        assert (await ask(server, headers, route, path, body)).status_code == 404, route.name
        answer = await ask(server, operator, route, path, body)
        assert answer.status_code == route.status, (route.name, answer.text)


async def test_a_list_comes_in_pages_that_miss_nobody(server: Served, acme: Tenant) -> None:
    made = {acme.owner, *[await acme.user(f"u{number}@acme.example") for number in range(4)]}
    headers, seen, after = caller(server, acme), list[str](), ""
    while after is not None:
        answer = await server.client.get("/v1/users", params={"after": after, "limit": 2}, headers=headers)
        page = answer.json()
        assert len(page["items"]) <= 2
        seen += [item["id"] for item in page["items"]]
        after = page["next"]
    assert seen == sorted(made)


async def test_a_page_is_bounded(server: Served, acme: Tenant) -> None:
    headers = caller(server, acme)
    assert (await server.client.get("/v1/users?limit=100", headers=headers)).status_code == 200
    for query in ("limit=101", "limit=0", "after=x", "after=user_%00", "other=1"):
        assert (await server.client.get(f"/v1/users?{query}", headers=headers)).status_code == 400, query


async def test_holders_of_a_role_come_in_pages(server: Served, acme: Tenant) -> None:
    headers = caller(server, acme)
    group, service = await acme.group(), await acme.service()
    for holder in (group, service):
        answer = await server.client.put(f"/v1/roles/auditor/holders/{holder}", headers=headers)
        assert answer.status_code == 204, answer.text
    first = (await server.client.get("/v1/roles/auditor/holders?limit=1", headers=headers)).json()
    rest = await server.client.get("/v1/roles/auditor/holders", params={"after": first["next"]}, headers=headers)
    assert [*first["items"], *rest.json()["items"]] == [f"group:{group}#member", f"service:{service}"]
    assert rest.json()["next"] is None


async def test_a_secret_is_shown_once(server: Served, acme: Tenant) -> None:
    headers, service = caller(server, acme), await acme.service()
    issued = await server.client.post(f"/v1/workloads/{service}/secrets", json={}, headers=headers)
    secret = issued.json()["secret"]
    assert secret.startswith(f"tnk_{acme.id.removeprefix('org_')}_")
    listed = await server.client.get(f"/v1/workloads/{service}/keys", headers=headers)
    assert secret not in listed.text
    assert [key["kind"] for key in listed.json()["items"]] == ["secret"]
    assert secret not in str(await acme.events())


async def test_an_agents_key_is_no_matter_of_workloads(server: Served, acme: Tenant) -> None:
    have, headers = await stocked(acme), caller(server, acme)
    body = body_of("register_agent_key", acme, have)
    assert (
        await server.client.post(f"/v1/workloads/{have['agent_id']}/keys", json=body, headers=headers)
    ).status_code == 404
    assert (
        await server.client.post(f"/v1/agents/{have['agent_id']}/keys", json=body, headers=headers)
    ).status_code == 201


async def test_an_invited_owner_needs_who_may_give_the_role(node: Node, dialect: str) -> None:
    asked = {route.name: route.permission.name for route in table(node)}
    assert (asked["invite"], asked["invite_with_role"]) == ("can_invite", "can_manage_roles")


async def test_every_route_is_declared_whole(node: Node, dialect: str) -> None:
    assert len(list(Table(table(node)))) == len(table(node))


async def test_an_operator_begins_an_organization_and_its_owner_can_read_it(server: Served, node: Node) -> None:
    operator = server.enter("an operator", OPERATOR)
    body = {"name": "Initech", "owner": {"email": "o@initech.example", "display_name": "O"}}
    answer = await server.client.post("/v1/organizations", json=body, headers=operator)
    made = answer.json()
    owner = server.enter("owner", Principal(made["owner_id"], made["organization"]["id"], None))
    assert (await server.client.get("/v1/organization", headers=owner)).json()["name"] == "Initech"


async def test_an_agent_over_http_ends_in_the_future(server: Served, acme: Tenant) -> None:
    have, headers = await stocked(acme), caller(server, acme)
    body = body_of("add_agent", acme, have)
    assert body is not None
    assert (await server.client.post("/v1/agents", json=body, headers=headers)).status_code == 201
    for ends in (acme.now - 1, acme.now + 25 * HOUR_MS):
        answer = await server.client.post("/v1/agents", json={**body, "ends_at_ms": ends}, headers=headers)
        assert answer.status_code == 400


async def test_the_platforms_list_has_every_organization(server: Served, node: Node, acme: Tenant) -> None:
    later, operator = await begun(node, "later"), server.enter("an operator", OPERATOR)
    answer = await server.client.get("/v1/organizations", params={"after": acme.id}, headers=operator)
    assert later.id in [item["id"] for item in answer.json()["items"]]
