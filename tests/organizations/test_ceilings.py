"""What an agent may at most do is what its record and its blueprint's version say now, and nobody else's organization is asked."""

from tenantry.access.ceiling import Allowance, Ceiling
from tenantry.access.chain import Bound
from tenantry.organizations import agents, visitors
from tenantry.organizations.ceilings import KeptCeilings
from tests.organizations.tenants import NARROW, WIDE, Tenant


async def test_the_ceilings_of_agents_are_their_own_and_their_blueprints(acme: Tenant) -> None:
    blueprint = await acme.blueprint(WIDE)
    plain, narrow = [await acme.agent(blueprint_id=blueprint, ceiling=own) for own in (None, NARROW)]
    visitor = acme.new("agent")
    async with acme.begin() as w:
        visitors.let_in(w, visitor, "V", "https://agents.example/v.json", NARROW, (acme.owner,), now_ms=acme.now)
    declared = Bound("blueprint", blueprint, WIDE)
    unknown = acme.new("agent")
    found = await KeptCeilings(acme.node.journal).of(acme.id, {plain, narrow, visitor, unknown})
    assert found == {
        plain: (Bound("actor", plain, WIDE), declared),
        narrow: (Bound("actor", narrow, NARROW), declared),
        visitor: (Bound("actor", visitor, NARROW),),
    }


async def test_a_ceiling_that_was_lowered_holds_at_once(acme: Tenant) -> None:
    agent, kept = await acme.agent(), KeptCeilings(acme.node.journal)
    assert (await kept.of(acme.id, [agent]))[agent][0].ceiling == WIDE
    lower = Ceiling((Allowance("document", "editor", ("1",)),))
    await acme.run(agents.change, agent, agents.AgentChange(ceiling=lower), acme.now)
    assert (await kept.of(acme.id, [agent]))[agent][0].ceiling == lower


async def test_another_organizations_agent_has_no_ceiling_here(acme: Tenant, globex: Tenant) -> None:
    theirs, kept = await globex.agent(), KeptCeilings(acme.node.journal)
    assert await kept.of(acme.id, [theirs]) == {}
    assert list(await kept.of(globex.id, [theirs])) == [theirs]
