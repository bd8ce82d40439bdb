"""A deployment of this room's tests alone, on each database, with one node that has the room."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tenantry.access.routes import routes
from tenantry.app.config import Config
from tests.access.stand import Access, Caller, Tenant, access_on, caller, service_of, tenant
from tests.stand.databases import postgres_database, sqlite_database
from tests.stand.http import Served, served
from tests.stand.nodes import deployed


@pytest.fixture(scope="session")
def access_deployment(dialect: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The deployment that all tests of the room share."""
    folder = tmp_path_factory.mktemp(f"access-{dialect}")
    database = (
        sqlite_database(folder)
        if dialect == "sqlite"
        else postgres_database(request.getfixturevalue("cluster"), "access_tests")
    )
    return asyncio.run(deployed(database, folder / "state"))


@pytest.fixture(scope="session")
async def access(access_deployment: Config) -> AsyncIterator[Access]:
    """The node that all tests of the room share."""
    async with access_on(access_deployment) as access:
        yield access


@pytest.fixture(scope="session")
async def server(access: Access, access_deployment: Config) -> AsyncIterator[Served]:
    """The room's routes on that node, over HTTP."""
    async with served(access.node, access_deployment, routes=routes(service_of(access))) as server:
        yield server


@pytest.fixture
async def acme(access: Access, server: Served) -> Caller:
    """Somebody of an organization of this test alone, who may call everything."""
    return await caller(access, server)


@pytest.fixture
async def globex(access: Access, server: Served) -> Caller:
    """Somebody of another organization."""
    return await caller(access, server)


@pytest.fixture
async def atlas(access: Access) -> Tenant:
    """An organization of this test alone, with a store of documents, folders and groups."""
    return await tenant(access)


@pytest.fixture
async def other(access: Access) -> Tenant:
    """Another organization with such a store."""
    return await tenant(access)
