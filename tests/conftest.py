"""What every test here stands on: asyncio, small examples by default, no silent skip where none is allowed, and one deployment
on each database for the whole run, in which each test has fresh organizations of its own.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.cli.demo.cluster import Cluster
from tenantry.store import Database
from tests.no_skip import pytest_make_collect_report, pytest_runtest_makereport
from tests.stand.clock import ManualClock
from tests.stand.databases import postgres_database, sqlite_database
from tests.stand.nodes import deployed, node_of
from tests.stand.organizations import Organization, open_organization

__all__ = ["pytest_make_collect_report", "pytest_runtest_makereport"]

# Deadlines of single examples measure the machine, not the code. `make test-long` picks `long` by its flag.
settings.register_profile("default", max_examples=25, stateful_step_count=20, deadline=None)
settings.register_profile(
    "long", max_examples=500, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default")

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Asyncio alone: the server runs on nothing else."""
    return "asyncio"


@pytest.fixture(scope="session")
def rounds(pytestconfig: pytest.Config) -> int:
    """How often a race is repeated: 5 times in `make test`, 20 in `make test-long`."""
    return 20 if pytestconfig.getoption("--hypothesis-profile") == "long" else 5


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The run's PostgreSQL, without fsync: tests of durability start their own."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def dialect(request: pytest.FixtureRequest) -> str:
    """Each of the two databases."""
    return request.param


@pytest.fixture(scope="session")
def deployment(dialect: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The run's deployment on each database. On SQLite the node below holds its file; on PostgreSQL others may join."""
    folder = tmp_path_factory.mktemp(f"deployment-{dialect}")
    return asyncio.run(deployed(_database(dialect, request, "tenantry_tests", folder), folder / "state"))


@pytest.fixture(scope="session")
async def node(deployment: Config) -> AsyncIterator[Node]:
    """The run's node on each database. A test that breaks a node or moves its clock opens one on a `fresh` deployment."""
    async with node_of(deployment) as node:
        yield node


@pytest.fixture
async def acme(node: Node) -> Organization:
    """An organization of this test alone."""
    return await open_organization(node)


@pytest.fixture
async def globex(node: Node) -> Organization:
    """Another organization of this test alone."""
    return await open_organization(node)


@pytest.fixture
def fresh(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> Config:
    """A deployment of this test alone, on each database."""
    return asyncio.run(deployed(_database(dialect, request, f"fresh_{next(_numbers)}", tmp_path), tmp_path / "state"))


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still until it is told to move."""
    return ManualClock()


def _database(dialect: str, request: pytest.FixtureRequest, name: str, folder: Path) -> Database:
    if dialect == "sqlite":
        return sqlite_database(folder)
    return postgres_database(request.getfixturevalue("cluster"), name)
