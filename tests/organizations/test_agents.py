"""Blueprints and agents: ceilings that only narrow, expiry, sponsors who answer; and visiting agents with users behind them."""

import asyncio

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tenantry.access.ceiling import Allowance, Ceiling, within
from tenantry.core.errors import Invalid, NotFound
from tenantry.core.limits import SET_MAX_EVENTS
from tenantry.organizations import agents, blueprints, groups, parties, ties, users, visitors
from tenantry.organizations.agents import AgentChange, NoSponsor, Wider
from tenantry.organizations.parties import NotActive, PartyKind
from tenantry.organizations.ties import LastSponsor, NotTied
from tenantry.organizations.visitors import AlreadyIn
from tests.organizations.tenants import DAY_MS, HOUR_MS, NARROW, WIDE, Tenant, declared

WIDER = Ceiling((Allowance("document", "viewer"), Allowance("document", "owner")))
NAMES = st.sampled_from(("viewer", "editor", "owner"))
IDS = st.none() | st.lists(st.sampled_from("123"), min_size=1, max_size=3, unique=True).map(tuple)


@st.composite
def allowances(draw: st.DrawFn) -> Allowance:
    objects = draw(IDS)
    relation = draw(NAMES)
    return Allowance("document", relation) if objects is None else Allowance("document", relation, objects)


CEILINGS = st.lists(allowances(), max_size=4).map(lambda many: Ceiling(tuple(many)))


async def status(tenant: Tenant, agent: str) -> str:
    return (await agents.agent(tenant.reads, agent)).status


async def test_an_agent_without_a_ceiling_gets_its_blueprints(acme: Tenant) -> None:
    made = await agents.agent(acme.reads, await acme.agent())
    assert made.ceiling == WIDE
    assert made.path() == (acme.id, made.blueprint_id, made.id)
    assert made.status == "active"


async def test_an_agents_ceiling_is_within_its_blueprints(acme: Tenant) -> None:
    agent = await acme.agent(ceiling=NARROW)
    assert (await agents.agent(acme.reads, agent)).ceiling == NARROW
    with pytest.raises(Wider):
        await acme.agent(ceiling=WIDER)
    await acme.run(agents.change, agent, AgentChange(ceiling=WIDE), acme.now)
    with pytest.raises(Wider):
        await acme.run(agents.change, agent, AgentChange(ceiling=WIDER), acme.now)
    assert (await agents.agent(acme.reads, agent)).ceiling == WIDE


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_no_agent_is_ever_allowed_more_than_its_blueprint(acme: Tenant) -> None:
    blueprint = {}

    @given(CEILINGS, st.lists(CEILINGS, min_size=1, max_size=4))
    def check(parent: Ceiling, children: list[Ceiling]) -> None:
        blueprint[parent] = children

    check()
    for parent, children in blueprint.items():
        made = await acme.blueprint(parent)
        agent = await acme.agent(blueprint_id=made, ceiling=Ceiling(()))
        for child in children:
            try:
                await acme.run(agents.change, agent, AgentChange(ceiling=child), acme.now)
            except Wider:
                assert not within(child, parent)
            kept = (await agents.agent(acme.reads, agent)).ceiling
            assert within(kept, parent)
            assert all(
                parent.allows("document", relation, id_)
                for relation in ("viewer", "editor", "owner")
                for id_ in "1234"
                if kept.allows("document", relation, id_)
            )


async def test_a_blueprints_versions_stand_and_an_agent_moves_only_where_it_fits(acme: Tenant) -> None:
    blueprint = await acme.blueprint()
    agent = await acme.agent(blueprint_id=blueprint)
    assert await acme.run(blueprints.add_version, blueprint, declared(NARROW), acme.now) == 2
    assert (await blueprints.version(acme.reads, blueprint, 1)).ceiling == WIDE
    with pytest.raises(Wider):
        await acme.run(agents.change, agent, AgentChange(blueprint_version=2), acme.now)
    await acme.run(agents.change, agent, AgentChange(blueprint_version=2, ceiling=NARROW), acme.now)
    assert (await agents.agent(acme.reads, agent)).blueprint_version == 2
    with pytest.raises(NotFound):
        await acme.run(agents.change, agent, AgentChange(blueprint_version=3), acme.now)


async def test_an_agent_ends_in_the_future_and_within_its_blueprints_lifetime(acme: Tenant) -> None:
    agent = await acme.agent(ends_at_ms=acme.now + DAY_MS - 10_000)
    for ends in (acme.now - 1, acme.now + 2 * DAY_MS):
        with pytest.raises(Invalid):
            await acme.agent(ends_at_ms=ends)
        with pytest.raises(Invalid):
            await acme.run(agents.change, agent, AgentChange(ends_at_ms=ends), acme.now)


async def test_an_agent_needs_a_sponsor_that_is_active(acme: Tenant) -> None:
    blueprint, gone = await acme.blueprint(), await acme.user()
    await acme.run(users.deactivate, gone)
    with pytest.raises(NotActive):
        await acme.agent(gone, blueprint_id=blueprint)
    new = acme.an_agent(blueprint, sponsors=())
    with pytest.raises(NoSponsor):
        await acme.run(agents.add, acme.new("agent"), new, acme.now)
    await acme.agent(blueprint_id=blueprint)


async def test_an_agent_is_orphaned_when_its_last_active_sponsor_leaves(acme: Tenant) -> None:
    anne, bob = await acme.user(), await acme.user("bob@acme.example", "Bob")
    agent = await acme.agent(anne, bob)
    await acme.run(users.deactivate, anne)
    assert await status(acme, agent) == "active"
    await acme.run(users.deactivate, bob)
    assert await status(acme, agent) == "orphaned"
    orphaned = [event for event in await acme.events() if event["type"] == "agent.orphaned"]
    assert [event["targets"] for event in orphaned] == [[agent, bob]]
    assert [one.id for one in await agents.orphans(acme.reads, "", 10)] == [agent]
    async with acme.begin() as w:
        ties.tie(w, agent, ties.SPONSOR, acme.owner)
    assert await status(acme, agent) == "active"


async def test_a_removed_sponsor_answers_for_nobody(acme: Tenant) -> None:
    anne = await acme.user()
    agent = await acme.agent(anne)
    await acme.run(users.remove, anne)
    assert await status(acme, agent) == "orphaned"
    assert "agent.orphaned" in await acme.told()


async def test_a_group_answers_while_an_active_user_is_in_it(acme: Tenant) -> None:
    anne, service = await acme.user(), await acme.service()
    group = await acme.group("team", anne, service)
    agent = await acme.agent(group)
    assert await status(acme, agent) == "active"
    await acme.run(users.deactivate, anne)
    assert await status(acme, agent) == "orphaned"
    assert "agent.orphaned" in await acme.told()
    await acme.run(parties.reactivate, PartyKind.USER, anne)
    async with acme.begin() as w:
        groups.remove_member(w, group, anne)
    assert await status(acme, agent) == "orphaned"


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_whoever_answers_for_very_many_agents_can_still_be_deactivated(acme: Tenant) -> None:
    anne, blueprint = await acme.user(), await acme.blueprint()
    made = [await acme.agent(anne, blueprint_id=blueprint) for _ in range(ties.ORPHANS_NAMED + 5)]
    assert len(made) < SET_MAX_EVENTS
    await acme.run(users.deactivate, anne)
    assert (await acme.told()).count("agent.orphaned") == ties.ORPHANS_NAMED
    assert len(await agents.orphans(acme.reads, "", 1_000)) == len(made)


async def test_the_only_sponsor_cannot_be_taken_away(acme: Tenant) -> None:
    anne = await acme.user()
    agent = await acme.agent(anne)
    with pytest.raises(LastSponsor):
        async with acme.begin() as w:
            ties.untie(w, agent, ties.SPONSOR, anne)
    async with acme.begin() as w:
        ties.tie(w, agent, ties.SPONSOR, acme.owner)
    async with acme.begin() as w:
        ties.untie(w, agent, ties.SPONSOR, anne)
    with pytest.raises(NotTied):
        async with acme.begin() as w:
            ties.untie(w, agent, ties.SPONSOR, anne)


async def test_two_sponsors_who_are_taken_away_at_once_leave_one(acme: Tenant, rounds: int) -> None:
    anne, bob = await acme.user(), await acme.user("bob@acme.example", "Bob")
    for _ in range(rounds):
        agent = await acme.agent(anne, bob)

        async def untie(sponsor: str, agent: str = agent) -> None:
            async with acme.begin() as w:
                ties.untie(w, agent, ties.SPONSOR, sponsor)

        outcomes = await asyncio.gather(untie(anne), untie(bob), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes if outcome] == [LastSponsor]


async def test_a_deactivated_blueprint_makes_no_agents(acme: Tenant) -> None:
    blueprint = await acme.blueprint()
    await acme.agent(blueprint_id=blueprint)
    await acme.run(parties.deactivate, PartyKind.BLUEPRINT, blueprint)
    assert blueprint in await acme.cuts()
    with pytest.raises(NotActive):
        await acme.agent(blueprint_id=blueprint)
    await acme.run(parties.reactivate, PartyKind.BLUEPRINT, blueprint)
    await acme.agent(blueprint_id=blueprint)


async def test_a_removed_agent_is_gone_and_cut(acme: Tenant) -> None:
    agent = await acme.agent()
    await acme.run(agents.remove, agent)
    assert agent in await acme.cuts()
    with pytest.raises(NotFound):
        await agents.agent(acme.reads, agent)
    with pytest.raises(NotFound):
        await acme.run(agents.remove, agent)


async def test_a_blueprint_names_who_may_invoke_it_of_its_own_organization(acme: Tenant, globex: Tenant) -> None:
    await acme.blueprint(WIDE, acme.owner)
    with pytest.raises(NotFound):
        await acme.blueprint(WIDE, globex.owner)


async def test_a_visiting_agent_comes_in_once_with_users_behind_it(acme: Tenant, globex: Tenant) -> None:
    url, visitor, anne = "https://agents.example/client.json", acme.new("agent"), await acme.user()
    async with acme.begin() as w:
        visitors.let_in(w, visitor, "Visitor", url, NARROW, (anne,), now_ms=acme.now, ends_at_ms=acme.now + HOUR_MS)
    known = await visitors.of_client(acme.reads, url)
    assert (known.id, known.ceiling, known.path()) == (visitor, NARROW, (acme.id, visitor))
    with pytest.raises(AlreadyIn):
        async with acme.begin() as w:
            visitors.let_in(w, acme.new("agent"), "Again", url, NARROW, (), now_ms=acme.now)
    with pytest.raises(NotFound):
        await visitors.of_client(globex.reads, url)
    await acme.run(visitors.limit, visitor, Ceiling(()))
    assert (await visitors.visitor(acme.reads, visitor)).ceiling == Ceiling(())
    async with acme.begin() as w:
        ties.untie(w, visitor, ties.BEHIND, anne)
    with pytest.raises(NotTied):
        async with acme.begin() as w:
            ties.untie(w, visitor, ties.BEHIND, anne)
    await acme.run(visitors.remove, visitor)
    assert visitor in await acme.cuts()
    with pytest.raises(NotFound):
        await visitors.of_client(acme.reads, url)


async def test_an_agent_of_ones_own_is_no_visiting_one(acme: Tenant) -> None:
    agent = await acme.agent()
    with pytest.raises(NotFound):
        await acme.run(parties.deactivate, PartyKind.VISITING_AGENT, agent)
    with pytest.raises(NotFound):
        await visitors.visitor(acme.reads, agent)
    await acme.run(parties.deactivate, PartyKind.AGENT, agent)


async def test_a_visiting_agent_ends_in_the_future(acme: Tenant) -> None:
    for ends, refused in ((acme.now, True), (acme.now + HOUR_MS, False)):
        try:
            async with acme.begin() as w:
                url = f"https://agents.example/{ends}"
                visitors.let_in(w, acme.new("agent"), "V", url, NARROW, (), now_ms=acme.now, ends_at_ms=ends)
        except Invalid:
            assert refused
        else:
            assert not refused
