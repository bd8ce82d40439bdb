"""Many writers at once: what commutes, what happens once, gapless numbers, fair and bounded queues, cancelled callers."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.cli.demo import ledger
from tenantry.core.errors import Conflict, TenantryError, Throttled
from tenantry.core.limits import QUEUE_MAX_SETS
from tenantry.store import Survey
from tenantry.store.postgres import CONNECTIONS
from tests.faults.storage import until
from tests.stand.held import writes_held
from tests.stand.nodes import node_of
from tests.stand.organizations import Holdings, Organization, on, open_organization

TENANT_SET = Survey("tenant_set", "SELECT current_setting('tenantry.org', true)", {}, role="app")


async def outcomes_of(*writes: Awaitable[Any]) -> list[TenantryError | None]:
    """What became of each; anything but a refusal of ours is raised."""
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, TenantryError):
            raise outcome
    return [outcome if isinstance(outcome, TenantryError) else None for outcome in outcomes]


def assert_gapless(held: Holdings) -> None:
    """Revisions and leaves are numbered without a gap, and leaves are in order of revision."""
    assert [change.rev for change in held.changes] == list(range(1, held.head.rev + 1))
    assert [leaf.index for leaf in held.leaves] == list(range(held.head.leaves))
    revisions = [leaf.revision for leaf in held.leaves if leaf.revision]
    assert revisions == sorted(revisions)


@asynccontextmanager
async def nodes(config: Config, node: Node, more: int) -> AsyncIterator[list[Node]]:
    """The run's node and, on PostgreSQL, as many more on the same database."""
    async with AsyncExitStack() as stack:
        others = more if node.engine.dialect == "postgres" else 0
        yield [node, *[await stack.enter_async_context(node_of(config)) for _ in range(others)]]


async def test_fifty_adders_are_fifty_members(deployment: Config, acme: Organization) -> None:
    async with nodes(deployment, acme.node, 2) as all_nodes:
        await asyncio.gather(*(on(all_nodes[n % len(all_nodes)], acme).add_member(f"{n:02}") for n in range(50)))
    held = await acme.holdings()
    assert [row.name for row in held.members] == [f"{n:02}" for n in range(50)]
    assert held.head.rev == 50
    assert_gapless(held)


async def test_fifty_spenders_of_one_voucher_are_one(deployment: Config, acme: Organization, rounds: int) -> None:
    async with nodes(deployment, acme.node, 2) as all_nodes:
        for round_ in range(rounds):
            spenders = (on(all_nodes[n % len(all_nodes)], acme).spend(f"voucher {round_}") for n in range(50))
            refusals = await outcomes_of(*spenders)
            assert refusals.count(None) == 1
            assert {type(refusal) for refusal in refusals if refusal} == {ledger.AlreadySpent}
    held = await acme.holdings()
    assert len(held.vouchers) == len(held.leaves) - 1 == rounds


async def test_fifty_correctors_lose_no_correction(acme: Organization) -> None:
    entry = await acme.add_entry(amount=0)

    async def correct() -> None:
        async with acme.begin() as w:
            await ledger.correct_entry(w, acme.reads, entry, 1)

    refusals = await outcomes_of(*(correct() for _ in range(50)))
    held = await acme.holdings()
    assert {type(refusal) for refusal in refusals if refusal} <= {Conflict}
    assert held.entries[0].amount == refusals.count(None) >= 1
    assert held.head.rev == 1 + refusals.count(None)


@given(
    plan=st.lists(st.tuples(st.sampled_from(["entry", "member", "spend", "cut", "bad"]), st.booleans()), max_size=32)
)
async def test_numbers_have_no_gap_whatever_is_written_at_once(node: Node, plan: list[tuple[str, bool]]) -> None:
    acme, globex = await open_organization(node), await open_organization(node)
    await acme.spend("spent")
    await globex.spend("spent")

    def write(number: int, what: str, organization: Organization) -> Awaitable[Any]:
        match what:
            case "entry":
                return organization.add_entry()
            case "member":
                return organization.add_member(f"member {number}")
            case "spend":
                return organization.spend(f"voucher {number}")
            case "cut":
                return organization.cut(f"session_{number}")
            case _:
                return organization.spend("spent")

    refusals = await outcomes_of(*(write(n, what, acme if ours else globex) for n, (what, ours) in enumerate(plan)))
    assert [refusal is not None for refusal in refusals] == [what == "bad" for what, _ in plan]
    for organization, ours in ((acme, True), (globex, False)):
        held = await organization.holdings()
        assert_gapless(held)
        made = [what for what, whose in plan if whose is ours]
        assert held.head.rev == sum(what in ("entry", "member", "cut") for what in made)
        assert held.head.leaves == 2 + sum(what != "bad" for what in made)


@pytest.mark.parametrize("bad", ["refused", "raised", "cancelled", "contradicts"])
async def test_ops_02_a_bad_set_of_a_group_fails_alone(deployment: Config, acme: Organization, bad: str) -> None:
    """OPS-02: of a hundred sets that share a group commit, one is bad: it alone fails and the ninety-nine are there."""
    await acme.spend("spent")

    async def contradict() -> None:
        async with acme.begin() as w:
            w.write(ledger.SPEND, otherwise=ledger.AlreadySpent, voucher=None, spent_at=1)
            w.record(ledger.VoucherSpent("nothing"))

    async def raise_in_it() -> None:
        async with acme.begin() as w:
            ledger.add_member(w, "half")
            raise LookupError

    async with writes_held(deployment, acme):
        good = [asyncio.create_task(acme.spend(f"voucher {n}")) for n in range(50)]
        wrong = {
            "refused": lambda: acme.spend("spent"),
            "raised": raise_in_it,
            "cancelled": lambda: acme.spend("cancelled"),
            "contradicts": contradict,
        }[bad]
        one = asyncio.create_task(wrong())
        good += [asyncio.create_task(acme.spend(f"voucher {n}")) for n in range(50, 99)]
        await asyncio.sleep(0)
        if bad == "cancelled":
            one.cancel()
        assert not any(task.done() for task in good)
    outcome = (await asyncio.gather(one, return_exceptions=True))[0]
    await asyncio.gather(*good)
    expected = {
        "refused": ledger.AlreadySpent,
        "raised": LookupError,
        "cancelled": asyncio.CancelledError,
        "contradicts": Conflict,
    }
    assert type(outcome) is expected[bad]
    held = await acme.holdings()
    names = {row.name for row in held.vouchers}
    assert {f"voucher {n}" for n in range(99)} <= names <= {f"voucher {n}" for n in range(99)} | {"spent", "cancelled"}
    assert len(held.leaves) == 1 + len(names)
    assert held.members == []
    assert_gapless(held)


async def test_ops_20_a_set_whose_caller_vanished_is_whole_or_absent(
    deployment: Config, acme: Organization, rounds: int
) -> None:
    """OPS-20: of 2,000 sets the callers of a third vanish at any moment: no half set, and within a second no transaction, lock,
    tenant or task is left and every connection can be had."""
    chance = random.Random(20)

    async def vanish(task: asyncio.Task[Any]) -> None:
        for _ in range(chance.randrange(40)):
            await asyncio.sleep(0)
        task.cancel()

    tasks_before = _tasks()
    for round_ in range(rounds):
        writes = [acme.spend(f"{round_} {n}") if n % 2 else acme.add_member(f"{round_} {n}") for n in range(400)]
        tasks = [asyncio.create_task(write) for write in writes]
        await asyncio.gather(*(vanish(task) for task in tasks[::3]))
        refusals = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(refusal is None or isinstance(refusal, asyncio.CancelledError) for refusal in refusals)

    async def nothing_left() -> bool:
        return not (_tasks() - tasks_before or await _left_behind(deployment))

    await until(nothing_left, 1, "no transaction, lock or task is left")
    await _every_connection_is_there(deployment, acme)
    held = await acme.holdings()
    assert len(held.leaves) == 1 + len(held.members) + len(held.vouchers)
    assert held.head.rev == len(held.members)
    assert_gapless(held)


def _tasks() -> set[asyncio.Task[Any]]:
    """Every task of this loop but the one that asks."""
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def _left_behind(deployment: Config) -> list[Any]:
    """Sessions in a transaction, locks and tenants of the node's, as whoever owns the database sees them."""
    if deployment.database.file:
        with closing(sqlite3.connect(deployment.database.file, timeout=0.5)) as other:
            other.execute("BEGIN IMMEDIATE")  # which an open transaction or savepoint would not let in
        return []
    given = {**conninfo_to_dict(deployment.database.migrator), "user": "postgres"}
    async with await psycopg.AsyncConnection.connect(make_conninfo("", **given), autocommit=True) as superuser:
        found = await superuser.execute(
            "SELECT a.pid, a.state, l.mode FROM pg_stat_activity a LEFT JOIN pg_locks l ON l.pid = a.pid AND l.locktype <> 'virtualxid' "
            "WHERE a.datname = current_database() AND a.usename = 'tenantry_app' AND (a.state <> 'idle' OR l.pid IS NOT NULL)"
        )
        return await found.fetchall()


async def _every_connection_is_there(deployment: Config, acme: Organization) -> None:
    """As many organizations' sets as the node may hold connections wait for a lock at once, within a second, and all go through."""
    if deployment.database.file:
        await asyncio.gather(*(acme.add_member(f"last {n}") for n in range(CONNECTIONS)))
        return
    given = {**conninfo_to_dict(deployment.database.migrator), "user": "postgres"}
    async with await psycopg.AsyncConnection.connect(make_conninfo("", **given)) as superuser:
        others = [acme, *[await open_organization(acme.node) for _ in range(CONNECTIONS - 1)]]
        locked = [organization.id for organization in others]
        await superuser.execute("SELECT 1 FROM tenantry.heads WHERE org = ANY(%s) FOR UPDATE", (locked,))
        writing = [asyncio.create_task(organization.add_member("last")) for organization in others]
        asked = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND usename = 'tenantry_app' AND wait_event_type = 'Lock'"
        )

        async def all_wait() -> bool:
            await superuser.execute("SELECT pg_stat_clear_snapshot()")
            return await (await superuser.execute(asked)).fetchone() == (CONNECTIONS,)

        await until(all_wait, 1, "every connection is in use")
        await superuser.rollback()
        await asyncio.gather(*writing)
        settings = await asyncio.gather(*(acme.node.engine.survey(TENANT_SET) for _ in range(CONNECTIONS)))
        assert {rows[0][0] for rows in settings} <= {"", None}


async def test_callers_that_all_vanish_do_not_hold_up_those_behind_them(deployment: Config, acme: Organization) -> None:
    tasks = [asyncio.create_task(acme.spend(f"{n:03}")) for n in range(600)]
    await asyncio.sleep(0)
    for task in tasks[:560]:
        task.cancel()
    async with asyncio.timeout(10):
        await asyncio.gather(*tasks[560:])
    await asyncio.gather(*tasks, return_exceptions=True)
    assert {f"{n:03}" for n in range(560, 600)} <= {row.name for row in (await acme.holdings()).vouchers}


async def test_a_full_queue_throttles_and_writes_nothing_of_what_it_refused(
    deployment: Config, acme: Organization
) -> None:
    async with writes_held(deployment, acme):
        first = asyncio.create_task(acme.spend("first"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # SQLite's writer is woken a turn later, and takes the first alone
        waiting = [asyncio.create_task(acme.spend(f"{n}")) for n in range(QUEUE_MAX_SETS + 100)]
        await asyncio.sleep(0)
        refusals = [task.exception() for task in waiting if task.done()]
        for task in waiting:
            task.cancel()
    assert refusals
    assert all(isinstance(refusal, Throttled) and refusal.retry_after_ms > 0 for refusal in refusals)
    await first
    assert [row.name for row in (await acme.holdings()).vouchers] == ["first"]


async def test_a_tenant_with_many_waiting_sets_does_not_hold_up_its_neighbour(
    deployment: Config, acme: Organization, globex: Organization
) -> None:
    order: list[str] = []

    async def spend(organization: Organization, voucher: str) -> None:
        await organization.spend(voucher)
        order.append(voucher)

    async with writes_held(deployment, acme):
        tasks = [asyncio.create_task(spend(acme, "first"))]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(spend(acme, f"{n}")) for n in range(1500)]
        tasks += [asyncio.create_task(spend(globex, "theirs"))]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert order.index("theirs") < 600
