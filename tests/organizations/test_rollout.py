"""Stores are taken to their application's newest model, only forward, an organization at a time."""

import pytest

from tenantry.access.language import parse
from tenantry.access.stores import add_model, make_store_in, move_forward, store_of
from tenantry.core import scopes
from tenantry.core.errors import Conflict
from tenantry.core.ids import PLATFORM
from tenantry.core.principal import Principal
from tenantry.journal import Origin
from tenantry.organizations import applications
from tenantry.organizations.applications import ApplicationKind, NewApplication
from tenantry.organizations.rollout import Moved, move_stores
from tests.organizations.stock import OPERATOR
from tests.organizations.tenants import Tenant

MODEL = parse("model\n  schema 1.1\ntype user\n").model


def platform(tenant: Tenant) -> Tenant:
    return Tenant(tenant.node, scopes.of_platform(), "")


async def written(owner: Tenant, application: str) -> str:
    async with owner.begin() as w:
        return add_model(w, owner.node.ids, application, MODEL, owner.now)


async def an_application(owner: Tenant) -> str:
    made = owner.new("app")
    async with owner.begin() as w:
        applications.add(w, made, NewApplication("Atlas", ApplicationKind.FIRST_PARTY), owner.now)
    return made


async def a_store(tenant: Tenant, owner: str, application: str, model: str) -> str:
    async with tenant.begin() as w:
        return make_store_in(w, tenant.node.ids, owner, application, model, "docs", tenant.now).id


async def move(owner: Tenant, actor: Principal, application: str) -> tuple[int, int]:
    """Moved and behind, over all pages."""
    moved, behind, page = 0, 0, Moved(None, 0, 0, "")
    while page.next is not None:
        page = await move_stores(
            owner.node.journal,
            owner.node.engine,
            owner.scope,
            actor,
            Origin(),
            application=application,
            after=page.next,
            now_ms=owner.now,
        )
        moved, behind = moved + page.moved, behind + page.behind
    return moved, behind


async def test_the_platforms_application_moves_every_organizations_stores_and_each_log_says_so(
    acme: Tenant, globex: Tenant
) -> None:
    owner = platform(acme)
    application = await an_application(owner)
    first = await written(owner, application)
    stores = [(tenant, await a_store(tenant, PLATFORM, application, first)) for tenant in (acme, globex)]
    assert await move(owner, OPERATOR, application) == (0, 0)
    newest = await written(owner, application)
    assert await move(owner, OPERATOR, application) == (2, 0)
    for tenant, store in stores:
        assert (await store_of(tenant.reads, store)).model == newest
        last = (await tenant.events())[-1]
        assert (last["type"], last["actor"]) == ("access.model_pinned", [OPERATOR.id])
    assert await move(owner, OPERATOR, application) == (0, 0)


async def test_an_organizations_application_moves_its_own_stores_alone(acme: Tenant, globex: Tenant) -> None:
    application = await an_application(acme)
    first = await written(acme, application)
    mine = await a_store(acme, acme.id, application, first)
    theirs = await a_store(globex, acme.id, application, first)
    newest = await written(acme, application)
    assert await move(acme, Principal(acme.owner, acme.id, None), application) == (1, 0)
    assert (await store_of(acme.reads, mine)).model == newest
    assert (await store_of(globex.reads, theirs)).model == first


async def test_no_store_goes_back(acme: Tenant) -> None:
    application = await an_application(acme)
    older, newer = await written(acme, application), await written(acme, application)
    store = await store_of(acme.reads, await a_store(acme, acme.id, application, newer))
    with pytest.raises(Conflict):
        async with acme.begin() as w:
            move_forward(w, store, older, acme.now)
    assert (await store_of(acme.reads, store.id)).model == newer
