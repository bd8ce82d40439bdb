"""A deployment of this room's tests alone, on each database, with one node that has the room."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tenantry.app.config import Config
from tests.access.stand import Access, Tenant, access_on, tenant
from tests.stand.databases import postgres_database, sqlite_database
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


@pytest.fixture
async def atlas(access: Access) -> Tenant:
    """An organization of this test alone, with a store of documents, folders and groups."""
    return await tenant(access)


@pytest.fixture
async def other(access: Access) -> Tenant:
    """Another organization with such a store."""
    return await tenant(access)
