"""Sessions, grants and runs end with what they descend from, and never have more than that."""

import asyncio

import pytest

from tenantry.core.errors import Conflict, Ended, NotFound
from tenantry.sessions import branches
from tenantry.sessions.branches import AlreadyEnded
from tenantry.sessions.tree import RUN_DEPTH, NoBranch
from tests.stand.organizations import Organization
from tests.stand.tree import made

MINUTE_MS = 60_000


async def standing(org: Organization, branch: str) -> branches.Branch:
    """The branch, if nothing has ended it."""
    return await branches.standing(org.reads, branch, org.node.clock.now_ms())


async def test_a_branch_stands_until_it_is_ended_and_then_once_only(acme: Organization) -> None:
    session = await made(acme, "session", acme.node.ids.new("user"))
    assert await standing(acme, session.id) == session
    async with acme.begin() as w:
        await branches.end(w, acme.reads, session.id, acme.node.clock.now_ms(), "signed out")
    with pytest.raises(Ended):
        await standing(acme, session.id)
    with pytest.raises(AlreadyEnded):
        async with acme.begin() as w:
            await branches.end(w, acme.reads, session.id, acme.node.clock.now_ms())


@pytest.mark.parametrize("place", range(5))
async def test_the_cut_of_anything_above_ends_a_branch(acme: Organization, place: int) -> None:
    new = acme.node.ids.new
    user, blueprint, agent = new("user"), new("blueprint"), new("agent")
    grant = await made(acme, "grant", user)
    run = await made(acme, "run", user, grant.id, blueprint, agent, principal=agent, parent=grant.id)
    other = await made(acme, "session", new("user"))
    await standing(acme, run.id)
    await acme.cut(run.path[1:][place])
    with pytest.raises(Ended):
        await standing(acme, run.id)
    await standing(acme, other.id)


async def test_what_is_made_after_a_cut_stands(acme: Organization) -> None:
    user = acme.node.ids.new("user")
    before = await made(acme, "session", user)
    await acme.cut(user)
    after = await made(acme, "session", user)
    await standing(acme, after.id)
    with pytest.raises(Ended):
        await standing(acme, before.id)


async def test_a_branch_that_rests_on_what_was_read_before_a_cut_is_dead_when_it_is_made(acme: Organization) -> None:
    user = acme.node.ids.new("user")
    read_at = (await acme.node.journal.head(acme.scope)).rev
    await acme.cut(user)
    new = branches.New(id=acme.node.ids.new("session"), parent=user, principal=user, above=(acme.id, user), rev=read_at)
    async with acme.begin() as w:
        await branches.make(w, acme.reads, new, acme.node.clock.now_ms())
    with pytest.raises(Ended):
        await standing(acme, new.id)


async def test_a_branch_never_lives_longer_than_what_it_descends_from(acme: Organization) -> None:
    now_ms = acme.node.clock.now_ms()
    user, agent = acme.node.ids.new("user"), acme.node.ids.new("agent")
    grant = await made(acme, "grant", user, ends_at_ms=now_ms + MINUTE_MS)
    above = (user, grant.id, agent)
    for asked, given in ((None, MINUTE_MS), (2 * MINUTE_MS, MINUTE_MS), (1_000, 1_000)):
        ends_at_ms = None if asked is None else now_ms + asked
        run = await made(acme, "run", *above, principal=agent, parent=grant.id, ends_at_ms=ends_at_ms)
        assert run.ends_at_ms == now_ms + given
    with pytest.raises(Ended):
        await made(acme, "run", *above, principal=agent, parent=grant.id, ends_at_ms=now_ms)


async def test_runs_are_nested_to_a_depth_and_below_all_that_their_parent_is_below(acme: Organization) -> None:
    agent, other = acme.node.ids.new("agent"), acme.node.ids.new("agent")
    above: tuple[str, ...] = (agent,)
    for _ in range(RUN_DEPTH):
        run = await made(acme, "run", *above, principal=agent)
        above = (*above, run.id)
    with pytest.raises(NoBranch):
        await made(acme, "run", *above, principal=agent)
    with pytest.raises(NoBranch):
        await made(acme, "run", other, above[1], principal=other)
    with pytest.raises(NoBranch):
        await made(acme, "run", agent, principal=other)


async def test_nothing_is_made_below_what_has_ended(acme: Organization) -> None:
    agent = acme.node.ids.new("agent")
    run = await made(acme, "run", agent, principal=agent)
    await made(acme, "run", agent, run.id, principal=agent)
    async with acme.begin() as w:
        await branches.end(w, acme.reads, run.id, acme.node.clock.now_ms())
    with pytest.raises(Ended):
        await made(acme, "run", agent, run.id, principal=agent)


async def test_a_branch_of_another_organization_does_not_exist(acme: Organization, globex: Organization) -> None:
    session = await made(acme, "session", acme.node.ids.new("user"))
    with pytest.raises(NotFound):
        await standing(globex, session.id)
    with pytest.raises(NotFound):
        async with globex.begin() as w:
            await branches.end(w, globex.reads, session.id, globex.node.clock.now_ms())
    with pytest.raises(NoBranch):
        await made(globex, "run", *session.path[1:])
    await standing(acme, session.id)


async def test_an_id_is_used_once(acme: Organization) -> None:
    session = await made(acme, "session", acme.node.ids.new("user"))
    again = branches.New(
        id=session.id, parent=session.parent, principal=session.principal, above=session.path[:-1], rev=session.rev
    )
    with pytest.raises(Conflict):
        async with acme.begin() as w:
            await branches.make(w, acme.reads, again, acme.node.clock.now_ms())


async def test_of_fifty_who_end_a_branch_one_does(acme: Organization) -> None:
    session = await made(acme, "session", acme.node.ids.new("user"))

    async def end() -> bool:
        try:
            async with acme.begin() as w:
                await branches.end(w, acme.reads, session.id, acme.node.clock.now_ms())
        except AlreadyEnded:
            return False
        return True

    assert sum(await asyncio.gather(*(end() for _ in range(50)))) == 1
