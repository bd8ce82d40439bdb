"""Two nodes on one PostgreSQL: what one does to the keys, the other goes by."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress

import psycopg
import pytest

from tenantry.app.node import Node
from tenantry.cli.demo.cluster import Cluster
from tenantry.core.errors import NotFound
from tenantry.core.principal import SYSTEM
from tenantry.keys.keyring import KeysDestroyed
from tenantry.keys.published import PublishedKeys
from tenantry.keys.rotation import RotationUnderWay
from tenantry.keys.schema import DATA_KEYS_OF
from tenantry.keys.signing import Algorithm, Purpose, Use
from tests.stand.clock import ManualClock
from tests.stand.databases import postgres_database
from tests.stand.nodes import deployed, node_of
from tests.stand.organizations import Organization, on, open_organization

DATABASE = "keys_of_two"
ES256 = Algorithm.ES256
Nodes = tuple[Node, Node]
Step = Callable[[Use, Algorithm], Awaitable[object]]


@pytest.fixture(scope="module")
async def nodes(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Nodes]:
    """Two nodes of one deployment."""
    database, folder = postgres_database(cluster, DATABASE), tmp_path_factory.mktemp("two")
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(node_of(await deployed(database, folder / name))) for name in "ab"
        ]
        yield first, second


@pytest.fixture
async def acme(nodes: Nodes) -> Organization:
    return await open_organization(nodes[0])


def tokens(organization: Organization) -> Use:
    return Use(Purpose.ACCESS_TOKEN, "https://id.example.com", organization.id)


async def test_two_nodes_that_need_the_first_keys_at_once_get_the_same_ones(
    nodes: Nodes, acme: Organization, rounds: int
) -> None:
    for _ in range(rounds):
        fresh = await open_organization(nodes[0])
        signing = await asyncio.gather(*(node.keyring.signing(tokens(fresh), ES256) for node in nodes * 3))
        assert len({key.public.id for key in signing}) == 1
        assert len({(await node.keyring.data_key(fresh.id)).reveal() for node in nodes}) == 1
        assert len(await fresh.reads.all(DATA_KEYS_OF)) == 1


async def test_ops_15_of_two_nodes_that_rotate_at_once_one_publishes_a_key(
    nodes: Nodes, acme: Organization, rounds: int
) -> None:
    """OPS-15: rotated on both nodes in one moment, and again at once, there is one next key."""
    for _ in range(rounds):
        use = tokens(await open_organization(nodes[0]))
        await nodes[0].keyring.signing(use, ES256)
        both = (node.keyring.rotate(use, ES256, SYSTEM) for node in nodes)
        outcomes = await asyncio.gather(*both, return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", "RotationUnderWay"]
        with pytest.raises(RotationUnderWay):
            await nodes[1].keyring.rotate(use, ES256, SYSTEM)
        assert len(await nodes[1].keyring.public(use, ES256)) == 2


async def test_ops_15_of_two_nodes_that_roll_back_at_once_one_does(nodes: Nodes, rounds: int) -> None:
    """OPS-15: a rotation is taken back once, however many ask for it in one moment."""
    for _ in range(rounds):
        use = tokens(await open_organization(nodes[0]))
        await nodes[0].keyring.signing(use, ES256)
        await nodes[0].keyring.rotate(use, ES256, SYSTEM)
        both = (node.keyring.roll_back(use, ES256, SYSTEM) for node in nodes)
        outcomes = await asyncio.gather(*both, return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", "NotFound"]


async def test_ops_15_a_node_that_missed_a_rotation_reads_again_once_for_an_unknown_kid(
    nodes: Nodes, acme: Organization, clock: ManualClock
) -> None:
    """OPS-15: a copy that heard nothing still verifies, and does not read for every invented `kid`."""
    use = tokens(acme)
    old = (await nodes[0].keyring.signing(use, ES256)).public
    deaf = PublishedKeys(nodes[1].journal, clock)
    assert (await deaf.named(old.kid(), use)).id == old.id
    await nodes[0].keyring.rotate(use, ES256, SYSTEM)
    new = next(key for key, _ in await nodes[0].keyring.public(use, ES256) if key.id != old.id)
    with pytest.raises(NotFound):
        await deaf.named(new.kid(), use)
    clock.advance(1_000)
    found = await asyncio.gather(deaf.named(new.kid(), use), deaf.named(new.kid(), use))
    assert [key.id for key in found] == [new.id, new.id]
    assert {key.id for key in await deaf.of(use)} == {old.id, new.id}


async def test_ops_15_what_one_node_rotates_and_rolls_back_the_other_verifies_and_publishes(
    nodes: Nodes, acme: Organization
) -> None:
    """OPS-15: no verification fails on the other node, before the rotation, in it and after its roll-back."""
    here, there, use = *nodes, tokens(acme)
    for step in (here.keyring.signing, _rotate(here), _roll_back(here)):
        await step(use, ES256)
        key = await here.keyring.signing(use, ES256)
        signature = key.sign(b"token", use, here.clock.now_ms())
        await _heard(there, acme)
        verifier = await there.published_keys.named(key.public.kid(), use)
        assert verifier.verify(b"token", signature, use, there.clock.now_ms()) == b"token"
        stored = await here.published_keys.of(use)
        assert {key.id for key in await there.published_keys.of(use)} == {key.id for key in stored}


async def test_a_key_cut_on_one_node_verifies_nothing_on_the_other(nodes: Nodes, acme: Organization) -> None:
    here, there, use = *nodes, tokens(acme)
    leaked = (await here.keyring.signing(use, ES256)).public
    assert (await there.published_keys.named(leaked.kid(), use)).id == leaked.id
    await here.keyring.cut(use, ES256, leaked.id, SYSTEM, "seen in a log")
    await _heard(there, acme)
    with pytest.raises(NotFound):
        await there.published_keys.named(leaked.kid(), use)
    assert (await there.keyring.signing(use, ES256)).public.id != leaked.id


async def test_a_node_that_still_holds_a_destroyed_key_neither_seals_nor_signs_with_it(
    nodes: Nodes, acme: Organization
) -> None:
    here, there, use = *nodes, tokens(acme)
    await there.keyring.data_key(acme.id)
    await there.keyring.signing(use, ES256)
    async with acme.begin() as w:
        here.keyring.destroy(w)
    for node in (here, there, here):
        with pytest.raises(KeysDestroyed):
            await node.keyring.data_key(acme.id)
        with pytest.raises(KeysDestroyed):
            await node.keyring.signing(use, ES256)


async def test_a_first_key_made_during_the_destruction_does_not_outlive_it(
    nodes: Nodes, acme: Organization, cluster: Cluster
) -> None:
    here, there = nodes

    async def destroy() -> None:
        async with acme.begin() as w:
            here.keyring.destroy(w)

    async def use() -> None:
        with suppress(KeysDestroyed):
            await there.keyring.data_key(acme.id)

    held = await psycopg.AsyncConnection.connect(cluster.conninfo(DATABASE))
    async with asyncio.TaskGroup() as tasks, held:
        await held.execute("SELECT 1 FROM tenantry.heads WHERE org = %s FOR UPDATE", [acme.id])
        for waiting, step in enumerate((use(), destroy()), 1):
            tasks.create_task(step)
            await _waiting(held, waiting)
    assert await acme.reads.all(DATA_KEYS_OF) == []


def _rotate(node: Node) -> Step:
    return lambda use, algorithm: node.keyring.rotate(use, algorithm, SYSTEM)


def _roll_back(node: Node) -> Step:
    return lambda use, algorithm: node.keyring.roll_back(use, algorithm, SYSTEM)


async def _heard(node: Node, organization: Organization) -> None:
    """Once the node has applied all that is committed of the organization."""
    rev = (await node.journal.head(on(node, organization).scope)).rev
    while node.following.applied(organization.id) < rev:
        await node.engine.changed(0.01)


async def _waiting(connection: psycopg.AsyncConnection, transactions: int) -> None:
    """Once so many transactions wait for what this connection holds."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
    while (await (await connection.execute(query, [DATABASE])).fetchone()) != (transactions,):
        await connection.execute("SELECT pg_stat_clear_snapshot()")
