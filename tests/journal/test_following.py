"""THE way to follow: each change once, in order of revision within its organization, whatever is lost on the way."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.cli.demo import ledger
from tenantry.cli.demo.cluster import Cluster
from tenantry.core.errors import Stale
from tenantry.core.principal import SYSTEM
from tenantry.journal import Change
from tests.stand.followers import Heard
from tests.stand.nodes import node_of
from tests.stand.organizations import on, open_organization
from tests.stand.tamper import tamper


@asynccontextmanager
async def listening(config: Config) -> AsyncIterator[list[tuple[Node, Heard]]]:
    """Two nodes on PostgreSQL, one on SQLite, and what each hears."""
    async with AsyncExitStack() as stack:
        made: list[tuple[Node, Heard]] = []
        for _ in range(1 if config.database.file else 2):
            heard = Heard()
            made.append((await stack.enter_async_context(node_of(config, on_open=heard)), heard))
        yield made


async def test_each_node_is_told_each_change_once_and_in_order(fresh: Config) -> None:
    async with listening(fresh) as nodes:
        organizations = [await open_organization(nodes[0][0]) for _ in range(3)]
        writes = [
            on(nodes[n % len(nodes)][0], organization).add_member(f"{n}")
            for n in range(40)
            for organization in organizations
        ]
        await asyncio.gather(*writes)
        for _, heard in nodes:
            for organization in organizations:
                await heard.until(organization.id, 40)
                assert heard.revisions(organization.id) == list(range(1, 41))


async def test_a_node_that_starts_hears_what_comes_and_not_what_was(fresh: Config) -> None:
    async with listening(fresh) as nodes:
        acme = await open_organization(nodes[0][0])
        await acme.add_member("before")
    async with listening(fresh) as nodes:
        for node, heard in nodes:
            await on(node, acme).add_member(f"after {node.id}")
            await heard.until(acme.id, 1 + len(nodes) if node is nodes[-1][0] else 2)
            assert 1 not in heard.revisions(acme.id)


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)  # on SQLite one thread writes
async def test_evt_09_a_transaction_left_open_neither_loses_nor_reorders(fresh: Config) -> None:
    """EVT-09: one takes a revision and stays open while others commit: no node passes it, and then all hear it in order, once."""
    async with listening(fresh) as nodes:
        (node, _), *_ = nodes
        acme, globex = await open_organization(node), await open_organization(node)
        await acme.add_member("one")
        async with await psycopg.AsyncConnection.connect(fresh.database.app) as other:
            await other.execute("SELECT set_config('tenantry.org', %s, true)", (acme.id,))
            await other.execute("SELECT 1 FROM heads WHERE org = %s FOR NO KEY UPDATE", (acme.id,))
            await other.execute(
                "INSERT INTO changelog (org, rev, xid, at, touched, cut) VALUES (%s, 2, pg_current_xact_id(), 0, '[]', '[]')",
                (acme.id,),
            )
            behind = asyncio.create_task(acme.add_member("three"))
            for number in range(20):
                await globex.add_member(f"{number}")
                for _, heard in nodes:
                    await heard.until(globex.id, number + 1)
                    assert heard.revisions(acme.id) == [1]
            assert not behind.done()
            await other.commit()
        await behind
        for _, heard in nodes:
            await heard.until(acme.id, 3)
            assert heard.revisions(acme.id) == [1, 2, 3]
            assert heard.revisions(globex.id) == list(range(1, 21))


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)  # on SQLite one thread writes
async def test_evt_09_a_transaction_that_dies_is_not_waited_for(fresh: Config) -> None:
    """EVT-09: the revision of a transaction that was rolled back is the next one's, and is told once."""
    async with listening(fresh) as nodes:
        acme = await open_organization(nodes[0][0])
        await acme.add_member("one")
        async with await psycopg.AsyncConnection.connect(fresh.database.app) as other:
            await other.execute("SELECT set_config('tenantry.org', %s, true)", (acme.id,))
            await other.execute("SELECT 1 FROM heads WHERE org = %s FOR NO KEY UPDATE", (acme.id,))
            await other.execute(
                "INSERT INTO changelog (org, rev, xid, at, touched, cut) VALUES (%s, 2, pg_current_xact_id(), 0, '[]', '[]')",
                (acme.id,),
            )
            await other.rollback()
        await acme.add_member("two")
        for _, heard in nodes:
            await heard.until(acme.id, 2)
            assert [change.at_ms > 0 for change in heard.changes[acme.id]] == [True, True]


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)  # on SQLite no wake-up is on a wire
async def test_evt_10_with_its_wake_ups_lost_a_node_hears_within_a_second(fresh: Config, cluster: Cluster) -> None:
    """EVT-10: with the LISTEN connection killed again and again, each change is heard within a second and none is lost."""
    async with listening(fresh) as nodes:
        (node, _), (_, other) = nodes
        acme = await open_organization(node)
        async with await psycopg.AsyncConnection.connect(cluster.conninfo(), autocommit=True) as superuser:
            for number in range(8):
                await superuser.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' AND datname = %s",
                    (conninfo_to_dict(fresh.database.app)["dbname"],),
                )
                await acme.add_member(f"{number}")
                await other.until(acme.id, number + 1, within_s=1)
        assert other.revisions(acme.id) == list(range(1, 9))


async def test_what_comes_after_a_missing_revision_is_held_back_until_it_is_there(fresh: Config) -> None:
    async with listening(fresh) as nodes:
        (node, _), *_ = nodes
        acme, globex = await open_organization(node), await open_organization(node)
        ours, theirs = await acme.issue("session_1"), await globex.issue("session_1")
        await acme.add_member("one")
        for _, heard in nodes:
            await heard.until(acme.id, 1)
        for early in (3, 5, 4):
            tamper(fresh, a_change(fresh, acme.id, early))
        await globex.add_member("meanwhile")
        for each, heard in nodes:
            await heard.until(globex.id, 1)
            assert heard.revisions(acme.id) == [1]
            with pytest.raises(Stale):
                await each.cuts.check(ours)
            await each.cuts.check(theirs)
        tamper(fresh, a_change(fresh, acme.id, 2))
        for each, heard in nodes:
            await heard.until(acme.id, 5)
            assert heard.revisions(acme.id) == [1, 2, 3, 4, 5]
            await each.cuts.check(ours)


def a_change(config: Config, org: str, rev: int) -> str:
    """A revision that comes when nobody counts on it."""
    xid = ("", "") if config.database.file else ("xid, ", "pg_current_xact_id(), ")
    return f"INSERT INTO changelog (org, rev, {xid[0]}at, touched, cut) VALUES ('{org}', {rev}, {xid[1]}0, '[]', '[]')"


async def test_a_derived_table_is_what_recomputing_gives(fresh: Config) -> None:
    async with listening(fresh) as nodes:
        node, _ = nodes[0]
        acme, globex = await open_organization(node), await open_organization(node)
        entries = await asyncio.gather(*(acme.add_entry(f"account {n % 3}", n) for n in range(30)))
        await globex.add_entry("account 0", 1_000)
        for entry in entries[::2]:
            await node.journal.run(acme.scope, SYSTEM, ledger.correct_entry, entry, 100)
        held, recomputed = await acme.holdings(), dict[str, int]()
        for entry in held.entries:
            recomputed[entry.account] = recomputed.get(entry.account, 0) + entry.amount
        async with asyncio.timeout(10):
            while {b.account: b.total for b in await acme.reads.all(ledger.BALANCES_OF)} != recomputed:
                await node.engine.changed(0.1)
        assert sum(balance.entries for balance in await acme.reads.all(ledger.BALANCES_OF)) == 30


async def begin_another_life(config: Config, cluster: Cluster | None) -> None:
    statement = "INSERT INTO incarnations (number, id, at, reason) VALUES (2, 'incarnation_x', 0, 'restored')"
    if cluster is None:
        with closing(sqlite3.connect(config.database.file)) as connection:
            connection.execute(statement)
            connection.commit()
    else:
        async with await psycopg.AsyncConnection.connect(config.database.worker) as connection:
            await connection.execute(statement.encode())


async def test_a_node_ends_when_the_data_lives_another_life(fresh: Config, request: pytest.FixtureRequest) -> None:
    async with listening(fresh) as nodes:
        assert not any(node.ended.is_set() for node, _ in nodes)
        await begin_another_life(fresh, None if fresh.database.file else request.getfixturevalue("cluster"))
        async with asyncio.timeout(5):
            await asyncio.gather(*(node.ended.wait() for node, _ in nodes))


async def test_ops_17_a_node_that_cannot_take_a_change_in_ends_and_says_no(fresh: Config) -> None:
    """OPS-17: a change that a follower does not understand is not skipped: the node stops following and must end."""

    class Picky:
        def apply(self, change: Change) -> None:
            if "unknown" in change.touched:
                raise LookupError("a change of an unknown kind")

    async with node_of(fresh, on_open=lambda node: node.following.add(Picky())) as node:
        acme = await open_organization(node)
        holder = await acme.issue("session_1")
        await acme.add_member("known")
        await node.cuts.check(holder)
        async with acme.begin() as w:
            w.touch("unknown_1")
            ledger.add_member(w, "unknown")
        async with asyncio.timeout(5):
            await node.ended.wait()
            while node.lease.age_ms() < 700:
                await node.engine.changed(0.1)
        with pytest.raises(Stale):
            await node.cuts.check(holder)


@pytest.mark.parametrize("form", ["""'{"form": 2}', '[]'""", """'[]', '{"form": 2}'"""], ids=["touched", "cut"])
async def test_ops_17_a_change_in_a_form_this_version_does_not_know_stops_it_there(fresh: Config, form: str) -> None:
    """OPS-17: a row of the changelog that a later version wrote is not skipped by our own followers: none takes in what comes after it,
    and the node says yes to nobody of that organization; for the others it goes on."""
    heard = Heard()
    async with node_of(fresh, on_open=heard) as node:
        acme, globex = await open_organization(node), await open_organization(node)
        holder, neighbour = await acme.issue("session_1"), await globex.issue("session_1")
        await acme.add_member("known")
        await node.cuts.check(holder)
        await heard.until(acme.id, 1)
        columns, xid = (
            ("org, rev, at, touched, cut", "")
            if fresh.database.file
            else ("org, rev, xid, at, touched, cut", "pg_current_xact_id(), ")
        )
        tamper(fresh, f"INSERT INTO changelog ({columns}) VALUES ('{acme.id}', 2, {xid}0, {form})")
        await acme.add_member("after it")
        await globex.add_member("after it, too")
        await heard.until(globex.id, 1)
        with pytest.raises(Stale):
            await node.cuts.check(holder)
        await node.cuts.check(neighbour)
        assert node.following.applied(acme.id) == 1
        assert 3 not in heard.revisions(acme.id)
