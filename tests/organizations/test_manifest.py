"""What an owner's file declares: planned, applied as it was planned, at the revision that was planned at, or not at all."""

import msgspec
import pytest

from tenantry.access.roles import BadRole
from tenantry.access.stores import newest_model
from tenantry.core.errors import Conflict, Invalid
from tenantry.organizations import applications, manifest, resources
from tenantry.organizations.applications import ApplicationKind, NewApplication
from tenantry.organizations.manifest import Applied, Manifest, Plan
from tests.organizations.tenants import Tenant

MODEL = "model\n  schema 1.1\ntype user\ntype document\n  relations\n    define viewer: [user]\n"


def declared(tenant: Tenant, **changed: object) -> Manifest:
    atlas = {"kind": "first_party", "redirect_uris": ["https://atlas.example/back"], "model": MODEL, **changed}
    api = {"name": "API", "scopes": ["read"]}
    given = {
        "tenantry": 1,
        "owner": tenant.id,
        "applications": {"Atlas": atlas},
        "resources": {"https://a.example/": api},
    }
    return msgspec.convert(given, Manifest)


async def planned(tenant: Tenant, wanted: Manifest) -> Plan:
    revision = (await tenant.node.journal.head(tenant.scope)).rev
    return await manifest.plan(tenant.reads, wanted, revision, tenant.node.ids, tenant.now)


async def applied(tenant: Tenant, wanted: Manifest, plan: Plan) -> Applied:
    async with tenant.begin() as w:
        return await manifest.apply(w, tenant.reads, wanted, plan, tenant.node.ids, tenant.now)


def spelled(plan: Plan) -> list[tuple[str, str]]:
    return [(step.action, step.kind) for step in plan.steps]


async def test_what_is_declared_is_made_once(acme: Tenant) -> None:
    wanted = declared(acme)
    plan = await planned(acme, wanted)
    assert spelled(plan) == [("add", "application"), ("add", "model"), ("add", "resource")]
    done = await applied(acme, wanted, plan)
    application = await applications.application(acme.reads, done.applications["Atlas"])
    assert application.redirect_uris == ("https://atlas.example/back",)
    assert await newest_model(acme.reads, application.id)
    assert (await resources.of_indicator(acme.reads, "https://a.example/")).scopes == ("read",)
    before = await acme.told()
    again = await planned(acme, wanted)
    assert again.steps == ()
    assert (await applied(acme, wanted, again)).applications == done.applications
    assert await acme.told() == before


async def test_only_what_differs_is_changed_and_told(acme: Tenant) -> None:
    wanted = declared(acme)
    await applied(acme, wanted, await planned(acme, wanted))
    other = declared(acme, redirect_uris=[], model=MODEL + "    define editor: [user]\n")
    plan = await planned(acme, other)
    assert spelled(plan) == [("change", "application"), ("change", "model")]
    assert plan.steps[1].details == ("+ document#editor",)
    await applied(acme, other, plan)
    assert (await acme.told())[-2:] == ["application.changed", "access.model_written"]


async def test_a_role_is_a_way_to_its_permissions(acme: Tenant) -> None:
    wanted = declared(acme)
    await applied(acme, wanted, await planned(acme, wanted))
    plan = await planned(acme, declared(acme, roles={"document": {"reader": ["viewer"]}}))
    assert plan.steps[0].details == ("~ document#viewer", "+ document#reader")
    with pytest.raises(BadRole):
        await planned(acme, declared(acme, roles={"folder": {"reader": ["viewer"]}}))
    with pytest.raises(Invalid):
        await planned(acme, declared(acme, model="", roles={"document": {"reader": ["viewer"]}}))


async def test_a_plan_is_void_once_its_owner_has_changed(acme: Tenant) -> None:
    wanted = declared(acme)
    plan = await planned(acme, wanted)
    await acme.user()
    with pytest.raises(Conflict):
        await applied(acme, wanted, plan)
    assert [one async for one in applications.all_of(acme.reads)] == []


async def test_another_plan_than_the_one_that_was_shown_is_not_made(acme: Tenant) -> None:
    plan = await planned(acme, declared(acme))
    with pytest.raises(Conflict):
        await applied(acme, declared(acme, redirect_uris=[]), plan)


async def test_a_file_changes_its_owner_alone(acme: Tenant, globex: Tenant) -> None:
    with pytest.raises(Invalid, match="owner"):
        await planned(globex, declared(acme))
    with pytest.raises(Invalid, match="owner"):
        await applied(globex, declared(acme), await planned(acme, declared(acme)))


async def test_an_application_keeps_its_kind_and_needs_a_name_of_its_own(acme: Tenant) -> None:
    wanted = declared(acme)
    await applied(acme, wanted, await planned(acme, wanted))
    with pytest.raises(Invalid, match="stays"):
        await planned(acme, declared(acme, kind="mcp"))
    async with acme.begin() as w:
        applications.add(w, acme.new("app"), NewApplication("Atlas", ApplicationKind.FIRST_PARTY), acme.now)
    with pytest.raises(Conflict, match="Two applications"):
        await planned(acme, wanted)
