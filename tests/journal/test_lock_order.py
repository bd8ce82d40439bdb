"""Who waits for whom on PostgreSQL: sets and batches of several nodes never wait in a circle, except where their own rows make one.

A node tries again after a deadlock, so the outcome alone would hide it: what is held against these races is PostgreSQL's own count.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.cli.demo import ledger
from tenantry.cli.demo.cluster import Cluster
from tenantry.core import scopes
from tests.stand.deadlocks import deadlocks
from tests.stand.nodes import node_of
from tests.stand.organizations import Organization, on, open_organization

pytestmark = pytest.mark.parametrize("dialect", ["postgres"], indirect=True)

LOCK_HEAD = "SELECT 1 FROM tenantry.heads WHERE org = %s FOR UPDATE"
ADD_GATES = "INSERT INTO tenantry.ledger_members SELECT org, unnest(ARRAY['gate 1', 'gate 2']) FROM tenantry.heads WHERE org = %s"


@asynccontextmanager
async def nodes(config: Config, count: int) -> AsyncIterator[list[Node]]:
    """As many nodes on one database."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(node_of(config)) for _ in range(count)]


@asynccontextmanager
async def stopped_at(
    config: Config, cluster: Cluster, statement: str, organization: Organization
) -> AsyncIterator[Callable[[int], Awaitable[None]]]:
    """Somebody holds rows that the sets of the block will need, until the given number of connections wait in mid-set."""
    database = str(conninfo_to_dict(config.database.app)["dbname"])
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"

    async with await psycopg.AsyncConnection.connect(cluster.conninfo(database)) as holder:

        async def all_stopped(count: int) -> None:
            async with asyncio.timeout(5):
                while await (await holder.execute(waiting, (database,))).fetchone() != (count,):
                    await holder.execute("SELECT pg_stat_clear_snapshot()")

        await holder.execute(statement.encode(), (organization.id,))
        yield all_stopped
        await holder.rollback()


async def spent_once(organization: Organization, voucher: str) -> bool:
    """Whether it was this spender."""
    try:
        await organization.spend(voucher)
    except ledger.AlreadySpent:
        return False
    return True


async def record(organization: Organization, name: str) -> None:
    """A set that only records."""
    async with organization.begin() as w:
        w.record(ledger.MemberAdded(name))


async def test_batches_of_three_nodes_that_spend_the_same_in_any_order_do_not_deadlock(
    fresh: Config, cluster: Cluster, rounds: int
) -> None:
    chance = random.Random(17)
    async with nodes(fresh, 3) as all_nodes:
        organizations = [await open_organization(all_nodes[0]) for _ in range(4)]
        for round_ in range(rounds):
            vouchers = [(organization, f"{round_} {n}") for organization in organizations for n in range(16)]
            spenders: list[asyncio.Task[bool]] = []
            spent = f"INSERT INTO tenantry.ledger_vouchers VALUES (%s, '{round_} 7', 0)"
            async with stopped_at(fresh, cluster, spent, organizations[0]) as all_stopped:
                for node in all_nodes:
                    chance.shuffle(vouchers)
                    spends = (spent_once(on(node, organization), voucher) for organization, voucher in vouchers)
                    spenders += [asyncio.create_task(spend) for spend in spends]
                await all_stopped(3)
            assert (await asyncio.gather(*spenders)).count(True) == len(vouchers)
    assert deadlocks(fresh) == 0


async def test_batches_of_three_nodes_that_record_in_the_same_logs_in_any_order_do_not_deadlock(
    fresh: Config, cluster: Cluster, rounds: int
) -> None:
    chance = random.Random(17)
    async with nodes(fresh, 3) as all_nodes:
        organizations = [await open_organization(all_nodes[0]) for _ in range(16)]
        held = organizations[8]
        for round_ in range(rounds):
            writes: list[asyncio.Task[None]] = []
            async with stopped_at(fresh, cluster, LOCK_HEAD, held) as all_stopped:
                for node in all_nodes:
                    chance.shuffle(organizations)
                    writes += [asyncio.create_task(record(on(node, o), f"{round_} {node.id}")) for o in organizations]
                await all_stopped(3)
            await asyncio.gather(*writes)
        assert {(await o.holdings()).head.leaves for o in organizations} == {1 + 3 * rounds}
    assert deadlocks(fresh) == 0


async def test_aud_04_sets_over_both_logs_do_not_deadlock_with_batches_that_record_in_both(
    fresh: Config, rounds: int
) -> None:
    """AUD-04: sets of an organization and the platform race with batches of other nodes over the same two logs."""
    async with nodes(fresh, 3) as all_nodes:
        acme = await open_organization(all_nodes[0])
        platform = Organization(all_nodes[0], scopes.of_platform())

        async def both(node: Node, name: str) -> None:
            async with on(node, acme).begin(with_platform=True) as w:
                ledger.add_member(w, name)
                assert w.platform is not None
                w.platform.record(ledger.MemberAdded(name))

        for round_ in range(rounds):
            writes: list[Awaitable[None]] = []
            for place, node in enumerate(all_nodes):
                for n in range(20):
                    name = f"{round_} {place} {n}"
                    writes += [record(on(node, acme), name), both(node, name), record(on(node, platform), name)]
            await asyncio.gather(*writes)
        assert (await acme.holdings()).head.leaves == 1 + rounds * 120
    assert deadlocks(fresh) == 0


async def test_ops_21_two_sets_that_write_two_rows_in_opposite_order_are_both_written_once(
    fresh: Config, cluster: Cluster
) -> None:
    """OPS-21: two sets in a real deadlock with each other: the one that PostgreSQL ends is tried again, and both are there once."""
    async with nodes(fresh, 2) as (one, two):
        acme = await open_organization(one)

        async def add(node: Node, *names: str) -> None:
            async with on(node, acme).begin() as w:
                for name in names:
                    ledger.add_member(w, name)

        async with stopped_at(fresh, cluster, ADD_GATES, acme) as all_stopped:
            sets = [
                asyncio.create_task(add(one, "Anne", "gate 1", "Bob")),
                asyncio.create_task(add(two, "Bob", "gate 2", "Anne")),
            ]
            await all_stopped(2)
        await asyncio.gather(*sets)
        held = await acme.holdings()
    assert [row.name for row in held.members] == ["Anne", "Bob", "gate 1", "gate 2"]
    assert [change.rev for change in held.changes] == [1, 2]
    assert len(held.leaves) == 7
    assert deadlocks(fresh) == 1
