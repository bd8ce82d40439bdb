"""A log that cannot be signed, or cannot be written: what goes on, for how long, and what is refused."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.cli.demo import ledger
from tenantry.core.errors import Unavailable
from tenantry.journal.duties import DUTY_MS
from tenantry.journal.pulse import BACKLOG_MS
from tenantry.keys.root import LocalRootKey, RootKeyUnreachable
from tenantry.keys.unwrapped import FRESH_MS, RETRY_AFTER_MS, USABLE_MS
from tests.stand.clock import ManualClock
from tests.stand.nodes import node_of
from tests.stand.organizations import Organization, open_organization


class Kms(LocalRootKey):
    """A key management service that can be away."""

    away = False

    async def unwrap(self, wrapped: bytes, aad: bytes) -> bytes:
        if self.away:
            raise RootKeyUnreachable("The KMS is away.")
        return await super().unwrap(wrapped, aad)


@pytest.mark.parametrize("dialect", ["sqlite", pytest.param("postgres", marks=pytest.mark.long)], indirect=True)
async def test_aud_15_nothing_more_is_recorded_once_nobody_has_been_able_to_sign_for_a_minute(
    fresh: Config, clock: ManualClock
) -> None:
    """AUD-15: with the KMS away a node signs as long as it may use what it unwrapped; then changes go on unsigned for a stated
    time while health says so, then they are refused with nothing written, and all resumes when it is back."""
    kms = Kms(bytes(range(32)))
    async with node_of(fresh, clock=clock, root=kms) as node:
        acme = await open_organization(node)
        await acme.checkpointed()
        kms.away = True
        clock.advance(FRESH_MS + 1_000)
        await _duty_renewed(node)
        await acme.add_member("signed with what was unwrapped")
        await acme.checkpointed()
        (sequencing,) = [work for work in node.works if work.name == "sequence"]
        clock.advance(USABLE_MS - FRESH_MS)
        await _duty_renewed(node)
        await acme.add_member("unsigned but written")
        async with asyncio.timeout(5):
            while sequencing.holds:
                await node.engine.changed(0.02)
        clock.advance(2 * DUTY_MS + 1_000)
        await _looked(node)
        assert not node.health().ready
        assert DUTY_MS < node.health().unsigned_ms < BACKLOG_MS
        await acme.add_member("unsigned, and still written")
        clock.advance(BACKLOG_MS - DUTY_MS)
        await _looked(node)
        before = await acme.holdings()
        with pytest.raises(Unavailable, match="cannot be signed"):
            await acme.add_member("refused")
        assert await acme.holdings() == before
        kms.away = False
        clock.advance(RETRY_AFTER_MS + 1)
        async with asyncio.timeout(10):
            while not sequencing.holds:
                await node.engine.changed(0.02)
        await acme.checkpointed()
        await _looked(node)
        assert node.health().unsigned_ms == 0
        await acme.add_member("written again")


async def test_aud_15_behind_locked_leaves_a_change_is_refused_and_reads_go_on(
    deployment: Config, acme: Organization
) -> None:
    """AUD-15: where leaves cannot be written for a lock, the change fails too, within seconds, with nothing of it there."""
    before = await acme.holdings()
    async with leaves_locked(deployment):
        changing = [asyncio.create_task(acme.add_member("one")), asyncio.create_task(acme.spend("one"))]
        assert (await acme.reads.all(ledger.MEMBERS_OF), await acme.node.journal.head(acme.scope)) == ([], before.head)
        async with asyncio.timeout(8):
            refusals = await asyncio.gather(*changing, return_exceptions=True)
        assert [type(refusal) for refusal in refusals] == [Unavailable, Unavailable]
    assert await acme.holdings() == before
    await acme.add_member("one")


@asynccontextmanager
async def leaves_locked(config: Config) -> AsyncIterator[None]:
    """Somebody else has the table, or on SQLite the file, to write."""
    if config.database.file:
        with closing(sqlite3.connect(config.database.file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
    else:
        given = {**conninfo_to_dict(config.database.migrator), "user": "postgres"}
        async with await psycopg.AsyncConnection.connect(make_conninfo("", **given)) as other:
            await other.execute("LOCK TABLE tenantry.leaves IN SHARE ROW EXCLUSIVE MODE")
            yield


async def _duty_renewed(node: Node) -> None:
    """Wait until the node knows that somebody holds the duty to sequence now."""
    async with asyncio.timeout(5):
        while (node.pulse.sequenced_until_ms or 0) < node.clock.now_ms():
            await node.engine.changed(0.02)


async def _looked(node: Node) -> None:
    """Wait until the node has looked at the database again."""
    looks = node.following.looks
    while node.following.looks < looks + 2:
        await node.engine.changed(0.01)
