"""What a write set promises on both databases: whole or not at all, refused by name, never silent."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tenantry.access.schema import CHANGES_OF, NOTE_CHANGES
from tenantry.cli.demo import ledger
from tenantry.core import scopes
from tenantry.core.errors import Conflict, Ended, Invalid, Misuse, NotFound, TooLarge
from tenantry.core.ids import PLATFORM
from tenantry.core.limits import SET_MAX_CUTS, SET_MAX_EVENTS, SET_MAX_STATEMENTS
from tenantry.core.principal import SYSTEM
from tenantry.journal import Reads, WriteSet
from tests.stand.organizations import Organization


async def test_a_set_is_state_event_and_revision_together(acme: Organization) -> None:
    async with acme.begin() as w:
        ledger.add_entry(w, "ledger_1", "cash", 5, note="rent", payer="Anne")
        ledger.add_member(w, "Anne")
    held = await acme.holdings()
    assert w.revision == held.head.rev == 1
    assert [entry.amount for entry in held.entries] == [5]
    assert [event["type"] for event in held.events()] == ["ledger.opened", "ledger.entry_added", "ledger.member_added"]
    assert [leaf.revision for leaf in held.leaves] == [0, 1, 1]
    assert held.changes[0].touched_ids() == ["ledger_1"]
    assert "Anne" not in held.leaves[1].body.decode()
    assert held.leaves[1].personal == b'{"payer":"Anne"}'


async def test_a_guard_raises_its_named_refusal_and_nothing_of_the_set_stays(acme: Organization) -> None:
    async with acme.begin() as w:
        ledger.add_entry(w, "ledger_1", "cash", 5)
    before = await acme.holdings()
    with pytest.raises(ledger.AlreadyEntered):
        async with acme.begin() as w:
            ledger.add_member(w, "Anne")
            ledger.cut(w, "session_1")
            ledger.add_entry(w, "ledger_1", "cash", 7)
    assert await acme.holdings() == before
    async with acme.begin() as w:
        ledger.add_member(w, "Anne")
        ledger.add_entry(w, "ledger_2", "cash", 7)
    assert w.revision == before.head.rev + 1


async def test_an_exception_in_the_block_sends_nothing(acme: Organization) -> None:
    before = await acme.holdings()
    with pytest.raises(ZeroDivisionError):
        async with acme.begin() as w:
            ledger.add_entry(w, "ledger_1", "cash", 1 // 0)
    assert await acme.holdings() == before


async def test_an_empty_set_changes_nothing(acme: Organization) -> None:
    before = await acme.holdings()
    async with acme.begin() as w:
        pass
    assert (w.revision, await acme.holdings()) == (0, before)


async def test_a_change_without_an_event_is_misuse(acme: Organization) -> None:
    before = await acme.holdings()
    with pytest.raises(Misuse, match="ledger_members records no event"):
        async with acme.begin() as w:
            w.write(ledger.ADD_MEMBER, name="Anne")
    with pytest.raises(Misuse, match="branches records no event"):
        async with acme.begin() as w:
            w.cut("session_1")
    assert await acme.holdings() == before


async def test_a_settled_statement_finds_the_revision_of_its_set_and_is_not_silent(acme: Organization) -> None:
    rows = '[["document", "1", "viewer", "user:anne", "", ""]]'
    with pytest.raises(Misuse):
        async with acme.begin() as w:
            w.write_settled(NOTE_CHANGES, store="store_1", rows=rows, added=1)
    for _ in range(2):
        async with acme.begin() as w:
            w.write_settled(NOTE_CHANGES, store="store_1", rows=rows, added=1)
            w.write_settled(NOTE_CHANGES, store="store_1", rows=rows, added=0)
            w.record(ledger.MemberAdded("Anne"))
    told = await acme.reads.all(CHANGES_OF, store="store_1", rev=0, place=0, most=10)
    assert [(one.rev, one.place, one.added) for one in told] == [(1, 0, 1), (1, 1, 0), (2, 0, 1), (2, 1, 0)]


async def test_the_platforms_part_may_not_be_silent_either(acme: Organization) -> None:
    before = await acme.holdings()
    with pytest.raises(Misuse, match="records no event"):
        async with acme.begin(with_platform=True) as w:
            ledger.add_member(w, "Anne")
            assert w.platform is not None
            w.platform.cut("account_1")
    assert await acme.holdings() == before


async def test_the_statements_of_a_set_run_in_their_order(acme: Organization) -> None:
    entries = [acme.node.ids.new("ledger") for _ in range(40)]
    async with acme.begin() as w:
        for entry in entries:
            ledger.add_entry(w, entry, "cash", 0)
        for version in range(1, 61):
            for entry in entries[:3]:
                w.write(ledger.CORRECT_ENTRY, otherwise=Conflict, id=entry, amount=version, version=version)
    held = {row.id: (row.amount, row.version) for row in (await acme.holdings()).entries}
    assert [held[entry] for entry in entries[:3]] == [(60, 61)] * 3
    assert [held[entry] for entry in entries[3:]] == [(0, 1)] * 37


async def test_only_its_follower_writes_a_derived_table(acme: Organization) -> None:
    with pytest.raises(Misuse, match="ledger_balances: only the follower"):
        async with acme.begin() as w:
            w.write(ledger.SET_BALANCE, account="cash")


async def test_a_statement_takes_exactly_its_arguments(acme: Organization) -> None:
    with pytest.raises(Misuse, match="takes"):
        async with acme.begin() as w:
            w.write(ledger.ADD_MEMBER, name="Anne", org="org_" + "1" * 26)


async def test_a_set_in_an_organization_that_does_not_exist_is_not_found(acme: Organization) -> None:
    nowhere = Organization(acme.node, scopes.of_job(acme.node.ids.new("org")))
    for write in (nowhere.add_entry("cash"), nowhere.add_member("Anne"), nowhere.spend("v"), nowhere.cut("session_1")):
        with pytest.raises(NotFound):
            await write
    assert await nowhere.reads.all(ledger.ENTRIES_OF) == await nowhere.reads.all(ledger.VOUCHERS_OF) == []


async def test_a_set_that_only_records_makes_no_revision(acme: Organization) -> None:
    async with acme.begin() as w:
        w.record(ledger.VoucherSpent("one"))
        w.record(ledger.VoucherSpent("two"))
    held = await acme.holdings()
    assert (w.revision, held.head.rev, held.head.leaves, held.changes) == (0, 0, 3, [])
    assert [event["data"] for event in held.events()[1:]] == [{"voucher": "one"}, {"voucher": "two"}]


async def test_an_ephemeral_row_makes_no_revision(acme: Organization) -> None:
    await acme.spend("one")
    held = await acme.holdings()
    assert (held.head.rev, held.changes, [row.name for row in held.vouchers]) == (0, [], ["one"])


async def test_an_unguarded_ephemeral_write_records_also_where_it_changed_nothing(acme: Organization) -> None:
    for _ in range(2):
        async with acme.begin() as w:
            w.write(ledger.SPEND, voucher="one", spent_at=1)
            w.record(ledger.VoucherSpent("one"))
    held = await acme.holdings()
    assert (len(held.vouchers), len(held.leaves)) == (1, 3)


async def test_a_spent_voucher_is_refused_and_leaves_no_event(acme: Organization, globex: Organization) -> None:
    await acme.spend("one")
    before = await acme.holdings()
    with pytest.raises(ledger.AlreadySpent):
        await acme.spend("one")
    assert await acme.holdings() == before
    await globex.spend("one")


async def test_an_expected_revision_refuses_what_was_decided_on_older_reads(acme: Organization) -> None:
    await acme.add_entry()
    read_at = (await acme.node.journal.head(acme.scope)).rev
    async with acme.begin() as w:
        w.expect_revision(read_at)
        ledger.add_member(w, "Anne")
    before = await acme.holdings()
    with pytest.raises(Conflict):
        async with acme.begin() as w:
            w.expect_revision(read_at)
            ledger.add_member(w, "Bob")
    assert await acme.holdings() == before


async def test_a_collision_is_read_again_and_retried(acme: Organization) -> None:
    entry = await acme.add_entry(amount=0)
    tries = 0

    async def correct(w: WriteSet, reads: Reads) -> None:
        nonlocal tries
        tries += 1
        await ledger.correct_entry(w, reads, entry, 1)
        if tries < 4:
            async with acme.begin() as faster:
                await ledger.correct_entry(faster, reads, entry, 10)

    await acme.node.journal.run(acme.scope, SYSTEM, correct)
    assert (tries, (await acme.holdings()).entries[0].amount) == (4, 31)


async def test_whoever_collides_four_times_is_told_so(acme: Organization) -> None:
    entry = await acme.add_entry(amount=0)
    tries = 0

    async def correct(w: WriteSet, reads: Reads) -> None:
        nonlocal tries
        tries += 1
        await ledger.correct_entry(w, reads, entry, 1)
        async with acme.begin() as faster:
            await ledger.correct_entry(faster, reads, entry, 10)

    with pytest.raises(Conflict):
        await acme.node.journal.run(acme.scope, SYSTEM, correct)
    assert (tries, (await acme.holdings()).entries[0].amount) == (4, 40)


async def test_any_other_refusal_is_not_retried(acme: Organization) -> None:
    tries = 0

    async def spend(w: WriteSet, reads: Reads) -> None:
        nonlocal tries
        tries += 1
        ledger.spend(w, "one", 1)

    await acme.node.journal.run(acme.scope, SYSTEM, spend)
    with pytest.raises(ledger.AlreadySpent):
        await acme.node.journal.run(acme.scope, SYSTEM, spend)
    assert tries == 2


async def test_a_set_is_capped_in_statements_events_and_cuts(acme: Organization) -> None:
    async with acme.begin() as w:
        for number in range(SET_MAX_STATEMENTS):
            w.write(ledger.ADD_MEMBER, name=str(number))
        w.record(ledger.MemberAdded("all"))
        with pytest.raises(TooLarge):
            w.write(ledger.ADD_MEMBER, name="one more")
    assert len((await acme.holdings()).members) == SET_MAX_STATEMENTS
    w = WriteSet(acme.id)
    for _ in range(SET_MAX_EVENTS):
        w.record(ledger.MemberAdded("x"))
    for number in range(SET_MAX_CUTS):
        w.cut(f"session_{number}")
    w.cut("session_0")
    with pytest.raises(TooLarge):
        w.record(ledger.MemberAdded("x"))
    with pytest.raises(TooLarge):
        w.cut("session_more")


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"], ids=["a NUL", "half a character"])
async def test_a_text_that_a_database_does_not_take_leaves_nothing_of_its_set(acme: Organization, text: str) -> None:
    """What PostgreSQL alone would refuse is refused on both; half a character is found when half of the set was sent."""
    before = await acme.holdings()
    with pytest.raises((Misuse, Invalid)):
        async with acme.begin() as w:
            w.write(ledger.ADD_MEMBER, name="Anne")
            w.write(ledger.ADD_MEMBER, name=text)
            w.record(ledger.MemberAdded("Anne"))
    with pytest.raises((Misuse, Invalid)):
        async with acme.begin() as w:
            w.write(ledger.SPEND, otherwise=ledger.AlreadySpent, voucher=text, spent_at=1)
            w.record(ledger.VoucherSpent("one"))
    assert await acme.holdings() == before
    await acme.spend("afterwards")
    await acme.add_member("Bob")


@pytest.mark.parametrize("value", [{"a": 1}, "text", 2**63], ids=["a dictionary", "a text", "too large"])
async def test_a_value_of_another_type_is_misuse_and_leaves_nothing(acme: Organization, value: object) -> None:
    before = await acme.holdings()
    with pytest.raises(Misuse):
        async with acme.begin() as w:
            ledger.add_member(w, "Anne")
            w.write(ledger.ADD_ENTRY, id="ledger_1", account="cash", amount=value)
    assert await acme.holdings() == before
    await acme.add_entry()


async def test_an_event_that_cannot_be_a_leaf_sends_nothing(acme: Organization) -> None:
    before = await acme.holdings()
    with pytest.raises(TooLarge):
        async with acme.begin() as w:
            ledger.add_member(w, "Anne")
            w.record(ledger.CredentialIssued("user_1", ["x" * 1000] * 66))
    with pytest.raises(Invalid):
        async with acme.begin() as w:
            ledger.add_member(w, "\ud800")
    assert await acme.holdings() == before


async def test_a_cut_credential_writes_nothing_from_then_on(acme: Organization) -> None:
    holder = await acme.issue("user_1", "session_1")
    async with acme.begin(holder) as w:
        ledger.add_member(w, "Anne")
    await acme.cut("session_1")
    before = await acme.holdings()
    with pytest.raises(Ended):
        async with acme.begin(holder) as w:
            ledger.add_member(w, "Bob")
    with pytest.raises(Ended):
        await acme.spend("one", holder)
    assert await acme.holdings() == before


async def test_a_credential_of_another_incarnation_writes_nothing(acme: Organization) -> None:
    holder = await acme.issue("session_1")
    assert holder.lineage is not None
    older = msgspec.structs.replace(holder, lineage=msgspec.structs.replace(holder.lineage, incarnation=7))
    await acme.spend("one", holder)
    with pytest.raises(Ended):
        await acme.spend("two", older)
    with pytest.raises(Ended):
        async with acme.begin(older) as w:
            ledger.add_member(w, "Bob")


async def test_a_cut_of_another_organization_ends_nothing_here(acme: Organization, globex: Organization) -> None:
    holder = await acme.issue("session_1")
    await globex.cut("session_1")
    await acme.spend("one", holder)


async def test_the_same_change_twice_at_once_is_one_change_and_one_refusal(acme: Organization) -> None:
    async def enter() -> None:
        async with acme.begin() as w:
            ledger.add_entry(w, "ledger_1", "cash", 5)

    outcomes = await asyncio.gather(enter(), enter(), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome] == [ledger.AlreadyEntered]
    assert (await acme.holdings()).head.rev == 1


@pytest.mark.parametrize("made", [scopes.of_door, scopes.of_claim])
async def test_ten_13_scopes_of_doors_and_claims_neither_read_nor_write(
    acme: Organization, made: Callable[[str], Any]
) -> None:
    """TEN-13: work without the scope of a tenant that was proved raises; a claimed one is none."""
    with pytest.raises(Misuse):
        acme.node.journal.reads(made(acme.id))
    with pytest.raises(Misuse):
        async with acme.node.journal.begin(made(acme.id), SYSTEM) as w:
            ledger.add_member(w, "Anne")
    assert (await acme.holdings()).members == []


async def test_aud_04_both_logs_have_their_leaf_or_neither_has(acme: Organization) -> None:
    """AUD-04: a set over the platform and one organization writes both leaves, which name each other, or none; no deadlock."""
    platform = Organization(acme.node, scopes.of_platform())
    async with acme.begin(with_platform=True) as w:
        ledger.add_member(w, "Anne")
        assert w.platform is not None
        w.platform.record(ledger.MemberAdded("of Acme"))
    ours, theirs = (await acme.holdings()).events()[-1], (await platform.holdings()).events()[-1]
    assert (ours["counterpart"], theirs["counterpart"]) == (PLATFORM, acme.id)
    assert (ours["org"], theirs["org"]) == (acme.id, PLATFORM)

    leaves_before, before = (await platform.node.journal.head(platform.scope)).leaves, await acme.holdings()
    await acme.spend("one")
    with pytest.raises(ledger.AlreadySpent):
        async with acme.begin(with_platform=True) as w:
            ledger.spend(w, "one", 1)
            assert w.platform is not None
            w.platform.record(ledger.MemberAdded("of Acme"))
    assert (await platform.node.journal.head(platform.scope)).leaves == leaves_before

    async def both(number: int) -> None:
        async with acme.begin(with_platform=True) as w:
            ledger.add_member(w, f"both {number}")
            assert w.platform is not None
            w.platform.record(ledger.MemberAdded(f"{number}"))

    async def platform_alone(number: int) -> None:
        async with platform.begin() as w:
            w.record(ledger.MemberAdded(f"alone {number}"))

    await asyncio.gather(
        *(both(n) for n in range(20)),
        *(acme.add_member(f"alone {n}") for n in range(20)),
        *(platform_alone(n) for n in range(20)),
    )
    held, log = await acme.holdings(), await platform.holdings()
    assert len(held.members) == len(before.members) + 40
    crossed = [event for event in log.events() if event.get("counterpart") == acme.id]
    assert len(crossed) == len([e for e in held.events() if e.get("counterpart") == PLATFORM]) == 21
    for log_of in (held, log):
        assert [leaf.index for leaf in log_of.leaves] == list(range(log_of.head.leaves))
