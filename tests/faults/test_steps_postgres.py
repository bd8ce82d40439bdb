"""Death at a named step of a node on PostgreSQL, whose line or whose lock is held at that moment: of a commit, of sequencing."""

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec
import psycopg
import pytest

from tenantry.app.config import Config
from tenantry.cli.demo.cluster import Cluster
from tenantry.cli.demo.driver import NodeProcess
from tests.faults.storage import opened, told, until
from tests.faults.whole import StoredOf, in_postgres
from tests.stand.databases import postgres_database
from tests.stand.nodes import deployed, node_process
from tests.stand.tamper import tamper
from tests.stand.wire import Wire

_numbers = itertools.count(1)


class Line(msgspec.Struct, frozen=True, eq=False):
    """A node behind a line to PostgreSQL, and what the database holds."""

    wire: Wire
    config: Config
    folder: Path
    database: str
    stored: StoredOf

    def node(self) -> AbstractAsyncContextManager[NodeProcess]:
        """A node in a process of its own, at the end of the line."""
        return node_process(self.config, self.folder)

    async def at_a_lock(self, superuser: psycopg.AsyncConnection, role: str) -> None:
        """Wait until a statement of a role waits for a lock."""
        asked = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND usename = %s AND wait_event_type = 'Lock'"

        async def waits() -> bool:
            await superuser.execute("SELECT pg_stat_clear_snapshot()")
            return await (await superuser.execute(asked, (superuser.info.dbname, role))).fetchone() is not None

        await until(waits, 5, "a statement waits for the lock")

    async def gone(self) -> None:
        """Wait until the database has noticed that nobody is there: what was under way is done or undone."""
        asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND usename <> 'postgres'"
        async with await psycopg.AsyncConnection.connect(self.database, autocommit=True) as superuser:

            async def nobody() -> bool:
                row = await (await superuser.execute(asked, (superuser.info.dbname,))).fetchone()
                return row == (0,)

            await until(nobody, 5, "the sessions of a dead node end")


@pytest.fixture
async def line(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Line]:
    name = f"steps_{next(_numbers)}"
    config = await deployed(postgres_database(cluster, name), tmp_path / "state")
    conninfo = cluster.conninfo(name)
    async with Wire(cluster.directory, tmp_path / "line") as wire:
        yield Line(wire, wire.through(config), tmp_path, conninfo, in_postgres(conninfo))


_DIES = ("before it is sent", "in the middle of a set", "in the middle of a group", "after the commit", "")


@pytest.mark.parametrize("what", ["add_entry", pytest.param("spend", marks=pytest.mark.long)])
async def test_ops_01_a_node_that_dies_at_a_step_of_its_commit_leaves_the_set_whole_or_absent(
    line: Line, what: str
) -> None:
    """OPS-01: kill -9 before a set is sent, when half of it was, while it waits in the database, and after the commit, before the
    answer: it is there or not, whole, and sending it again does it once."""
    org = ""
    there: set[str] = set()
    sent: set[str] = set()

    async def send(node: NodeProcess, names: Iterable[str]) -> set[str]:
        args = [{"id": f"ledger_{n}", "account": "cash", "amount": 1, "voucher": n} for n in names]
        answers = await asyncio.gather(*(told(node, what, org=org, **each) for each in args))
        return {answer.get("error", "") for answer in answers}

    def names() -> set[str]:
        stored = line.stored(org)
        stored.check()
        rows = stored.vouchers if what == "spend" else stored.entries
        return {str(row[0]).removeprefix("ledger_") for row in rows}

    def arrived(sent: set[str]) -> Callable[[], Awaitable[bool]]:
        async def all_there() -> bool:
            return sent <= names()

        return all_there

    for step in _DIES:
        async with line.node() as node, await psycopg.AsyncConnection.connect(line.database) as superuser:
            org = org or await opened(node)
            await node.ready
            again = await asyncio.gather(*(send(node, [name]) for name in sorted(sent)))
            known = {"already_spent"} if what == "spend" else {"already_entered"}
            assert again == [known if name in there else {""} for name in sorted(sent)], step
            assert await send(node, [f"{step} warm {n}" for n in range(4)]) == {""}
            assert names() >= there | sent
            there = names()
            if not step:
                break
            sent = {f"{step} {n}" for n in range(4 if "group" in step else 1)}
            match step:
                case "before it is sent":
                    line.wire.lose_requests()
                case "in the middle of a set":
                    line.wire.lose_requests(after_bytes=400)
                case "in the middle of a group":
                    await superuser.execute("SELECT 1 FROM tenantry.heads WHERE org = %s FOR UPDATE", (org,))
                case _:
                    line.wire.lose_answers()
            sending = asyncio.create_task(send(node, sent))
            if step == "in the middle of a group":
                await line.at_a_lock(superuser, "tenantry_app")
            elif step == "after the commit":
                await until(arrived(sent), 5, "the sets are in the database")
            else:
                await asyncio.wait({sending}, timeout=0.1)
            node.signal(signal.SIGKILL)
            await node.ended()
            assert await sending == {"outcome_unknown"}
        line.wire.heal()
        line.wire.tear()
        await line.gone()
        now = names()
        assert there <= now <= there | sent, step
        if step != "in the middle of a group":
            assert now == (there | sent if step == "after the commit" else there), step
        there = now


async def test_aud_08_a_node_that_dies_at_a_step_of_sequencing_leaves_one_root_for_a_size(line: Line) -> None:
    """AUD-08: kill -9 between append and integration, between signature and storing, and between storing and handing out, on
    PostgreSQL: the successor goes on from what is stored, and there is one root for a size."""
    org = ""
    handed_out: dict[int, bytes] = {}

    def sizes() -> dict[int, bytes]:
        stored = line.stored(org)
        stored.check()
        stored.check_checkpoints()
        return {size: bytes(root) for size, root in stored.checkpoints}

    def under_one(leaves: int) -> Callable[[], Awaitable[bool]]:
        async def there() -> bool:
            return leaves in sizes()

        return there

    for step in ("appended", "signed", "stored", "last"):
        tamper(line.config, "UPDATE duties SET until = 0")
        async with line.node() as node, await psycopg.AsyncConnection.connect(line.database) as superuser:
            org = org or await opened(node)
            await node.ready
            leaves = len(line.stored(org).leaves)
            await until(under_one(leaves), 8, f"the log is under a checkpoint before {step}")
            assert handed_out.items() <= sizes().items(), step
            handed_out = sizes()
            if step == "last":
                break
            if step in ("signed", "stored"):
                await superuser.execute("LOCK TABLE tenantry.audit_checkpoints IN EXCLUSIVE MODE")
            assert (await node.do("spend", org=org, voucher=step))["ok"]
            match step:
                case "appended":
                    line.wire.lose_requests()
                case "signed":
                    await line.at_a_lock(superuser, "tenantry_worker")
                case _:
                    await line.at_a_lock(superuser, "tenantry_worker")
                    line.wire.lose_answers()
                    await superuser.rollback()
                    await until(under_one(leaves + 1), 8, "the checkpoint is stored")
            node.signal(signal.SIGKILL)
            await node.ended()
        line.wire.heal()
        line.wire.tear()
        await line.gone()
        assert handed_out.items() <= sizes().items(), step
        handed_out = sizes()
    assert len(line.stored(org).vouchers) == 3
