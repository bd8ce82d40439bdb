"""The whole server, and two organizations in it that are strangers to each other."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tenantry.app.config import Config
from tests.stand.assembled import Home, House, assembled, founded
from tests.stand.databases import sqlite_database
from tests.stand.nodes import deployed


@pytest.fixture
def alone(tmp_path: Path) -> Config:
    """A deployment of this test alone, with the socket that is its console."""
    return asyncio.run(deployed(sqlite_database(tmp_path), tmp_path / "state"))


@pytest.fixture
async def house(alone: Config) -> AsyncIterator[House]:
    """The server over it."""
    async with assembled(alone) as house:
        yield house


@pytest.fixture
async def acme(house: House) -> Home:
    """An organization with one of everything."""
    return await founded(house, "acme")


@pytest.fixture
async def globex(house: House) -> Home:
    """Another one."""
    return await founded(house, "globex")
