"""What has died is refused by every node within a second, or nothing is answered."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.core import scopes
from tenantry.core.errors import Ended, Stale, TenantryError
from tenantry.core.limits import LEASE_MS
from tenantry.core.principal import SYSTEM, Lineage, Principal
from tenantry.journal import Cuts
from tests.stand.clock import ManualClock
from tests.stand.nodes import node_of
from tests.stand.organizations import Organization, on, open_organization


@pytest.fixture
async def other(deployment: Config, node: Node) -> AsyncIterator[Node]:
    """Another node on PostgreSQL; on SQLite the only one there is."""
    if deployment.database.file:
        yield node
    else:
        async with node_of(deployment) as other:
            yield other


async def refused(node: Node, principal: Principal) -> TenantryError:
    """Wait, at most a second, for a node to refuse a credential."""
    async with asyncio.timeout(1):
        while True:
            try:
                await node.cuts.check(principal)
            except (Ended, Stale) as error:
                return error
            await node.engine.changed(0.02)


@pytest.mark.parametrize("depth", [0, 1, 2])
async def test_a_cut_of_any_branch_ends_the_credential_on_every_node(
    acme: Organization, other: Node, depth: int
) -> None:
    path = ("user_1", "session_1", "run_1")
    holder, neighbour = await acme.issue(*path), await acme.issue("user_2", "session_2")
    await other.cuts.check(holder)
    await acme.cut(path[depth])
    assert type(await refused(acme.node, holder)) is Ended
    assert type(await refused(other, holder)) is Ended
    await other.cuts.check(neighbour)


async def test_a_credential_made_after_the_cut_lives(acme: Organization, other: Node) -> None:
    older = await acme.issue("session_1")
    revision = await acme.cut("session_1")
    lineage = await acme.node.cuts.lineage(acme.id, ("session_1",), revision)
    newer = Principal("user_1", acme.id, lineage)
    assert type(await refused(other, older)) is Ended
    await other.cuts.lineage(acme.id, (), revision)
    await other.cuts.check(newer)


async def test_a_cut_of_a_platforms_branch_ends_credentials_of_every_organization(
    acme: Organization, globex: Organization, other: Node
) -> None:
    account = acme.node.ids.new("account")
    holders = [
        Principal("user_1", org.id, await acme.node.cuts.lineage(org.id, ("session_1",), 0, (account,)))
        for org in (acme, globex)
    ]
    for holder in holders:
        await other.cuts.check(holder)
    platform = Organization(acme.node, scopes.of_platform())
    await platform.cut(account)
    for holder in holders:
        assert type(await refused(other, holder)) is Ended
        with pytest.raises(Ended):
            await on(other, acme).spend(f"by {holder.org}", holder)


async def test_a_credential_made_by_a_node_that_has_not_heard_of_the_cut_is_dead(
    fresh: Config, clock: ManualClock
) -> None:
    async with node_of(fresh, clock=clock) as node:
        acme = await open_organization(node)
        await acme.add_member("Anne")
        await node.cuts.lineage(acme.id, ("session_1",), 1)
        await node.following.close()
        revision = await acme.cut("session_1")
        late = await node.cuts.lineage(acme.id, ("session_1",), 1)
        assert late.rev < revision
        holder = Principal("user_1", acme.id, late)
        await node.cuts.check(holder)
        with pytest.raises(Ended):
            await acme.spend("voucher", holder)


async def test_without_a_look_at_the_changelog_a_node_says_nothing_after_the_lease(
    fresh: Config, clock: ManualClock
) -> None:
    async with node_of(fresh, clock=clock) as node:
        acme = await open_organization(node)
        holder = await acme.issue("session_1")
        await node.following.close()
        clock.advance(LEASE_MS - 10)
        await node.cuts.check(holder)
        clock.advance(20)
        with pytest.raises(Stale) as refusal:
            await node.cuts.check(holder)
        assert refusal.value.retry_after_ms > 0
        with pytest.raises(Stale):
            await node.cuts.lineage(acme.id, ("session_1",), 0)
        await node.following.start()
        await node.cuts.check(holder)


async def test_the_server_itself_holds_no_credential_that_could_be_cut(acme: Organization) -> None:
    await acme.node.cuts.check(SYSTEM)


async def test_a_credential_of_another_incarnation_is_dead(acme: Organization) -> None:
    holder = await acme.issue("session_1")
    assert holder.lineage is not None
    older = msgspec.structs.replace(holder, lineage=msgspec.structs.replace(holder.lineage, incarnation=2))
    await acme.node.cuts.check(holder)
    with pytest.raises(Ended):
        await acme.node.cuts.check(older)


async def test_forgotten_organizations_are_read_again(fresh: Config) -> None:
    known: list[Cuts] = []

    def keep_few(node: Node) -> None:
        known.append(Cuts(node.journal, node.lease, node.clock, node.incarnation.number, kept=10))
        node.following.add(known[0])

    async with node_of(fresh, on_open=keep_few) as node:
        organizations = [await open_organization(node) for _ in range(4)]
        for organization in organizations:
            for number in range(6):
                await organization.cut(f"session_{number}")
        for _ in range(3):
            for organization in organizations:
                dead = Lineage(1, ("session_0",), 0)
                with pytest.raises(Ended):
                    await known[0].check(Principal("user_1", organization.id, dead))
                await known[0].check(Principal("user_1", organization.id, Lineage(1, ("session_9",), 0)))
        await organizations[0].cut("session_9")
        await known[0].lineage(organizations[0].id, (), 7)
        with pytest.raises(Ended):
            await known[0].check(Principal("user_1", organizations[0].id, Lineage(1, ("session_9",), 0)))


async def test_a_cut_between_the_read_of_a_record_and_the_minting_kills_what_is_minted(
    acme: Organization, globex: Organization
) -> None:
    await acme.add_member("Anne")
    read_at = (await acme.node.journal.head(acme.scope)).rev
    heard = await acme.cut("session_1")
    await acme.node.cuts.lineage(acme.id, (), heard)
    holder = Principal("user_1", acme.id, await acme.node.cuts.lineage(acme.id, ("session_1",), read_at))
    assert type(await refused(acme.node, holder)) is Ended
    with pytest.raises(Ended):
        await acme.spend("voucher", holder)


async def test_minting_waits_for_the_revision_that_was_read(acme: Organization) -> None:
    await acme.add_member("Anne")
    lineage = await acme.node.cuts.lineage(acme.id, ("session_1",), 1)
    assert lineage.rev == 1
    minting = asyncio.create_task(acme.node.cuts.lineage(acme.id, ("session_1",), 2))
    await asyncio.sleep(0)
    assert not minting.done()
    await acme.add_member("Bob")
    assert (await minting).rev == 2


async def test_minting_on_a_revision_that_never_comes_is_refused_after_the_lease(acme: Organization) -> None:
    with pytest.raises(Stale):
        async with asyncio.timeout(2):
            await acme.node.cuts.lineage(acme.id, ("session_1",), 1_000)
