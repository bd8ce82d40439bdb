"""What may be presented once is presented once on all nodes, and forgotten only when it could not be presented again anyway."""

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.core.errors import AlreadyDone
from tenantry.journal import Event, NotOurs
from tenantry.oauth.once import KEPT_LONGER_MS, Forgetting, Once, once
from tests.stand.nodes import deployed, node_of
from tests.stand.organizations import Organization, on, open_organization


class Presented(Event, tag="test_oauth.presented", frozen=True):
    """A test presented something."""

    jti: str


def thing(jti: str, until_ms: int = 0, kind: str = "dpop", whose: str = "key") -> Once:
    return Once.of(kind, whose, jti, until_ms or time.time_ns() // 1_000_000 + 60_000)


async def present(org: Organization, presented: Once) -> None:
    """Present it in a set of its own that also records something."""
    async with org.begin() as w:
        once(w, presented)
        w.record(Presented("x"))


async def is_new(org: Organization, presented: Once) -> bool:
    """Whether it counts."""
    try:
        await present(org, presented)
    except AlreadyDone:
        return False
    return True


async def test_a_thing_counts_once_and_a_replay_records_nothing(acme: Organization) -> None:
    await present(acme, thing("a"))
    before = await acme.holdings()
    with pytest.raises(AlreadyDone):
        await present(acme, thing("a"))
    assert await acme.holdings() == before


async def test_ten_10_the_same_text_by_others_of_another_kind_or_in_another_organization_is_another_thing(
    acme: Organization, globex: Organization
) -> None:
    """TEN-10: a `jti` is kept by organization, kind, client and whole text; parts that join alike are not alike."""
    assert await is_new(acme, thing("a" * 256))
    assert not await is_new(acme, thing("a" * 256))
    assert await is_new(acme, thing("a" * 255 + "b"))
    assert await is_new(acme, thing("a" * 256, kind="client_assertion"))
    assert await is_new(acme, thing("a" * 256, whose="another"))
    assert await is_new(acme, thing("ya", whose="ke"))
    assert await is_new(globex, thing("a" * 256))


async def test_a_replay_raced_over_two_nodes_counts_once(fresh: Config, tmp_path: Path, rounds: int) -> None:
    async with AsyncExitStack() as nodes:
        acme = await open_organization(await nodes.enter_async_context(node_of(fresh)))
        seen_by = [acme]
        if not fresh.database.file:
            other = await deployed(fresh.where(), tmp_path / "state of another")
            seen_by.append(on(await nodes.enter_async_context(node_of(other)), acme))
        for number in range(rounds):
            presented = thing(f"raced {number}")
            counted = await asyncio.gather(*(is_new(seen_by[n % len(seen_by)], presented) for n in range(20)))
            assert sum(counted) == 1


async def test_what_is_over_is_forgotten_and_what_is_not_stays(node: Node, acme: Organization) -> None:
    now_ms = node.clock.now_ms()
    over, not_over = thing("over", now_ms - KEPT_LONGER_MS - 1), thing("not over", now_ms - KEPT_LONGER_MS + 60_000)
    await present(acme, over)
    await present(acme, not_over)
    await forget(node)
    assert await is_new(acme, over)
    assert not await is_new(acme, not_over)


async def test_a_node_forgets_by_itself_while_it_runs(node: Node, acme: Organization) -> None:
    over = thing("over", node.clock.now_ms() - KEPT_LONGER_MS - 1)
    await present(acme, over)
    async with asyncio.timeout(30):
        while not await is_new(acme, over):
            await node.engine.changed(0.1)


async def forget(node: Node) -> None:
    """Do the work under a duty of the test's own, until a round is over."""
    work = Forgetting(node.engine, node.journal, node.clock)
    duty = await node.duties.take("forgetting of a test")
    async for org in work.backlog():
        await work.do(org, duty)
    await node.duties.release(duty)


async def test_a_node_that_lost_the_duty_forgets_nothing(node: Node, acme: Organization) -> None:
    over = thing("over", node.clock.now_ms() - KEPT_LONGER_MS - 1)
    await present(acme, over)
    work = Forgetting(node.engine, node.journal, node.clock)
    lost = await node.duties.take("duty of a test")
    await node.duties.release(lost)
    await node.duties.release(await node.duties.take("duty of a test"))
    with pytest.raises(NotOurs):
        await work.do(acme.id, lost)
