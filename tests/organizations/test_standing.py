"""Who is active, as a node says it: at once where it was asked, and elsewhere as soon as it has heard."""

import asyncio

import pytest

from tenantry.access.sources import Standing, TupleSource
from tenantry.access.tuples import TupleKey
from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.journal.schema import CHANGES
from tenantry.organizations import groups, jobs, lifecycle, organization, parties, users
from tenantry.organizations.membership import Memberships
from tenantry.organizations.parties import PartyKind
from tenantry.organizations.standing import Standings
from tests.organizations.stock import stocked
from tests.organizations.tenants import HOUR_MS, Tenant
from tests.stand.clock import ManualClock
from tests.stand.followers import Heard
from tests.stand.nodes import node_of


@pytest.fixture
def standings(acme: Tenant) -> Standings:
    """A node's, which is told of changes by hand."""
    return Standings(acme.node.journal, acme.node.clock)


async def tell(tenant: Tenant, standings: Standings) -> None:
    for change in await tenant.reads.all(CHANGES, after=0, most=10_000):
        standings.apply(change)


async def test_every_kind_of_principal_stands_until_it_is_deactivated(acme: Tenant, standings: Standings) -> None:
    have, asked = await stocked(acme), Standings(acme.node.journal, acme.node.clock)
    as_declared: Standing = standings
    for name, kind in (
        ("user_id", PartyKind.USER),
        ("agent_id", PartyKind.AGENT),
        ("visitor_id", PartyKind.VISITING_AGENT),
        ("service_id", PartyKind.SERVICE),
        ("server_id", PartyKind.MCP_SERVER),
        ("job_id", PartyKind.JOB),
        ("application_id", PartyKind.APPLICATION),
    ):
        assert await as_declared.active(acme.id, have[name]), name
        await acme.run(parties.deactivate, kind, have[name])
        await tell(acme, standings)
        assert not await as_declared.active(acme.id, have[name]), name
        assert not await asked.active(acme.id, have[name])
        if kind is not PartyKind.JOB:
            await acme.run(parties.reactivate, kind, have[name])


async def test_nobody_stands_in_another_organization_or_unknown(
    acme: Tenant, globex: Tenant, standings: Standings
) -> None:
    assert await standings.active(acme.id, acme.owner)
    assert not await standings.active(globex.id, acme.owner)
    assert not await standings.active(acme.id, acme.new("user"))
    assert not await standings.active(acme.new("org"), acme.owner)


async def test_nobody_stands_in_a_suspended_or_deleted_organization(acme: Tenant, standings: Standings) -> None:
    assert await standings.active(acme.id, acme.owner)
    await acme.run(organization.suspend, "Unpaid.")
    await tell(acme, standings)
    assert not await standings.active(acme.id, acme.owner)
    await acme.run(organization.resume)
    await tell(acme, standings)
    assert await standings.active(acme.id, acme.owner)
    async with acme.begin(with_platform=True) as w:
        await lifecycle.kill(w, acme.reads, acme.node.keyring, "They left.")
    await tell(acme, standings)
    assert not await standings.active(acme.id, acme.owner)


async def test_an_agent_stands_with_its_blueprint_and_its_sponsors(acme: Tenant, standings: Standings) -> None:
    anne = await acme.user()
    group, blueprint = await acme.group("team", anne), await acme.blueprint()
    agent = await acme.agent(group, blueprint_id=blueprint)
    assert await standings.active(acme.id, agent)
    for use_case in (parties.deactivate, parties.reactivate):
        await acme.run(use_case, PartyKind.BLUEPRINT, blueprint)
        await tell(acme, standings)
        assert await standings.active(acme.id, agent) == (use_case is parties.reactivate)
    async with acme.begin() as w:
        groups.remove_member(w, group, anne)
    await tell(acme, standings)
    assert not await standings.active(acme.id, agent)
    async with acme.begin() as w:
        groups.add_member(w, group, anne, acme.now)
    await tell(acme, standings)
    assert await standings.active(acme.id, agent)
    await acme.run(users.deactivate, anne)
    await tell(acme, standings)
    assert not await standings.active(acme.id, agent)


async def test_a_job_stands_with_its_initiator_and_until_its_deadline(acme: Tenant) -> None:
    clock, anne, job = ManualClock(), await acme.user(), acme.new("job")
    standings = Standings(acme.node.journal, clock)
    ends = clock.now_ms() + HOUR_MS
    async with acme.begin() as w:
        jobs.add(w, job, acme.new("run"), "Nightly", anne, now_ms=clock.now_ms(), ends_at_ms=ends)
    assert await standings.active(acme.id, job)
    clock.advance(HOUR_MS)
    assert not await standings.active(acme.id, job)
    clock.advance(-HOUR_MS)
    assert await standings.active(acme.id, job)
    await acme.run(users.deactivate, anne)
    await tell(acme, standings)
    assert not await standings.active(acme.id, job)


async def test_an_answer_is_never_from_before_the_revision_that_is_asked_for(
    acme: Tenant, standings: Standings
) -> None:
    anne = await acme.user()
    assert await standings.active(acme.id, anne)
    await acme.run(users.deactivate, anne)
    rev = (await acme.node.journal.head(acme.scope)).rev
    assert await standings.active(acme.id, anne)  # nobody told it
    assert not await standings.active(acme.id, anne, at_least=rev)


async def test_an_answer_that_a_change_overtook_is_not_kept(acme: Tenant, standings: Standings, rounds: int) -> None:
    for _ in range(rounds):
        anne = await acme.user()
        await asyncio.gather(standings.active(acme.id, anne), acme.run(users.deactivate, anne), tell(acme, standings))
        await tell(acme, standings)
        assert not await standings.active(acme.id, anne)


async def test_what_is_kept_is_bounded_and_what_was_forgotten_is_read_again(acme: Tenant, globex: Tenant) -> None:
    standings = Standings(acme.node.journal, acme.node.clock, kept=2)
    for _ in range(2):
        for tenant in (acme, globex):
            for principal in (tenant.owner, await tenant.user(), await tenant.service()):
                assert await standings.active(tenant.id, principal)


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_another_node_says_no_once_it_has_heard(acme: Tenant, deployment: Config) -> None:
    heard = Heard()

    def follow(node: Node) -> None:
        standings.append(Standings(node.journal, node.clock))
        node.following.add(standings[0])
        heard(node)

    standings: list[Standings] = []
    async with node_of(deployment, on_open=follow):
        anne = await acme.user()
        assert await standings[0].active(acme.id, anne)
        await acme.run(users.deactivate, anne)
        await heard.until(acme.id, (await acme.node.journal.head(acme.scope)).rev)
        assert not await standings[0].active(acme.id, anne)


async def test_memberships_are_tuples_of_the_group(acme: Tenant, globex: Tenant) -> None:
    source: TupleSource = Memberships()
    anne, service = await acme.user(), await acme.service()
    one, other = await acme.group("one", anne, service), await acme.group("other", anne)
    await globex.group("theirs", globex.owner)
    expected = [
        TupleKey(f"service:{service}", "member", f"group:{one}"),
        TupleKey(f"user:{anne}", "member", f"group:{one}"),
        TupleKey(f"user:{anne}", "member", f"group:{other}"),
    ]
    assert [key async for keys in source.load(acme.reads) for key in keys] == expected
    assert [key async for keys in source.of(acme.reads, one) for key in keys] == expected[:2]
    await acme.run(groups.remove, one)
    assert [key async for keys in source.of(acme.reads, one) for key in keys] == []
    assert [key async for keys in source.of(globex.reads, other) for key in keys] == []


async def test_whatever_changes_a_groups_members_names_the_group(acme: Tenant) -> None:
    anne = await acme.user()
    group = await acme.group("team")
    begun_at = (await acme.node.journal.head(acme.scope)).rev
    async with acme.begin() as w:
        groups.add_member(w, group, anne, acme.now)
    async with acme.begin() as w:
        groups.remove_member(w, group, anne)
    async with acme.begin() as w:
        groups.add_member(w, group, anne, acme.now)
    await acme.run(users.remove, anne)
    await acme.run(groups.remove, group)
    changes = await acme.reads.all(CHANGES, after=begun_at, most=10)
    assert [group in change.touched_ids() for change in changes] == [True] * 5
