"""Every operation that is not for everybody refuses whoever may not call it, and takes whoever has its permission and nothing else."""

import re

from tenantry.access.system import RoleGiven, relate, system_text
from tenantry.core.ids import PLATFORM
from tenantry.journal import WriteSet
from tenantry.keys.signing import Algorithm, Purpose, Use
from tests.attacks.operations import ask, body, operations, twin, values
from tests.stand.assembled import Headers, Home, House, founded, secret_token
from tests.stand.credentials import opened, resigned

FOR_EVERYBODY = {
    *("live", "ready", "openapi", "problem", "receipt_keys"),
    *("issue_token", "get_jwks", "get_authorization_server_metadata", "get_authzen_configuration"),
}
ON_A_STORE = {
    "can_check": ("checker", ""),
    "can_read_model": ("checker", ""),
    "can_read_tuples": ("writer", "checker"),
    "can_write_tuples": ("writer", "checker"),
    "can_write_model": ("manager", "writer"),
    "can_manage_store": ("manager", "writer"),
}
"""The least relation to a store that gives a permission, and the greatest that does not."""


async def test_nothing_is_for_everybody_that_is_not_meant_to_be(house: House) -> None:
    assert {one.name for one in await operations(house) if not one.proves} == FOR_EVERYBODY
    assert (await house.client.get("/metrics")).status_code == 404


async def test_every_operation_refuses_who_proves_nothing_or_something_else(house: House, acme: Home) -> None:
    refusals = await _nobodies(house, acme)
    before, asked = await acme.ledger.holdings(), 0
    for operation in await operations(house):
        if not operation.proves:
            continue
        for name, (headers, status) in refusals.items():
            asked += 1
            answer = await ask(house, operation, headers, values(operation, acme.have), body(operation, acme))
            assert answer.status == status, (operation.name, name, answer.status, answer.body)
    assert asked > 1_000
    after = await acme.ledger.holdings()
    assert [event["type"] for event in after.events()[len(before.leaves) :] if event["type"] != "access.denied"] == []


async def test_each_operation_takes_who_has_its_permission_alone_and_refuses_who_has_all_others(house: House) -> None:
    acme, wrong, asked = await founded(house, "acme"), list[str](), 0
    asked_on = {route.name: route.permission.on for route in house.rooms.routes()}
    callers = await _callers(acme, {one.permission for one in await operations(house) if one.proves})
    for operation in await operations(house):
        if not operation.proves:
            continue
        asked += 1
        with_it, without_it = callers[operation.permission]
        path = {name: _unknown(name, value) for name, value in values(operation, acme.have).items()}
        for headers, allowed in ((without_it, False), (with_it, True)):
            answer = await ask(house, operation, headers, path, body(operation, acme))
            if (answer.status in (401, 403)) == allowed:
                wrong.append(f"{operation.name} on {asked_on[operation.name]}: {answer.status} {answer.body}")
    assert not wrong, "\n".join(wrong)
    assert asked > 100


def _unknown(name: str, value: str) -> str:
    """Something that is not there, so that nothing is harmed; a store's permission is asked on the store itself."""
    return value if name in ("store_id", "Tenantry-Store", "role", "tie", "number") else twin(value)


async def _nobodies(house: House, acme: Home) -> dict[str, tuple[Headers, int]]:
    """Who must be refused, and how."""
    good = acme.admin["Authorization"].removeprefix("Bearer ")
    header, claims, _ = opened(good)
    key = await house.node.keyring.signing(Use(Purpose.ACCESS_TOKEN, house.issuer, PLATFORM), Algorithm.ES256)
    now_ms = house.node.clock.now_ms()
    now_s = now_ms // 1000

    def changed(**more: object) -> Headers:
        token = resigned(header, claims | more, lambda m: key.sign(m, key.public.use, now_ms))
        return {"Authorization": f"Bearer {token}"}

    weak, gone = await _service(acme), await _service(acme)
    given = {name: await _token(acme, name) for name in (weak, gone)}
    await acme.made("POST", f"/v1/services/{gone}/deactivate", {})
    assert (await house.client.get("/v1/organization", headers=changed(scope=""))).status_code == 200
    return {
        "nobody": ({}, 401),
        "no token": ({"Authorization": "Bearer"}, 401),
        "a password": ({"Authorization": "Basic YTpi"}, 401),
        "a secret": ({"Authorization": f"Bearer {acme.have['admin_secret']}"}, 401),
        "another audience": (changed(aud="https://api.example.com/"), 401),
        "expired": (changed(iat=now_s - 601, exp=now_s - 1), 401),
        "another issuer": (changed(iss="https://other.example"), 401),
        "a DPoP scheme without a proof": ({"Authorization": f"DPoP {good}"}, 401),
        "another scope": (changed(scope="docs:read"), 403),
        "without a role": (given[weak], 403),
        "suspended": (given[gone], 401),
    }


async def _service(home: Home) -> str:
    return (await home.made("POST", "/v1/services", {"name": "somebody"}))["id"]


async def _token(home: Home, service: str) -> Headers:
    """A token of a service as it gets one."""
    secret = (await home.made("POST", f"/v1/workloads/{service}/secrets", {}))["secret"]
    return {"Authorization": f"Bearer {await secret_token(home.house, service, secret)}"}


async def _callers(home: Home, permissions: set[str]) -> dict[str, tuple[Headers, Headers]]:
    """For each permission a service that has it and as little else as the model lets, and one that has all that does not give it."""
    implied = _implied()
    on_organization = sorted(permissions - ON_A_STORE.keys() - {"can_manage_roles"})
    found: dict[str, tuple[Headers, Headers]] = {}
    for permission in sorted(permissions):
        with_it, without_it = await _service(home), await _service(home)
        store = f"store:{home.have['store_id']}"
        more, less = ON_A_STORE.get(permission, ("", "manager"))
        async with home.ledger.begin() as w:
            if permission == "can_manage_roles":
                relate(w, f"organization:{home.org}", "owner", f"service:{with_it}")
            elif more:
                relate(w, store, more, f"service:{with_it}")
            else:
                _assign(w, home.org, permission, with_it)
            if less:
                relate(w, store, less, f"service:{without_it}")
            for other in on_organization:
                if permission not in implied[other] and not (more and other == "can_manage_stores"):
                    _assign(w, home.org, other, without_it)
            w.record(RoleGiven(with_it, permission, home.org))
        found[permission] = await _token(home, with_it), await _token(home, without_it)
    return found


def _assign(w: WriteSet, org: str, permission: str, service: str) -> None:
    """Assign a service to a role of the organization's own that has one permission."""
    role = f"role:of-{permission}"
    relate(w, f"organization:{org}", permission, f"{role}#assignee")
    relate(w, role, "assignee", f"service:{service}")


def _implied() -> dict[str, set[str]]:
    """Which permissions each permission gives, as the shipped model says: itself, and what names it."""
    defined = dict(re.findall(r"define (can_\w+): (.+)", system_text()))
    gives = {name: {name} for name in defined}
    for _ in defined:
        for name, terms in defined.items():
            for term in re.findall(r"can_\w+", terms):
                gives[term].add(name)
                gives[term] |= gives[name]
    return gives
