"""Roles, groups and standing, as the engine decides by them: what this room keeps is what the access room answers."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from tenantry.access.decision_log import DecisionLog
from tenantry.access.decisions import At, Decisions
from tenantry.access.graphs import Graphs
from tenantry.access.models import Models
from tenantry.access.system import SYSTEM_STORE
from tenantry.access.tuples import TupleKey
from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.organizations import groups, organization, parties, roles, services, users
from tenantry.organizations.membership import Memberships
from tenantry.organizations.parties import PartyKind
from tenantry.organizations.roles import subject_of
from tenantry.organizations.standing import Standings
from tests.organizations.tenants import Tenant, begun
from tests.stand.nodes import node_of


class Deciding(msgspec.Struct, frozen=True, eq=False):
    """An organization on a node that decides."""

    tenant: Tenant
    decisions: Decisions

    async def may(self, who: str, relation: str) -> bool:
        """Whether a principal may, in the organization, by everything that was written."""
        scope = self.tenant.scope
        rev = (await self.tenant.node.journal.head(scope)).rev
        key = TupleKey(subject_of(who), relation, f"organization:{self.tenant.id}")
        return (await self.decisions.check(scope, SYSTEM_STORE, key, at=At(revision=rev))).allowed


@pytest.fixture
async def acme(fresh: Config) -> AsyncIterator[Deciding]:
    """An organization on a node of its own."""
    made: list[tuple[Graphs, DecisionLog, Decisions]] = []

    def add(node: Node) -> None:
        models, standings = Models(node.journal), Standings(node.journal, node.clock)
        graphs = Graphs(node.journal, models, node.lease, node.clock, [Memberships()])
        node.following.add(standings)
        node.following.add(graphs)
        log = DecisionLog(node.journal, node.clock, node.ids)
        made.append((graphs, log, Decisions(graphs, models, log, standings)))

    async with node_of(fresh, on_open=add) as node:
        ((graphs, log, decisions),) = made
        log.start()
        yield Deciding(await begun(node, "acme"), decisions)
        await graphs.close()
        decisions.close()
        await log.close()


async def test_the_first_owner_may_everything_and_who_has_no_role_nothing(acme: Deciding) -> None:
    tenant, anne = acme.tenant, await acme.tenant.user()
    for relation in ("can_manage_roles", "can_manage_users", "can_read_audit", "can_read_organization"):
        assert await acme.may(tenant.owner, relation)
        assert not await acme.may(anne, relation)


async def test_a_role_is_what_it_allows_until_it_is_taken(acme: Deciding) -> None:
    tenant, anne = acme.tenant, await acme.tenant.user()
    async with tenant.begin() as w:
        roles.give(w, "admin", anne)
    assert await acme.may(anne, "can_manage_users")
    assert not await acme.may(anne, "can_manage_roles")
    await tenant.run(roles.take, "admin", anne)
    assert not await acme.may(anne, "can_manage_users")


async def test_a_groups_role_is_its_members_while_they_are_in_it(acme: Deciding) -> None:
    tenant, anne, service = acme.tenant, await acme.tenant.user(), await acme.tenant.service()
    group = await tenant.group("admins", anne, service)
    async with tenant.begin() as w:
        roles.give(w, "admin", group)
    for member in (anne, service):
        assert await acme.may(member, "can_manage_users")
        async with tenant.begin() as w:
            groups.remove_member(w, group, member)
        assert not await acme.may(member, "can_manage_users")
        async with tenant.begin() as w:
            groups.add_member(w, group, member, tenant.now)
        assert await acme.may(member, "can_manage_users")
    await tenant.run(groups.remove, group)
    assert not await acme.may(anne, "can_manage_users")


async def test_an_agent_gets_nothing_of_tenantry_itself_by_a_group(acme: Deciding) -> None:
    tenant, anne = acme.tenant, await acme.tenant.user()
    agent = await tenant.agent()
    group = await tenant.group("admins", anne, agent)
    async with tenant.begin() as w:
        roles.give(w, "admin", group)
    assert await acme.may(anne, "can_manage_users")
    assert not await acme.may(agent, "can_manage_users")


async def test_whoever_lost_access_may_nothing_and_everything_again_when_let_in(acme: Deciding) -> None:
    tenant, anne, service = acme.tenant, await acme.tenant.user(), await acme.tenant.service()
    async with tenant.begin() as w:
        roles.give(w, "admin", anne)
        roles.give(w, "admin", service)
    for kind, one in ((PartyKind.USER, anne), (PartyKind.SERVICE, service)):
        assert await acme.may(one, "can_manage_users")
        await tenant.run(parties.deactivate, kind, one)
        assert not await acme.may(one, "can_manage_users")
        await tenant.run(parties.reactivate, kind, one)
        assert await acme.may(one, "can_manage_users")
    await tenant.run(users.remove, anne)
    await tenant.run(services.remove, service)
    assert not await acme.may(anne, "can_manage_users")
    assert not await acme.may(service, "can_manage_users")


async def test_nobody_may_anything_in_a_suspended_organization(acme: Deciding) -> None:
    tenant = acme.tenant
    assert await acme.may(tenant.owner, "can_manage_users")
    await tenant.run(organization.suspend, "Unpaid.")
    assert not await acme.may(tenant.owner, "can_manage_users")
    await tenant.run(organization.resume)
    assert await acme.may(tenant.owner, "can_manage_users")
