"""What the tests of the SDK stand on: a served node of a deployment of its own, and a verifier that follows it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tenantry.app.config import Config
from tenantry_sdk import Verifier
from tests.stand.databases import sqlite_database
from tests.stand.nodes import deployed
from tests.stand.verifiers import Place, place


@pytest.fixture
def fresh(tmp_path: Path) -> Config:
    """A deployment of this test alone. What a verifier outside sees does not depend on the database; journeys have both."""
    return asyncio.run(deployed(sqlite_database(tmp_path), tmp_path / "state"))


@pytest.fixture
async def here(fresh: Config) -> AsyncIterator[Place]:
    """A served node."""
    async with place(fresh) as here:
        yield here


@pytest.fixture
async def verifier(here: Place) -> AsyncIterator[Verifier]:
    """A verifier of the platform's that knows what has been cut."""
    async with here.verifier() as verifier:
        await verifier.feed.ready()
        yield verifier
