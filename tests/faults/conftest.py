"""Deployments that can be broken: each on a disk, a line or a cluster of its own."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tenantry.cli.demo.cluster import Cluster
from tests.faults.disk import Disk
from tests.faults.places import Place, place_in_cluster, place_in_file
from tests.faults.storage import Storage
from tests.faults.trio import Trio
from tests.faults.whole import in_postgres, in_sqlite
from tests.stand.databases import postgres_database, sqlite_database
from tests.stand.nodes import deployed

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def durable_cluster() -> Iterator[Cluster]:
    """A PostgreSQL that syncs, restarted by each test on the disk it brings."""
    with Cluster(fsync=True) as cluster:
        yield cluster


@pytest.fixture(params=["sqlite", "postgres"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """A deployment on a disk under test, as in production, on each database."""
    if request.param == "sqlite":
        folder = tmp_path / "data"
        folder.mkdir()
        config = asyncio.run(deployed(sqlite_database(folder), tmp_path / "state", development=False))
        disk = Disk(tmp_path / "disk", prefix=folder)
        yield Storage(config, disk, tmp_path, in_sqlite(folder / "tenantry.db"))
        return
    cluster: Cluster = request.getfixturevalue("durable_cluster")
    name = f"storage_{next(_numbers)}"
    config = asyncio.run(deployed(postgres_database(cluster, name), tmp_path / "state", development=False))
    cluster.stop()
    disk = Disk(cluster.directory / f"disk_{name}", prefix=cluster.data)
    cluster.start(disk.env)
    yield Storage(config, disk, tmp_path, in_postgres(cluster.conninfo(name)), cluster)
    cluster.stop()
    cluster.start()


@pytest.fixture
async def trio(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Trio]:
    """One process over a file, three over PostgreSQL."""
    if dialect == "sqlite":
        database = sqlite_database(tmp_path)
        trio = Trio(database, tmp_path, in_sqlite(tmp_path / "tenantry.db"), 1)
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        name = f"trio_{next(_numbers)}"
        trio = Trio(postgres_database(cluster, name), tmp_path, in_postgres(cluster.conninfo(name)), 3)
    await trio.start()
    yield trio
    await trio.close()


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[Cluster]:
    """A PostgreSQL whose data a module's tests replace."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A place of each database that can be backed up, put back and copied."""
    if request.param == "sqlite":
        return place_in_file(tmp_path)
    return place_in_cluster(request.getfixturevalue("own_cluster"), f"lives_{tmp_path.name}"[:60])
