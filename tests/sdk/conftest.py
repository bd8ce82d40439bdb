"""What the tests of the SDK stand on: a served node of a deployment of its own, and a verifier that follows it."""

from collections.abc import AsyncIterator

import pytest

from tenantry.app.config import Config
from tenantry_sdk import Verifier
from tests.stand.verifiers import Place, place


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
