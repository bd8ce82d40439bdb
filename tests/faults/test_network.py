"""What the line to PostgreSQL can do to a node: fall silent, lose requests, lose answers, be torn."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tenantry.app.node import Node
from tenantry.cli.demo.cluster import Cluster
from tenantry.core.errors import Stale, TenantryError
from tenantry.journal.mark import MarkFile
from tests.faults.storage import until
from tests.faults.whole import Stored, in_postgres
from tests.stand.databases import postgres_database
from tests.stand.followers import Heard
from tests.stand.nodes import deployed, node_of
from tests.stand.organizations import Organization, on, open_organization
from tests.stand.wire import Wire

_numbers = itertools.count(1)


class Line(msgspec.Struct, frozen=True, eq=False):
    """A node behind a line, another beside it, and the database itself."""

    wire: Wire
    acme: Organization
    """As the node behind the line sees it."""

    beside: Organization
    """As a node sees it that reaches the database."""

    database: str
    heard: Heard
    """What the node behind the line was told."""

    @property
    def node(self) -> Node:
        """The node behind the line."""
        return self.acme.node

    def stored(self) -> Stored:
        """What is there, and whole; without the balances, which follow."""
        stored = in_postgres(self.database)(self.acme.id)
        stored.check()
        return msgspec.structs.replace(stored, balances=[])


@pytest.fixture
async def line(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Line]:
    name = f"line_{next(_numbers)}"
    database = postgres_database(cluster, name)
    config = await deployed(database, tmp_path / "state")
    other = await deployed(database, tmp_path / "state_beside")
    heard = Heard()
    async with (
        Wire(cluster.directory, tmp_path / "line") as wire,
        node_of(other) as beside,
        node_of(wire.through(config), on_open=heard) as node,
    ):
        acme = await open_organization(node)
        await asyncio.gather(*(acme.add_entry() for _ in range(16)))  # so that the node has connections to lose
        yield Line(wire, acme, on(beside, acme), cluster.conninfo(name), heard)
        wire.heal()
        wire.tear()


async def test_ops_09_a_node_cut_from_the_database_stops_saying_yes_and_comes_back(line: Line) -> None:
    """OPS-09: without a refusal from the network, `stale` within a second, yes again within a second of healing."""
    alive, dead = await line.acme.issue("user_a"), await line.acme.issue("user_b")
    await line.node.cuts.check(alive)
    await line.node.cuts.check(dead)
    line.wire.silence()

    async def stale() -> bool:
        try:
            await line.node.cuts.check(alive)
        except Stale:
            return True
        return False

    assert await until(stale, 1.0, "a node that hears nothing says stale") <= 1.0
    await line.beside.cut("user_b")
    line.wire.heal()

    async def yes() -> bool:
        return not await stale()

    assert await until(yes, 1.0, "a node whose line healed says yes") <= 1.0
    with pytest.raises(TenantryError, match="ended"):
        await line.node.cuts.check(dead)


@pytest.mark.long
async def test_ops_09_a_node_cut_off_for_half_a_minute_never_says_yes_and_comes_back_in_a_second(line: Line) -> None:
    """OPS-09: for 30 s, which is longer than every time-out, each question is answered `stale`; then it is yes again within 1 s."""
    alive = await line.acme.issue("user_a")
    await line.node.cuts.check(alive)
    line.wire.silence()

    async def yes() -> bool:
        try:
            await line.node.cuts.check(alive)
        except Stale:
            return False
        return True

    async def no() -> bool:
        return not await yes()

    await until(no, 1.0, "a node that hears nothing says stale")
    silent_until = time.monotonic() + 30

    async def over() -> bool:
        assert await no()
        return time.monotonic() > silent_until

    await until(over, 40, "half a minute")
    line.wire.heal()
    await until(yes, 1.0, "a node whose line healed says yes")


async def test_evt_10_behind_a_wall_that_drops_its_wake_ups_a_node_hears_within_a_second(line: Line) -> None:
    """EVT-10: the LISTEN connection is half-open: nothing comes by it and nothing ends it. Each change is heard by reading, in a
    second, once and in order, and so are those after the wall is gone."""
    first = (await line.beside.holdings()).head.rev + 1
    await line.heard.until(line.acme.id, first - 1)
    line.wire.deafen()
    for number in range(4):
        await line.beside.add_member(f"{number}")
        await line.heard.until(line.acme.id, first + number, within_s=1)
    line.wire.heal()
    await line.beside.add_member("healed")
    await line.heard.until(line.acme.id, first + 4, within_s=1)
    assert line.heard.revisions(line.acme.id) == list(range(1, first + 5))


async def test_a_caller_that_is_cancelled_leaves_all_or_nothing(line: Line) -> None:
    for n in range(20):
        writing = asyncio.ensure_future(line.acme.add_member(f"member{n}"))
        await asyncio.wait({writing}, timeout=n * 0.0005)
        writing.cancel()
    await line.acme.add_entry()
    line.stored()


async def test_a_torn_line_is_mended_without_a_restart(line: Line) -> None:
    for _ in range(5):
        line.wire.tear()

        async def works() -> bool:
            try:
                await line.acme.add_entry()
            except TenantryError as error:
                assert error.code in ("outcome_unknown", "unavailable")  # noqa: PT017
                return False
            return True

        await until(works, 5, "writing over a fresh connection")
    line.stored()


@pytest.mark.long
async def test_a_set_that_meets_a_silent_line_is_not_waited_for_without_end(line: Line) -> None:
    line.wire.silence()
    with pytest.raises(TenantryError) as refused:
        async with asyncio.timeout(15):
            await line.acme.add_entry()
    assert refused.value.code in ("outcome_unknown", "unavailable")
    line.wire.heal()


async def test_a_node_that_missed_its_database_for_a_while_still_keeps_its_mark(line: Line, tmp_path: Path) -> None:
    line.wire.silence()
    await line.beside.add_entry()
    await asyncio.gather(line.node.engine.db_time_ms(), return_exceptions=True)
    line.wire.heal()
    revision = (await line.beside.holdings()).head.rev

    async def marked() -> bool:
        mark = MarkFile(tmp_path / "state").read()
        return mark is not None and any(seen.org == line.acme.id and seen.rev == revision for seen in mark.newest)

    await until(marked, 20, "the mark names the newest change")
