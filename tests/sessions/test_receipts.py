"""A receipt names every credential that a cut ended, can be verified without us, and tells of nothing else."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from tenantry.app.config import Config
from tenantry.core.errors import NotFound, ProofFailed
from tenantry.sessions.receipts import ITEMS_MAX, Receipt, open_receipt, prove_gone
from tenantry.sessions.schema import RECEIPTS_OF
from tenantry.sessions.tree import KINDS
from tests.stand.organizations import Organization, open_organization
from tests.stand.tree import Forest, forest, made


@pytest.fixture
async def woods(fresh: Config) -> AsyncIterator[Forest]:
    """A node of a deployment of its own, which makes receipts."""
    async with forest(fresh) as woods:
        yield woods


async def parts_of(org: Organization, branch: str, revision: int) -> list[Receipt]:
    """All parts of a receipt once it is there."""
    async with asyncio.timeout(5):
        while True:
            rows = await org.reads.all(RECEIPTS_OF, branch=branch, revision=revision, part=0, most=100)
            parts = [msgspec.json.decode(row.body, type=Receipt) for row in rows]
            if parts and len(parts) == parts[0].parts:
                return parts
            await org.node.engine.changed(0.02)


async def test_a_receipt_names_each_credential_below_the_cut_once_and_nothing_else(woods: Forest) -> None:
    acme = await open_organization(woods.node)
    new = woods.node.ids.new
    alice, bob = (woods.users.add(acme, new("user")) for _ in range(2))
    agent = woods.agents.add(acme, new("agent"))
    sessions = [await made(acme, "session", alice) for _ in range(3)]
    grant = await made(acme, "grant", alice)
    run = await made(acme, "run", alice, grant.id, agent, principal=agent, parent=grant.id)
    child = await made(acme, "run", alice, grant.id, agent, run.id, principal=agent)
    await made(acme, "session", bob)
    revision = await acme.cut(alice)
    await made(acme, "session", alice)
    (receipt,) = await parts_of(acme, alice, revision)
    closed = {item.id: item.kind for item in receipt.items if item.state == "closed" and item.kind != "sink"}
    assert closed == {
        alice: "user",
        **{session.id: "session" for session in sessions},
        grant.id: "grant",
        run.id: "run",
        child.id: "run",
    }
    assert len(receipt.items) == len({item.id for item in receipt.items})
    assert (receipt.org, receipt.branch, receipt.revision) == (acme.id, alice, revision)


async def test_a_run_is_below_its_agent_and_below_its_grant(woods: Forest) -> None:
    acme = await open_organization(woods.node)
    alice = woods.users.add(acme, woods.node.ids.new("user"))
    agent = woods.agents.add(acme, woods.node.ids.new("agent"))
    grant = await made(acme, "grant", alice)
    runs = [await made(acme, "run", alice, grant.id, agent, principal=agent, parent=grant.id) for _ in range(2)]
    (receipt,) = await parts_of(acme, agent, await acme.cut(agent))
    assert {item.id for item in receipt.items if item.kind == "run"} == {run.id for run in runs}
    (receipt,) = await parts_of(acme, grant.id, await acme.cut(grant.id))
    assert {item.id for item in receipt.items if item.kind == "run"} == {run.id for run in runs}


async def test_a_receipt_says_who_may_still_honour_what_was_cut_and_until_when(woods: Forest) -> None:
    acme = await open_organization(woods.node)
    alice = woods.users.add(acme, woods.node.ids.new("user"))
    (receipt,) = await parts_of(acme, alice, await acme.cut(alice))
    (partial,) = (item for item in receipt.items if item.state == "partial")
    assert receipt.at < partial.until
    assert partial.reason


async def test_a_receipt_is_verified_by_its_bytes_and_the_published_keys_alone(woods: Forest) -> None:
    acme = await open_organization(woods.node)
    alice = woods.users.add(acme, woods.node.ids.new("user"))
    (receipt,) = await parts_of(acme, alice, await acme.cut(alice))
    keys = await woods.receipts.keys()
    assert open_receipt(msgspec.json.encode(receipt), keys) == receipt
    for changed in (
        msgspec.structs.replace(receipt, revision=receipt.revision + 1),
        msgspec.structs.replace(receipt, items=receipt.items[1:]),
        msgspec.structs.replace(receipt, bound_ms=1),
        msgspec.structs.replace(receipt, signature=receipt.signature[:-2] + "AA"),
        msgspec.structs.replace(receipt, signature="a.b"),
    ):
        with pytest.raises(ProofFailed):
            open_receipt(msgspec.json.encode(changed), keys)
    with pytest.raises(ProofFailed):
        open_receipt(msgspec.json.encode(receipt), [])
    with pytest.raises(ProofFailed):
        open_receipt(b"{}", keys)


async def test_a_large_receipt_comes_in_parts_that_are_signed_each(woods: Forest) -> None:
    acme = await open_organization(woods.node)
    alice = woods.users.add(acme, woods.node.ids.new("user"))
    many = {woods.agents.add(acme, alice, woods.node.ids.new("agent")) for _ in range(ITEMS_MAX)}
    parts = await parts_of(acme, alice, await acme.cut(alice))
    keys = await woods.receipts.keys()
    opened = [open_receipt(msgspec.json.encode(part), keys) for part in parts]
    assert [part.part for part in opened] == [1, 2]
    assert {item.id for part in opened for item in part.items if item.kind == "agent"} == many


async def test_a_gone_branch_is_proved_gone_and_what_lives_is_named(woods: Forest) -> None:
    acme = await open_organization(woods.node)
    alice = woods.users.add(acme, woods.node.ids.new("user"))
    session = await made(acme, "session", alice)
    now_ms = woods.node.clock.now_ms()
    before = await prove_gone(acme.reads, woods.kinds, alice, now_ms)
    assert (before.revision, [one.id for one in before.live], before.ended) == (None, [session.id], 0)
    revision = await acme.cut(alice)
    after = await prove_gone(acme.reads, woods.kinds, alice, now_ms)
    assert (after.revision, after.live, after.ended) == (revision, (), 1)
    whole = await prove_gone(acme.reads, woods.kinds, acme.id, now_ms)
    assert [one.kind for one in whole.live] == []
    later = await made(acme, "session", alice)
    again = await prove_gone(acme.reads, woods.kinds, alice, now_ms)
    assert [one.id for one in again.live] == [later.id]


async def test_another_organizations_branch_cannot_be_asked_for(woods: Forest) -> None:
    acme, globex = await open_organization(woods.node), await open_organization(woods.node)
    alice = woods.users.add(acme, woods.node.ids.new("user"))
    for unknown in (alice, woods.node.ids.new("user"), acme.id, "user_1", woods.node.ids.new("account")):
        with pytest.raises(NotFound):
            await prove_gone(globex.reads, woods.kinds, unknown, 0)


async def test_the_registry_of_a_test_leaves_out_kinds_and_says_so(woods: Forest) -> None:
    told = {"organization", "session", "grant", "run", "user", "agent"}
    assert set(woods.kinds.missing()) == {kind.name for kind in KINDS if kind.parents} - told
