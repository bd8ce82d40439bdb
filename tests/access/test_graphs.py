"""Graphs follow what is written: at one revision, without losing what is written while they are read, within a bound."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tenantry.access.decisions import At, Decision
from tenantry.access.stores import StoreNotFound, remove_store, store_of
from tenantry.access.tuples import TupleKey
from tenantry.access.writing import WRITE_MAX_TUPLES
from tenantry.app.config import Config
from tenantry.cli.demo import ledger
from tenantry.core.errors import Invalid, Stale
from tenantry.core.limits import LEASE_MS
from tenantry.journal import Reads
from tests.access.stand import Access, Tenant, access_on, on, tenant
from tests.access.store import key
from tests.stand.clock import ManualClock


async def test_what_was_written_counts_and_what_was_deleted_does_not(atlas: Tenant) -> None:
    await atlas.write("document:1#viewer@group:eng#member", "group:eng#member@user:anne")
    assert await atlas.allows("document:1#reader@user:anne")
    rev = await atlas.write(without=("group:eng#member@user:anne",))
    assert not await atlas.allows("document:1#reader@user:anne", at_least=rev)


async def test_an_answer_names_the_revision_and_the_model_it_was_given_at(access: Access, atlas: Tenant) -> None:
    rev = await atlas.write("document:1#viewer@user:anne")
    scope, question = atlas.organization.scope, key("document:1#viewer@user:anne")
    decision = await access.decisions.check(scope, atlas.store, question, at=At(revision=rev))
    row = await store_of(atlas.organization.reads, atlas.store)
    assert (decision.allowed, decision.model) == (True, row.model)
    assert decision.revision >= rev


async def test_a_revision_that_does_not_exist_is_refused_at_once(atlas: Tenant) -> None:
    rev = await atlas.write("document:1#viewer@user:anne")
    with pytest.raises(Invalid):
        await atlas.allows("document:1#viewer@user:anne", at_least=rev + 100)


async def test_acc_16_a_tuple_that_names_what_another_tenant_has_leads_nowhere(atlas: Tenant, other: Tenant) -> None:
    """ACC-16: the tenant is outside what a tuple can say, directly and by a chain of parents, written or contextual."""
    await other.write("folder:theirs#viewer@user:anne", "group:theirs#member@user:anne")
    rev = await other.write("document:1#parent@folder:theirs")
    assert await other.allows("document:1#viewer@user:anne", at_least=rev)
    rev = await atlas.write("document:1#parent@folder:theirs", "document:2#viewer@group:theirs#member")
    assert not await atlas.allows("document:1#viewer@user:anne", at_least=rev)
    assert not await atlas.allows("document:2#viewer@user:anne")
    assert not await atlas.allows("document:3#viewer@user:anne", contextual=("document:3#parent@folder:theirs",))


async def test_two_organizations_with_the_same_tuples_do_not_meet(atlas: Tenant, other: Tenant) -> None:
    await atlas.write("document:1#viewer@user:anne")
    rev = await other.write("document:1#viewer@user:bob")
    assert await other.allows("document:1#viewer@user:bob", at_least=rev)
    assert not await other.allows("document:1#viewer@user:anne")
    with pytest.raises(StoreNotFound):
        await other.access.decisions.check(other.organization.scope, atlas.store, key("document:1#viewer@user:anne"))


async def test_acc_08_nothing_written_or_deleted_while_a_store_is_read_is_lost(access: Access, rounds: int) -> None:
    """ACC-08: what is deleted while a store is being read is not there afterwards, and what is written is."""
    for _ in range(rounds):
        atlas = await tenant(access)
        many = [f"document:{n}#viewer@user:u{n}" for n in range(10 * WRITE_MAX_TUPLES)]
        for n in range(0, len(many), WRITE_MAX_TUPLES):
            await atlas.write(*many[n : n + WRITE_MAX_TUPLES])
        writes = [atlas.write(f"document:late#viewer@user:u{n}", without=(many[n],)) for n in range(20)]
        first = asyncio.ensure_future(atlas.allows("document:999#viewer@user:u999"))
        revisions = await asyncio.gather(*writes)
        assert await first
        for n in range(20):
            assert await atlas.allows(f"document:late#viewer@user:u{n}", at_least=max(revisions))
            assert not await atlas.allows(f"document:{n}#viewer@user:u{n}")
        known = await access.graphs.open(atlas.organization.id, atlas.store)
        assert known.graph.size == len(many)


async def test_fifty_writers_of_different_tuples_do_not_conflict(atlas: Tenant) -> None:
    assert not await atlas.allows("document:1#viewer@user:u0")
    revisions = await asyncio.gather(*(atlas.write(f"document:1#viewer@user:u{n}") for n in range(50)))
    assert len(set(revisions)) == 50
    at_least = max(revisions)
    assert all([await atlas.allows(f"document:1#viewer@user:u{n}", at_least=at_least) for n in range(50)])


async def test_acc_12_steady_writers_keep_no_question_waiting(atlas: Tenant) -> None:
    """ACC-12: while somebody is added, removed and banned without end, each answer is right at the revision that it names."""
    await atlas.write("document:1#viewer@user:bob")
    banned: dict[int, bool] = {}
    stop = asyncio.Event()

    async def ban() -> None:
        while not stop.is_set():
            banned[await atlas.write("document:1#banned@user:bob")] = True
            banned[await atlas.write(without=("document:1#banned@user:bob",))] = False

    async def fill(n: int) -> None:
        m = 0
        while not stop.is_set():
            await atlas.write(f"document:{n}-{m}#viewer@user:bob")
            m += 1

    writers = [asyncio.create_task(ban()), *(asyncio.create_task(fill(n)) for n in range(4))]
    answers: list[Decision] = []
    while len(answers) < 100:
        question = key("document:1#reader@user:bob")
        answers.append(await atlas.access.decisions.check(atlas.organization.scope, atlas.store, question))
        await asyncio.sleep(0)
    stop.set()
    await asyncio.gather(*writers)
    for answer in answers:
        said = max((rev for rev in banned if rev <= answer.revision), default=0)
        assert answer.allowed is not banned.get(said, False)


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_acc_09_two_nodes_agree_at_the_revision_that_the_writer_names(fresh: Config) -> None:
    """ACC-09: whoever asks another node with the writer's revision is never answered from before it."""
    async with access_on(fresh) as here, access_on(fresh) as there:
        mine = await tenant(here)
        theirs = on(there, mine)
        for n in range(20):
            rev = await mine.write(f"document:{n}#viewer@user:bob")
            assert await theirs.allows(f"document:{n}#viewer@user:bob", at_least=rev)
            rev = await mine.write(without=(f"document:{n}#viewer@user:bob",))
            assert not await theirs.allows(f"document:{n}#viewer@user:bob", at_least=rev)


async def test_acc_09_a_node_that_hears_nothing_says_nothing(fresh: Config, clock: ManualClock) -> None:
    """ACC-09: a node that is cut from the changelog is closed when its lease has run out."""
    async with access_on(fresh, clock=clock) as access:
        atlas = await tenant(access)
        await atlas.write("document:1#viewer@user:anne")
        assert await atlas.allows("document:1#viewer@user:anne")
        await access.node.following.close()
        clock.advance(LEASE_MS - 1)
        assert await atlas.allows("document:1#viewer@user:anne")
        clock.advance(2)  # a clock of floating point does not hit the boundary
        with pytest.raises(Stale):
            await atlas.allows("document:1#viewer@user:anne")


async def test_memory_is_bounded_and_a_forgotten_store_is_read_again(fresh: Config) -> None:
    async with access_on(fresh, kept_tuples=400) as access:
        tenants = [await tenant(access) for _ in range(5)]
        for one in tenants:
            await one.write(*(f"document:{n}#viewer@user:anne" for n in range(50)))
            assert await one.allows("document:1#viewer@user:anne")
        assert access.graphs.tuples <= 150
        assert await tenants[0].allows("document:1#viewer@user:anne")
        rev = await tenants[0].write(without=("document:1#viewer@user:anne",))
        assert not await tenants[0].allows("document:1#viewer@user:anne", at_least=rev)


async def test_a_removed_store_decides_nothing_more(access: Access, atlas: Tenant) -> None:
    await atlas.write("document:1#viewer@user:anne")
    assert await atlas.allows("document:1#viewer@user:anne")
    row = await store_of(atlas.organization.reads, atlas.store)
    async with atlas.organization.begin() as w:
        remove_store(w, row, access.node.clock.now_ms())
    with pytest.raises(StoreNotFound):
        await atlas.allows("document:1#viewer@user:anne", at_least=w.revision)


class Groups:
    """Groups of an organization whose members are entries of its ledger: the account is the group, an amount above zero says in."""

    type, relation, prefix = "group", "member", "group"

    async def load(self, reads: Reads) -> AsyncIterator[list[TupleKey]]:
        entries = await reads.all(ledger.ENTRIES_OF)
        yield [_member(one) for one in entries if one.amount > 0]

    async def of(self, reads: Reads, touched: str) -> AsyncIterator[list[TupleKey]]:
        entries = await reads.all(ledger.ENTRIES_OF)
        yield [_member(one) for one in entries if one.amount > 0 and one.account == touched]


def _member(entry: ledger.Entry) -> TupleKey:
    return TupleKey(f"user:{entry.id}", "member", f"group:{entry.account}")


async def test_members_of_a_group_of_the_organization_count_in_every_store(fresh: Config) -> None:
    async with access_on(fresh, sources=[Groups()]) as access:
        atlas, group = await tenant(access), access.node.ids.new("group")
        anne = await atlas.organization.add_entry(group)
        await atlas.write(f"document:1#viewer@group:{group}#member", "document:2#viewer@group:eng#member")
        await atlas.write("group:eng#member@user:carl", f"group:{group}#member@user:mallory")
        assert await atlas.allows(f"document:1#viewer@user:{anne}")
        assert await atlas.allows("document:2#viewer@user:carl")
        assert not await atlas.allows("document:1#viewer@user:mallory")
        async with atlas.organization.begin() as w:
            await ledger.correct_entry(w, atlas.organization.reads, anne, -1)
            ledger.add_entry(w, access.node.ids.new("ledger"), group, 1)
            w.touch(group)
        bob = next(one.id for one in await atlas.organization.reads.all(ledger.ENTRIES_OF) if one.id != anne)
        assert await atlas.allows(f"document:1#viewer@user:{bob}", at_least=w.revision)
        assert not await atlas.allows(f"document:1#viewer@user:{anne}")
