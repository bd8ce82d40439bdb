"""Duties: one node at a time, fenced, taken over when they lapse."""

import asyncio

import pytest

from tenantry.app.config import Config
from tenantry.cli.demo import ledger
from tenantry.core import scopes
from tenantry.core.errors import NotFound
from tenantry.journal import Duties, NotOurs
from tenantry.journal.duties import DUTY_MS
from tests.stand.clock import ManualClock
from tests.stand.nodes import node_of
from tests.stand.organizations import Organization, open_organization


def two(acme: Organization, clock: ManualClock) -> tuple[str, Duties, Duties]:
    """A duty of this test alone, and two nodes that want it."""
    name = f"test:{acme.id}"
    return name, Duties(acme.node.engine, clock, "node_1"), Duties(acme.node.engine, clock, "node_2")


async def test_a_duty_is_one_nodes_until_it_lapses(acme: Organization, clock: ManualClock) -> None:
    name, ours, theirs = two(acme, clock)
    duty = await ours.take(name)
    clock.advance(DUTY_MS)
    with pytest.raises(NotOurs):
        await theirs.take(name)
    await ours.renew(duty)
    clock.advance(DUTY_MS)
    with pytest.raises(NotOurs):
        await theirs.take(name)
    clock.advance(1)
    assert (await theirs.take(name)).fence > duty.fence
    with pytest.raises(NotOurs):
        await ours.renew(duty)


async def test_of_many_takers_at_once_one_has_the_duty(acme: Organization, clock: ManualClock) -> None:
    name = f"test:{acme.id}"
    takers = (Duties(acme.node.engine, clock, f"node_{n}").take(name) for n in range(10))
    outcomes = await asyncio.gather(*takers, return_exceptions=True)
    assert sum(not isinstance(outcome, NotOurs) for outcome in outcomes) == 1


async def test_a_node_that_lost_its_duty_cannot_write_under_it(acme: Organization, clock: ManualClock) -> None:
    name, ours, theirs = two(acme, clock)
    await acme.add_entry("cash", 5)
    duty = await ours.take(name)
    async with acme.node.journal.begin_duty(acme.scope, duty) as w:
        w.record(ledger.VoucherSpent("under the duty"))
    clock.advance(DUTY_MS + 1)
    successor = await theirs.take(name)
    before = await acme.holdings()
    with pytest.raises(NotOurs):
        async with acme.node.journal.begin_duty(acme.scope, duty) as w:
            w.record(ledger.VoucherSpent("too late"))
    assert await acme.holdings() == before
    async with acme.node.journal.begin_duty(acme.scope, successor) as w:
        w.record(ledger.VoucherSpent("by the successor"))
    assert (await acme.holdings()).head.leaves == before.head.leaves + 1


async def test_a_duty_taken_away_between_reading_and_writing_is_lost(acme: Organization, clock: ManualClock) -> None:
    name, ours, theirs = two(acme, clock)
    duty = await ours.take(name)
    before = await acme.holdings()
    with pytest.raises(NotOurs):
        async with acme.node.journal.begin_duty(acme.scope, duty) as w:
            w.record(ledger.VoucherSpent("read before"))
            clock.advance(DUTY_MS + 1)
            await theirs.take(name)
    assert await acme.holdings() == before


async def test_a_node_that_closes_while_it_takes_a_duty_lets_it_go(fresh: Config) -> None:
    for turns in range(12):
        async with node_of(fresh):
            for _ in range(turns):
                await asyncio.sleep(0)
    async with node_of(fresh) as node:
        acme = await open_organization(node)
        await acme.checkpointed()


async def test_a_duty_writes_no_organization_that_is_not_there(acme: Organization, clock: ManualClock) -> None:
    name, ours, _ = two(acme, clock)
    duty = await ours.take(name)
    with pytest.raises(NotFound):
        async with acme.node.journal.begin_duty(scopes.of_job(acme.node.ids.new("org")), duty) as w:
            w.record(ledger.VoucherSpent("nowhere"))
