"""What one organization does to another: its floods, its bad values and its damaged rows stay its own."""

import asyncio
import secrets
from collections.abc import Awaitable

import pytest

from tenantry.app.config import Config
from tenantry.audit.schema import LEAVES_A_STEP
from tenantry.audit.sequencer import Sequencer
from tenantry.cli.demo import ledger
from tenantry.core import scopes
from tenantry.core.errors import Invalid, NoOrganization, Stale, TenantryError, Throttled
from tenantry.core.limits import NAME_MAX_CHARACTERS, QUEUE_MAX_SETS, SET_MAX_EVENTS, VALUE_MAX
from tenantry.journal import Event, Target
from tests.stand.held import writes_held
from tests.stand.nodes import node_of
from tests.stand.organizations import Organization, open_organization
from tests.stand.tamper import tamper

on_postgres = pytest.mark.parametrize("dialect", ["postgres"], indirect=True)


class Named(Event, tag="test.named", frozen=True):
    """Something was named."""

    who: Target


async def outcome(work: Awaitable[object]) -> TenantryError | None:
    """The refusal, if it was refused."""
    try:
        await work
    except TenantryError as error:
        return error
    return None


async def test_a_value_that_no_index_holds_fails_no_set_of_the_same_transaction(
    acme: Organization, globex: Organization
) -> None:
    long = secrets.token_hex(8_000)
    theirs = [asyncio.create_task(outcome(acme.spend(f"{long}{n}"))) for n in range(3)]
    ours = [asyncio.create_task(outcome(globex.spend(f"{n}"))) for n in range(50)]
    assert await asyncio.gather(*ours) == [None] * 50
    await asyncio.gather(*theirs)


async def test_many_tries_at_one_key_do_not_hold_up_a_neighbour(acme: Organization, globex: Organization) -> None:
    order: list[str] = []

    async def spend(organization: Organization, voucher: str) -> None:
        await outcome(organization.spend(voucher))
        order.append(organization.id)

    flood = [asyncio.create_task(spend(acme, "the same")) for _ in range(1200)]
    theirs = [asyncio.create_task(spend(globex, f"{n}")) for n in range(100)]
    await asyncio.gather(*flood, *theirs)
    last = max(place for place, org in enumerate(order) if org == globex.id)
    assert order[:last].count(acme.id) < 600


async def test_a_flood_of_one_organization_throttles_its_own_sets_alone(
    deployment: Config, acme: Organization, globex: Organization
) -> None:
    async with writes_held(deployment, acme):
        many = QUEUE_MAX_SETS + 600  # SQLite's writer holds a group of them
        flood = [asyncio.create_task(acme.add_member(f"{n}")) for n in range(many)]
        await asyncio.sleep(0)
        neighbour = asyncio.create_task(globex.add_member("Gus"))
        await asyncio.sleep(0)
        refusals = [task.exception() for task in flood if task.done()]
        for task in flood:
            task.cancel()
    assert refusals
    assert {type(refusal) for refusal in refusals} == {Throttled}
    await neighbour


@on_postgres
async def test_whoever_waits_for_a_lock_of_its_own_holds_up_neither_reads_nor_neighbours(
    deployment: Config, acme: Organization, globex: Organization
) -> None:
    async with writes_held(deployment, acme):
        waiting = [asyncio.create_task(acme.add_member(f"{n}")) for n in range(50)]
        await asyncio.sleep(0)
        async with asyncio.timeout(1.5):
            await globex.add_member("Gus")
            await globex.spend("voucher")
            assert await acme.reads.all(ledger.MEMBERS_OF) == []
        assert not any(task.done() for task in waiting)
    await asyncio.gather(*waiting)


async def test_a_long_backlog_of_one_log_does_not_keep_another_from_its_checkpoint(fresh: Config) -> None:
    async with node_of(fresh) as node:
        acme, globex = await open_organization(node), await open_organization(node)
        sequencing = next(work for work in node.works if work.name == Sequencer.name)
        await sequencing.close()
        for _ in range(3 * LEAVES_A_STEP // SET_MAX_EVENTS + 1):
            async with acme.begin() as w:
                for number in range(SET_MAX_EVENTS):
                    w.record(Named(f"user_{number}"))
        async with globex.begin() as w:
            w.record(Named("user_g"))
        sequencing.start()
        theirs = await globex.checkpointed()
        ours = await acme.checkpointed()
    assert ours.at_ms >= theirs.at_ms


async def test_a_leaf_that_is_no_event_stops_no_log_but_its_own(fresh: Config) -> None:
    async with node_of(fresh) as node:
        acme, globex = await open_organization(node), await open_organization(node)
        await acme.checkpointed()
        size = (await acme.holdings()).head.leaves
    xid, now = (", xid", ", pg_current_xact_id()") if not fresh.database.file else ("", "")
    body = "x'78'" if fresh.database.file else "'x'"
    tamper(
        fresh,
        f"INSERT INTO leaves (org, idx, rev{xid}, body) VALUES ('{acme.id}', {size}, 0{now}, {body})",
    )
    async with node_of(fresh) as node:
        globex = Organization(node, globex.scope)
        await globex.add_member("Gus")
        await globex.checkpointed()
        assert not node.ended.is_set()


@pytest.mark.parametrize(("ahead", "told"), [(1000, "[]"), (1, "x")], ids=["a gap", "no list of ids"])
async def test_a_change_that_cannot_be_applied_withholds_no_organization_but_its_own(
    fresh: Config, ahead: int, told: str
) -> None:
    async with node_of(fresh) as node:
        acme, globex = await open_organization(node), await open_organization(node)
        ours, theirs = await acme.issue("session_1"), await globex.issue("session_1")
        await acme.add_member("Anne")
        await node.cuts.check(ours)
        await node.cuts.lineage(acme.id, (), 1)
        xid, now = (", xid", ", pg_current_xact_id()") if not fresh.database.file else ("", "")
        tamper(
            fresh,
            f"INSERT INTO changelog (org, rev{xid}, at, touched, cut) VALUES ('{acme.id}', {1 + ahead}{now}, 0, '{told}', '{told}')",
        )
        async with asyncio.timeout(5):
            while await outcome(node.cuts.check(ours)) is None:
                await node.engine.changed(0.05)
        with pytest.raises(Stale):
            await node.cuts.check(ours)
        await node.cuts.check(theirs)
        assert not node.ended.is_set()


async def test_nothing_is_written_for_an_organization_that_does_not_exist(acme: Organization) -> None:
    nobody = Organization(acme.node, scopes.of_job(acme.node.ids.new("org")))
    for vouchers in (["one"], ["one", "two"]):
        with pytest.raises(NoOrganization):
            async with nobody.begin() as w:
                for voucher in vouchers:
                    w.write(ledger.SPEND, otherwise=ledger.AlreadySpent, voucher=voucher, spent_at=1)
    assert (await acme.holdings()).vouchers == []


@pytest.mark.parametrize("name", ["user_\0", "user_" + "x" * NAME_MAX_CHARACTERS], ids=["a NUL", "long"])
async def test_what_cannot_name_a_target_or_a_branch_is_refused(acme: Organization, name: str) -> None:
    before = await acme.holdings()
    with pytest.raises(Invalid):
        async with acme.begin() as w:
            w.record(Named(name))
    with pytest.raises(Invalid):
        await acme.cut(name)
    assert await acme.holdings() == before


async def test_a_value_past_the_limit_is_refused(acme: Organization) -> None:
    with pytest.raises(Invalid):
        await acme.add_member("x" * (VALUE_MAX + 1))
