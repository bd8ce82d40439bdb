"""A token never says more than what it descends from, and one made by a node that had not heard is dead already."""

from typing import Any

import msgspec
import pytest

from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.core import scopes
from tenantry.core.errors import Ended, NotFound, Stale, TooLarge
from tenantry.core.ids import PLATFORM
from tenantry.core.limits import ACT_DEPTH, CLOCK_SKEW_MS, LEASE_MS
from tenantry.sessions.claims import UNBOUND, Authentication, Minted
from tenantry.sessions.tokens import AccessTokens, BadToken, Expired, TooMuch, WrongAudience
from tenantry.sessions.tree import NoBranch
from tests.stand.clock import ManualClock
from tests.stand.credentials import KEY, RESOURCE, access_tokens, holders, minted
from tests.stand.nodes import looked, node_of
from tests.stand.organizations import Organization, on, open_organization

MINUTE_S = 60
WHO = Authentication(1_700_000_000, "urn:acme:mfa", ("pwd", "otp"))


async def test_the_mint_race_a_cut_between_the_reads_and_the_mint_ends_the_token(
    tokens: AccessTokens, acme: Organization
) -> None:
    for place in (0, 1, 2):
        holder = holders(acme.node, acme.id)["user"]
        at = await tokens.read_at(acme.id)
        revision = await acme.cut(holder.path[place])
        made = await tokens.mint(holder.ask(), at)
        await acme.node.cuts.lineage(acme.id, (), revision)
        with pytest.raises(Ended):
            await tokens.verify(made.token, audience=RESOURCE)
        again = await minted(tokens, acme.id, holder)
        await tokens.verify(again.token, audience=RESOURCE)


async def test_a_node_that_has_not_heard_makes_only_dead_tokens(deployment: Config, node: Node) -> None:
    """It may have read the records before the cut, and said nothing wrong: what it makes dies where the cut is known."""
    acme = await open_organization(node)
    async with _other(deployment, node) as other:
        tokens, elsewhere = access_tokens(other), access_tokens(node)
        holder = holders(node, acme.id)["user"]
        await minted(tokens, acme.id, holder)
        at = await tokens.read_at(acme.id)
        if other is not node:
            await other.following.close()
        revision = await acme.cut(holder.path[1])
        made = await tokens.mint(holder.ask(), at)
        await node.cuts.lineage(acme.id, (), revision)
        with pytest.raises(Ended):
            await elsewhere.verify(made.token, audience=RESOURCE)


async def test_a_node_that_is_behind_what_it_read_makes_nothing(fresh: Config) -> None:
    async with node_of(fresh) as node:
        acme = await open_organization(node)
        tokens, holder = access_tokens(node), holders(node, acme.id)["user"]
        await minted(tokens, acme.id, holder)
        await node.following.close()
        await acme.cut(holder.path[1])
        with pytest.raises(Stale):
            await minted(tokens, acme.id, holder)


async def test_a_kept_token_is_looked_at_again_and_refused_once_the_lease_has_run_out(
    alone: Config, clock: ManualClock
) -> None:
    async with node_of(alone, clock=clock) as node:
        acme = await open_organization(node)
        tokens, holder = access_tokens(node), holders(node, acme.id)["user"]
        token = (await minted(tokens, acme.id, holder)).token
        await tokens.verify(token, audience=RESOURCE)
        await node.following.close()
        clock.advance(LEASE_MS + 1)
        with pytest.raises(Stale):
            await tokens.verify(token, audience=RESOURCE)


@pytest.mark.parametrize(
    ("named", "minutes"),
    [("user", 5), ("agent", 5), ("agent for a user", 5), ("service", 10), ("mcp server", 5), ("job", 5), ("entry", 5)],
)
async def test_a_token_lives_as_long_as_its_class_says_and_ends_at_that_second(
    alone: Config, clock: ManualClock, named: str, minutes: int
) -> None:
    async with node_of(alone, clock=clock) as node:
        acme = await open_organization(node)
        tokens, holder = access_tokens(node), holders(node, acme.id)[named]
        made = await minted(tokens, acme.id, holder)
        assert 0 <= minutes * MINUTE_S - made.expires_in_s <= 1
        await tokens.verify(made.token, audience=RESOURCE, sender=holder.confirmation)
        clock.advance(made.verified.expires_at_ms - clock.now_ms() - 1)
        await looked(node)
        await tokens.verify(made.token, audience=RESOURCE, sender=holder.confirmation)
        clock.advance(1)
        with pytest.raises(Expired):
            await tokens.verify(made.token, audience=RESOURCE, sender=holder.confirmation)
        followed = await minted(tokens, acme.id, holder, followed=True)
        assert (followed.expires_in_s > 30 * MINUTE_S) == (named == "service")


async def test_a_token_of_a_time_that_has_not_come_is_refused(alone: Config, clock: ManualClock) -> None:
    async with node_of(alone, clock=clock) as node:
        acme = await open_organization(node)
        tokens = access_tokens(node)
        clock.advance(CLOCK_SKEW_MS + 2_000)
        made = await minted(tokens, acme.id, holders(node, acme.id)["user"])
        clock._now_ms -= CLOCK_SKEW_MS + 2_000
        with pytest.raises(BadToken):
            await tokens.verify(made.token, audience=RESOURCE)
        clock._now_ms += 2_000
        await tokens.verify(made.token, audience=RESOURCE)


async def test_a_token_is_for_one_resource(tokens: AccessTokens, acme: Organization) -> None:
    token = (await minted(tokens, acme.id, holders(acme.node, acme.id)["user"])).token
    await tokens.verify(token, audience=RESOURCE)
    for other in (RESOURCE[:-1], RESOURCE + "x", "", "https://b.example.com/"):
        with pytest.raises(WrongAudience):
            await tokens.verify(token, audience=other)


@pytest.mark.parametrize("named", ["agent", "agent for a user", "mcp server", "job"])
async def test_agents_jobs_and_mcp_servers_get_no_token_without_a_key(
    tokens: AccessTokens, acme: Organization, named: str
) -> None:
    holder = holders(acme.node, acme.id)[named]
    await minted(tokens, acme.id, holder)
    with pytest.raises(TooMuch):
        await minted(tokens, acme.id, msgspec.structs.replace(holder, confirmation=UNBOUND))


async def test_everybody_in_a_token_stands_in_its_path(tokens: AccessTokens, acme: Organization) -> None:
    both = holders(acme.node, acme.id)["agent for a user"]
    await minted(tokens, acme.id, both)
    for left_out in (both.subject, both.actors[0]):
        path = tuple(branch for branch in both.path if branch != left_out and not branch.startswith("grant_"))
        with pytest.raises(NoBranch):
            await minted(tokens, acme.id, msgspec.structs.replace(both, path=path))
    with pytest.raises(NoBranch):
        await minted(tokens, acme.id, msgspec.structs.replace(both, subject=acme.node.ids.new("user")))
    with pytest.raises(NoBranch):
        session = both.path[2]
        await minted(tokens, acme.id, msgspec.structs.replace(both, subject=session, actors=()))


async def test_a_token_that_would_be_too_large_is_not_made(tokens: AccessTokens, acme: Organization) -> None:
    holder = holders(acme.node, acme.id)["user"]
    await minted(tokens, acme.id, holder, roles=("admin",) * 20)
    for more in ({"roles": ("admin",) * 21}, {"roles": ("r" * 100,) * 20}, {"scope": ("s" * 2_000,)}):
        with pytest.raises(TooLarge):
            await minted(tokens, acme.id, holder, **more)


async def test_a_token_of_an_organization_that_is_not_there_is_not_made(
    tokens: AccessTokens, acme: Organization
) -> None:
    with pytest.raises(NotFound):
        await tokens.read_at(acme.node.ids.new("org"))
    holder = holders(acme.node, acme.id)["user"]
    with pytest.raises(NoBranch):
        await tokens.mint(holder.ask(), await tokens.read_at(PLATFORM))


async def _exchange(tokens: AccessTokens, acme: Organization, parent: Minted, **changed: Any) -> Minted:
    """A token for an agent in exchange for its user's."""
    lineage = parent.verified.principal.lineage
    assert lineage is not None
    agent = changed.pop("agent", None) or acme.node.ids.new("agent")
    given: dict[str, Any] = {
        "path": (*lineage.path, agent),
        "actors": (agent, *parent.verified.principal.chain()[:-1]),
        "confirmation": KEY,
        "authentication": WHO,
        "parent": parent.verified,
        "scope": ("docs:read",),
    }
    holder = holders(acme.node, acme.id)["user"]
    holder = msgspec.structs.replace(holder, subject=parent.verified.claims.sub)
    ask = msgspec.structs.replace(holder.ask(), **(given | changed))
    return await tokens.mint(ask, await tokens.read_at(acme.id))


@pytest.fixture
async def parent(tokens: AccessTokens, acme: Organization) -> Minted:
    """A user's token with everything that an exchange could widen."""
    holder = holders(acme.node, acme.id)["user"]
    details = ({"type": "payment", "most": 10},)
    return await minted(tokens, acme.id, holder, authentication=WHO, authorization_details=details)


async def test_an_exchange_hands_on_what_its_parent_has_and_the_chain_grows_by_one(
    tokens: AccessTokens, acme: Organization, parent: Minted
) -> None:
    first = await _exchange(tokens, acme, parent, authorization_details=({"type": "payment", "most": 10},))
    second = await _exchange(tokens, acme, first)
    assert second.verified.principal.chain()[1:] == first.verified.principal.chain()
    assert second.verified.principal.chain()[-1] == parent.verified.claims.sub
    claims = second.verified.claims
    assert (claims.auth_time, claims.acr, claims.amr) == (WHO.time_s, WHO.acr, list(WHO.amr))
    assert second.verified.expires_at_ms <= parent.verified.expires_at_ms


@pytest.mark.parametrize(
    "wider",
    [
        {"scope": ("docs:read", "docs:erase")},
        {"scope": ("docs",)},
        {"authorization_details": ({"type": "payment", "most": 11},)},
        {"authentication": Authentication(WHO.time_s + 1, WHO.acr, WHO.amr)},
        {"authentication": Authentication(WHO.time_s, "urn:acme:phishing-resistant", WHO.amr)},
        {"authentication": None},
        {"actors": ()},
    ],
)
async def test_an_exchange_for_more_than_the_parent_has_is_refused(
    tokens: AccessTokens, acme: Organization, parent: Minted, wider: dict[str, Any]
) -> None:
    first = await _exchange(tokens, acme, parent)
    await _exchange(tokens, acme, first)
    with pytest.raises(TooMuch):
        await _exchange(tokens, acme, first, **wider)


async def test_agt_05_an_exchange_that_leaves_out_an_actor_or_a_branch_is_refused(
    tokens: AccessTokens, acme: Organization, parent: Minted
) -> None:
    """AGT-05: what came in delegated goes out delegated, and killing any actor in it kills the result."""
    agent, other = acme.node.ids.new("agent"), acme.node.ids.new("agent")
    first = await _exchange(tokens, acme, parent, agent=agent)
    assert first.verified.principal.lineage is not None
    path = first.verified.principal.lineage.path
    with pytest.raises(TooMuch):
        await _exchange(tokens, acme, first, agent=other, actors=(other,))
    with pytest.raises(TooMuch):
        await _exchange(tokens, acme, first, agent=other, path=(*path[:2], agent, other))
    second = await _exchange(tokens, acme, first, agent=other)
    for killed in (agent, other):
        made = second if killed == agent else await _exchange(tokens, acme, parent, agent=other)
        await acme.node.cuts.lineage(acme.id, (), await acme.cut(killed))
        with pytest.raises(Ended):
            await tokens.verify(made.token, audience=RESOURCE, sender=KEY)


async def test_agt_06_a_chain_is_bounded_and_nobody_stands_in_it_twice(
    tokens: AccessTokens, acme: Organization, parent: Minted
) -> None:
    """AGT-06: a chain one longer than the bound, X→Y→X."""
    made, agents = parent, [acme.node.ids.new("agent") for _ in range(ACT_DEPTH + 1)]
    for agent in agents[:-1]:
        made = await _exchange(tokens, acme, made, agent=agent)
    with pytest.raises(TooMuch):
        await _exchange(tokens, acme, made, agent=agents[-1])
    first = await _exchange(tokens, acme, parent, agent=agents[0])
    second = await _exchange(tokens, acme, first, agent=agents[1])
    assert second.verified.principal.lineage is not None
    with pytest.raises(TooMuch):
        path, again = second.verified.principal.lineage.path, (agents[0], agents[1], agents[0])
        await _exchange(tokens, acme, second, path=path, actors=again)


async def test_agt_07_a_token_that_slipped_through_dies_with_its_parent(
    tokens: AccessTokens, acme: Organization, parent: Minted
) -> None:
    """AGT-07: an exchange within the second of a cut that this node has not heard of gives what the cut has killed."""
    session = parent.verified.claims.sub
    await acme.cut(session)
    later = await acme.cut("session_of_another")
    try:
        child = await _exchange(tokens, acme, parent)
    except Ended:
        pass
    else:
        await acme.node.cuts.lineage(acme.id, (), later)
        with pytest.raises(Ended):
            await tokens.verify(child.token, audience=RESOURCE, sender=KEY)
    await acme.node.cuts.lineage(acme.id, (), later)
    with pytest.raises(Ended):
        await _exchange(tokens, acme, parent)


async def test_agt_08_a_child_ends_with_its_parent(alone: Config, clock: ManualClock) -> None:
    """AGT-08: a parent with 20 s left gives 20 s; one that is about to end gives nothing."""
    async with node_of(alone, clock=clock) as node:
        acme = await open_organization(node)
        tokens = access_tokens(node)
        made = await minted(tokens, acme.id, holders(node, acme.id)["user"], authentication=WHO)
        clock.advance(made.verified.expires_at_ms - clock.now_ms() - 20_000)
        await looked(node)
        child = await _exchange(tokens, acme, made)
        assert child.verified.expires_at_ms == made.verified.expires_at_ms
        clock.advance(20_000)
        await looked(node)
        with pytest.raises(Ended):
            await _exchange(tokens, acme, made)
        holder = holders(node, acme.id)["user"]
        short = await minted(tokens, acme.id, holder, ends_at_ms=clock.now_ms() + 20_000)
        assert short.expires_in_s <= 20
        with pytest.raises(Ended):
            await minted(tokens, acme.id, holder, ends_at_ms=clock.now_ms())


async def test_a_child_is_of_its_parents_organization_and_is_bound_if_that_is(
    tokens: AccessTokens, acme: Organization, globex: Organization, parent: Minted
) -> None:
    bound = await minted(tokens, acme.id, holders(acme.node, acme.id)["user"], authentication=WHO)
    await _exchange(tokens, acme, bound)
    theirs = await minted(tokens, globex.id, holders(globex.node, globex.id)["user"], authentication=WHO)
    with pytest.raises((TooMuch, NoBranch)):
        await _exchange(tokens, acme, theirs)


async def test_a_rotated_key_signs_and_the_old_one_still_verifies_until_it_is_cut(
    tokens: AccessTokens, acme: Organization
) -> None:
    made = await minted(tokens, acme.id, holders(acme.node, acme.id)["user"])
    await tokens.verify(made.token, audience=RESOURCE)
    assert made.verified.principal.lineage is not None
    (key,) = made.verified.principal.lineage.platform_path
    platform = Organization(acme.node, scopes.of_platform())
    await acme.node.cuts.lineage(PLATFORM, (), await platform.cut(key))
    with pytest.raises(Ended):
        await tokens.verify(made.token, audience=RESOURCE)


async def test_the_token_of_one_node_is_taken_by_another(deployment: Config, node: Node) -> None:
    acme = await open_organization(node)
    async with _other(deployment, node) as other:
        holder = holders(node, acme.id)["service"]
        made = await minted(access_tokens(node), acme.id, holder)
        verified = await access_tokens(other).verify(made.token, audience=RESOURCE)
        assert verified == made.verified
        assert on(other, acme).id == verified.principal.org


def _other(deployment: Config, node: Node) -> Any:
    """Another node on PostgreSQL; on SQLite the only one there is."""
    return _Same(node) if deployment.database.file else node_of(deployment)


class _Same:
    """A node that is there already."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def __aenter__(self) -> Node:
        return self._node

    async def __aexit__(self, *_: object) -> None:
        return None
