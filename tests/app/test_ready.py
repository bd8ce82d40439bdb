"""Readiness follows the database and back, while the process lives on."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tenantry.cli.demo.cluster import Cluster
from tests.stand.databases import postgres_database
from tests.stand.http import Served, served
from tests.stand.nodes import deployed, node_of
from tests.stand.wire import Wire

_numbers = itertools.count(1)


@pytest.fixture
async def line(cluster: Cluster, tmp_path: Path) -> AsyncIterator[tuple[Wire, Served]]:
    """A server whose database is at the other end of a line."""
    config = await deployed(postgres_database(cluster, f"ready_{next(_numbers)}"), tmp_path / "state")
    async with (
        Wire(cluster.directory, tmp_path / "line") as wire,
        node_of(wire.through(config)) as node,
        served(node, config) as server,
    ):
        yield wire, server
        wire.heal()
        wire.tear()


async def test_ops_09_a_server_cut_from_its_database_is_not_ready_until_it_hears_again(
    line: tuple[Wire, Served],
) -> None:
    """OPS-09: readiness goes to 503 and names the cause, liveness stays, and readiness comes back by itself."""
    wire, server = line

    async def ready() -> tuple[int, str]:
        answer = await server.client.get("/health/ready")
        return answer.status_code, answer.json().get("detail", "")

    assert await ready() == (200, "")
    wire.silence()
    while (said := await ready())[0] == 200:
        pass
    assert said[0] == 503
    assert "stale" in said[1]
    assert (await server.client.get("/health/live")).status_code == 200
    wire.heal()
    while (await ready())[0] != 200:
        pass
