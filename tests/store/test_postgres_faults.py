"""What goes wrong between a node and its PostgreSQL: deadlocks, time-outs, broken connections, made by somebody else's connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from tenantry.app.node import Node
from tenantry.cli.demo.cluster import Cluster
from tenantry.core.errors import Ended, TenantryError, Unavailable, Unknown
from tenantry.store import Survey, postgres
from tenantry.store.postgres import CONNECTIONS
from tests.stand.databases import postgres_database
from tests.stand.nodes import deployed, node_of
from tests.stand.organizations import Organization, open_organization

DATABASE = "faults"
RAISES = """
CREATE SEQUENCE tenantry.tries; GRANT ALL ON SEQUENCE tenantry.tries TO tenantry_app;
CREATE FUNCTION tenantry.fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF nextval('tenantry.tries') <= {times} THEN RAISE EXCEPTION USING ERRCODE = '{state}'; END IF; RETURN NEW; END $$;
CREATE TRIGGER fail BEFORE INSERT ON tenantry.{table} FOR EACH ROW EXECUTE FUNCTION tenantry.fail();
"""
SLOW = """
CREATE FUNCTION tenantry.sleep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;
CREATE TRIGGER slow BEFORE INSERT ON tenantry.ledger_members FOR EACH ROW WHEN (NEW.name LIKE 'slow%') EXECUTE FUNCTION tenantry.sleep();
CREATE TRIGGER slow BEFORE INSERT ON tenantry.ledger_vouchers FOR EACH ROW EXECUTE FUNCTION tenantry.sleep();
"""
MENDS = "DROP TRIGGER fail ON tenantry.{table}; DROP FUNCTION tenantry.fail; DROP SEQUENCE tenantry.tries"


@pytest.fixture(scope="module")
async def node(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    """A node whose connections these tests break."""
    config = await deployed(postgres_database(cluster, DATABASE), tmp_path_factory.mktemp(DATABASE))
    async with node_of(config) as node:
        yield node


@pytest.fixture
async def acme(node: Node) -> Organization:
    """An organization of this test alone."""
    return await open_organization(node)


@pytest.fixture
async def superuser(cluster: Cluster) -> AsyncIterator[psycopg.AsyncConnection]:
    """Somebody else's connection."""
    connection = await psycopg.AsyncConnection.connect(cluster.conninfo(DATABASE), autocommit=True)
    async with connection:
        await connection.execute("SET search_path = tenantry")
        yield connection


@asynccontextmanager
async def failing(superuser: psycopg.AsyncConnection, table: str, state: str, times: int) -> AsyncIterator[None]:
    """The next `times` rows of a table meet this SQLSTATE."""
    await superuser.execute(RAISES.format(table=table, state=state, times=times).encode())
    yield
    await superuser.execute(MENDS.format(table=table).encode())


async def terminate(superuser: psycopg.AsyncConnection, where: str) -> int:
    """Break connections of the node from the server's side."""
    found = await superuser.execute(
        f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{DATABASE}' AND {where}".encode()
    )
    row = await found.fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("state", ["40P01", "40001"])
@pytest.mark.parametrize("table", ["ledger_members", "ledger_vouchers"])
async def test_ops_21_a_conflict_between_writers_is_retried_three_times_with_effects_once(
    acme: Organization, superuser: psycopg.AsyncConnection, table: str, state: str
) -> None:
    """OPS-21: deadlocks and serialization failures are retried at most three times, with effects once, then Unavailable."""
    write = {"ledger_members": acme.add_member, "ledger_vouchers": acme.spend}[table]
    async with failing(superuser, table, state, times=3):
        await write("thrice")
    before = await acme.holdings()
    assert (len(before.members) + len(before.vouchers), len(before.leaves)) == (1, 2)
    async with failing(superuser, table, state, times=4):
        with pytest.raises(Unavailable) as refusal:
            await write("four times")
    assert refusal.value.retry_after_ms > 0
    assert await acme.holdings() == before


async def test_ops_21_a_real_deadlock_is_settled(acme: Organization, superuser: psycopg.AsyncConnection) -> None:
    """OPS-21: a set in a real deadlock with somebody else is told or retried by PostgreSQL's choice, and its effects are there once."""
    await superuser.execute("ALTER SYSTEM SET deadlock_timeout = '50ms'")
    await superuser.execute("SELECT pg_reload_conf()")
    await acme.add_member("Anne")
    async with superuser.transaction():
        await superuser.execute("SELECT 1 FROM heads WHERE org = %s FOR UPDATE", (acme.id,))
        writing = asyncio.create_task(acme.add_member("Bob"))
        waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        while not await (await superuser.execute(waiting, (DATABASE,))).fetchone():
            await superuser.execute("SELECT pg_stat_clear_snapshot()")
        async with asyncio.timeout(5):
            # Its row waits for the member that the node's set has written: a circle.
            await superuser.execute("SET LOCAL deadlock_timeout = '10s'")
            await superuser.execute("INSERT INTO ledger_members VALUES (%s, 'Bob') ON CONFLICT DO NOTHING", (acme.id,))
            await superuser.execute("DELETE FROM ledger_members WHERE org = %s AND name = 'Bob'", (acme.id,))
    await writing
    held = await acme.holdings()
    assert ([row.name for row in held.members], held.head.rev) == (["Anne", "Bob"], 2)


@pytest.mark.parametrize("write", ["member", "voucher"])
async def test_ops_21_a_lock_is_waited_for_two_seconds_and_no_longer(
    acme: Organization, superuser: psycopg.AsyncConnection, write: str
) -> None:
    """OPS-21: behind a lock that somebody holds, a set is refused as Unavailable with nothing of it written; others go on."""
    before = await acme.holdings()
    neighbour = await open_organization(acme.node)
    async with superuser.transaction():
        await superuser.execute("SELECT 1 FROM heads WHERE org = %s FOR UPDATE", (acme.id,))
        waiting = asyncio.create_task({"member": acme.add_member, "voucher": acme.spend}[write]("one"))
        await neighbour.add_member("Gus")
        with pytest.raises(Unavailable):
            async with asyncio.timeout(5):
                await waiting
    assert await acme.holdings() == before
    await acme.spend("one")


async def test_ops_21_a_cut_does_not_queue_behind_what_exhausts_the_pool(
    acme: Organization, superuser: psycopg.AsyncConnection
) -> None:
    """OPS-21: with every connection for requests waiting for a lock, access still ends at once; another write waits its turn."""
    globex, neighbour = await open_organization(acme.node), await open_organization(acme.node)
    credential = await neighbour.issue("user_a")
    async with superuser.transaction():
        await superuser.execute("SELECT 1 FROM heads WHERE org = ANY (%s) FOR UPDATE", ([acme.id, globex.id],))
        each = range(CONNECTIONS // 2)
        stuck = [asyncio.create_task(org.add_member(f"member {n}")) for org in (acme, globex) for n in each]
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        while await (await superuser.execute(waiting, (DATABASE,))).fetchone() != (CONNECTIONS,):
            await superuser.execute("SELECT pg_stat_clear_snapshot()")
        another = asyncio.create_task(neighbour.add_member("Gus"))
        async with asyncio.timeout(1):
            await neighbour.cut("user_a")
        assert not another.done()
    await asyncio.gather(another, *stuck)
    with pytest.raises(Ended):
        await neighbour.add_member("refused", credential)


@pytest.mark.parametrize("write", ["member", "voucher"])
async def test_ops_21_a_set_whose_connection_breaks_is_whole_or_absent(
    acme: Organization, superuser: psycopg.AsyncConnection, write: str
) -> None:
    """OPS-21: a backend killed in mid pipeline makes the set Unknown, and it is not there; the node works on."""
    before = await acme.holdings()
    async with superuser.transaction():
        await superuser.execute("SELECT 1 FROM heads WHERE org = %s FOR UPDATE", (acme.id,))
        writing = asyncio.create_task({"member": acme.add_member, "voucher": acme.spend}[write]("one"))
        async with asyncio.timeout(5):
            while not await terminate(superuser, "usename = 'tenantry_app' AND wait_event_type = 'Lock'"):
                await superuser.execute("SELECT pg_stat_clear_snapshot()")
        with pytest.raises(Unknown):
            await writing
    assert await acme.holdings() == before
    await acme.spend("afterwards")
    await acme.add_member("afterwards")


async def test_ops_21_all_connections_broken_at_once_heal_by_themselves(
    acme: Organization, superuser: psycopg.AsyncConnection, rounds: int
) -> None:
    """OPS-21: with every connection reset while sets are under way, each is whole or absent and told so, and the node is itself again."""
    told: dict[str, TenantryError | None] = {}

    async def write(name: str) -> None:
        try:
            await (acme.add_member(name) if name.startswith("m") else acme.spend(name))
        except (Unknown, Unavailable) as error:
            told[name] = error
        else:
            told[name] = None

    for round_ in range(rounds):
        tasks = [asyncio.create_task(write(f"{kind} {round_} {n}")) for n in range(40) for kind in "mv"]
        await terminate(superuser, "usename = 'tenantry_app'")
        await asyncio.gather(*tasks)
    async with asyncio.timeout(10):
        while True:
            try:
                held = await acme.holdings()
            except Unavailable:
                continue
            break
    there = {row.name for row in (*held.members, *held.vouchers)}
    assert {name for name, error in told.items() if error is None} <= there
    assert there <= {name for name, error in told.items() if error is None or isinstance(error, Unknown)}
    assert len(held.leaves) == 1 + len(there)
    assert [change.rev for change in held.changes] == list(range(1, len(held.members) + 1))


async def test_ops_21_a_database_without_a_free_connection_is_unavailable(
    acme: Organization, superuser: psycopg.AsyncConnection
) -> None:
    """OPS-21: where the database takes no more connections, a set is refused as Unavailable, and taken once it does again."""
    await superuser.execute("ALTER ROLE tenantry_app CONNECTION LIMIT 0")
    try:
        async with asyncio.timeout(20):
            while await terminate(superuser, "usename = 'tenantry_app'"):
                await superuser.execute("SELECT pg_stat_clear_snapshot()")
            with pytest.raises(Unavailable):
                while True:
                    try:
                        await acme.add_member("Anne")
                    except Unknown:
                        continue
    finally:
        await superuser.execute("ALTER ROLE tenantry_app CONNECTION LIMIT -1")
    async with asyncio.timeout(20):
        while True:
            try:
                await acme.add_member("Anne")
            except (Unavailable, Unknown):
                continue
            break
    assert [row.name for row in (await acme.holdings()).members] == ["Anne"]


async def test_ops_21_slow_statements_that_hold_every_connection_are_ended_and_stop_no_revocation_check(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OPS-21: with every connection in a statement that does not end, each is ended by its time-out as Unavailable with nothing
    written; what waited behind them goes through, and meanwhile credentials are judged."""
    monkeypatch.setattr(postgres, "STATEMENT_TIMEOUT_MS", 700)
    config = await deployed(postgres_database(cluster, "slow"), tmp_path / "slow")
    async with (
        node_of(config) as node,
        await psycopg.AsyncConnection.connect(cluster.conninfo("slow"), autocommit=True) as owner,
    ):
        acme = await open_organization(node)
        credential = await acme.issue("user_a")
        await owner.execute(SLOW)
        others = [await open_organization(node) for _ in range(postgres.CONNECTIONS - 1)]
        slow = [asyncio.create_task(acme.spend("slow"))]
        slow += [asyncio.create_task(other.add_member("slow")) for other in others]
        sleeping = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'slow' AND wait_event = 'PgSleep'"
        async with asyncio.timeout(5):
            while await (await owner.execute(sleeping)).fetchone() != (postgres.CONNECTIONS,):
                await node.cuts.check(credential)
        behind = asyncio.create_task(acme.add_member("behind"))
        await node.cuts.check(credential)
        outcomes = await asyncio.gather(*slow, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {Unavailable}
        await behind
        held = await acme.holdings()
        assert ([row.name for row in held.members], held.vouchers) == (["behind"], [])


async def test_ops_21_a_statement_may_take_ten_seconds_and_wait_two_for_a_lock(node: Node) -> None:
    """OPS-21: on the connections of every role that a node holds, the time-outs are set."""
    for role in ("app", "worker"):
        settings = "SELECT current_setting('statement_timeout'), current_setting('lock_timeout')"
        assert await node.engine.survey(Survey(f"settings_{role}", settings, {}, role=role)) == [("10s", "2s")]
