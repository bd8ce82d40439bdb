"""Nobody gives, or takes for itself, what it does not have."""

import pytest

from tenantry.access.system import RoleGiven, relate
from tests.stand.assembled import Headers, Home, secret_token


async def somebody(home: Home, role: str = "", permission: str = "") -> tuple[str, Headers]:
    """A service with a role, or with one permission alone, and its headers."""
    service = (await home.made("POST", "/v1/services", {"name": "somebody"}))["id"]
    if role:
        await home.made("PUT", f"/v1/roles/{role}/holders/{service}")
    if permission:
        async with home.ledger.begin() as w:
            relate(w, f"organization:{home.org}", permission, f"role:{permission}#assignee")
            relate(w, f"role:{permission}", "assignee", f"service:{service}")
            w.record(RoleGiven(service, permission, home.org))
    secret = (await home.made("POST", f"/v1/workloads/{service}/secrets", {}))["secret"]
    return service, {"Authorization": f"Bearer {await secret_token(home.house, service, secret)}"}


@pytest.mark.parametrize("role", ["owner", "admin", "auditor", "member"])
async def test_acc_19_an_administrator_gives_no_role(acme: Home, role: str) -> None:
    """ACC-19: roles are the owner's to give: not to oneself, to another, to a group or by an invitation."""
    admin, headers = await somebody(acme, "admin")
    client = acme.house.client
    for holder in (admin, acme.have["user_id"], acme.have["group_id"]):
        path = f"/v1/roles/{role}/holders/{holder}"
        assert (await client.put(path, headers=headers)).status_code == 403
        assert (await client.delete(path, headers=headers)).status_code == 403
    ends = acme.house.node.clock.now_ms() + 60_000
    body = {"email": "z@acme.example", "ends_at_ms": ends}
    assert (await client.post(f"/v1/roles/{role}/invitations", json=body, headers=headers)).status_code == 403
    assert (await client.post("/v1/invitations", json=body, headers=headers)).status_code == 201
    assert (await client.post("/v1/invitations", json=body | {"role": role}, headers=headers)).status_code == 400


async def test_acc_19_an_administrator_makes_no_secret_of_a_service_that_owns(acme: Home) -> None:
    """ACC-19: whoever could make itself a credential of an owner's would be one."""
    _, headers = await somebody(acme, "admin")
    path = f"/v1/workloads/{acme.have['admin_id']}/secrets"
    answer = await acme.house.client.post(path, json={}, headers=headers)
    assert answer.status_code == 403


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="who manages groups may join one that has a role")
async def test_acc_19_who_manages_groups_joins_none_that_has_more(acme: Home) -> None:
    """ACC-19: a permission to manage groups is not the permissions of every group."""
    service, headers = await somebody(acme, permission="can_manage_groups")
    group = acme.have["group_id"]
    await acme.made("PUT", f"/v1/roles/admin/holders/{group}")
    answer = await acme.house.client.put(f"/v1/groups/{group}/members/{service}", headers=headers)
    assert answer.status_code == 403


@pytest.mark.parametrize("role", ["checker", "writer"])
async def test_acc_19_who_writes_tuples_changes_no_model_and_no_store(acme: Home, role: str) -> None:
    """ACC-19: a role on a store ends where it ends."""
    service, headers = await somebody(acme)
    store, client = acme.have["store"], acme.house.client
    await acme.made("PUT", f"/v1/stores/{acme.have['store_id']}/roles/{role}/holders/{service}")
    key = {"user": "user:x", "relation": "viewer", "object": "document:9"}
    asked = await client.post(f"/stores/{store}/check", json={"tuple_key": key}, headers=headers)
    assert asked.status_code == 200, asked.text
    wrote = await client.post(f"/stores/{store}/write", json={"writes": {"tuple_keys": [key]}}, headers=headers)
    assert wrote.status_code == (200 if role == "writer" else 403)
    model = {"schema_version": "1.1", "type_definitions": [{"type": "user"}]}
    path = f"/stores/{store}/authorization-models"
    assert (await client.post(path, json=model, headers=headers)).status_code == 403
    assert (await client.delete(f"/stores/{store}", headers=headers)).status_code == 403
    giving = f"/v1/stores/{acme.have['store_id']}/roles/manager/holders/{service}"
    assert (await client.put(giving, headers=headers)).status_code == 403


async def test_acc_19_the_system_store_cannot_be_written_through_the_interface(acme: Home) -> None:
    """ACC-19: not by its own owner either: roles are given by their route alone."""
    system = "0" * 26
    key = {"user": f"service:{acme.have['service_id']}", "relation": "owner", "object": f"organization:{acme.org}"}
    for method, path, body in (
        ("POST", f"/stores/{system}/write", {"writes": {"tuple_keys": [key]}}),
        ("POST", f"/stores/{system}/authorization-models", {"type_definitions": [{"type": "user"}]}),
        ("DELETE", f"/stores/{system}", None),
    ):
        answer = await acme.ask(method, path, body)
        assert answer.status_code in (403, 404), answer.text
