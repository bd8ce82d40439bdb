"""A server over the run's node on each database, and organizations of each test alone."""

from collections.abc import AsyncIterator

import pytest

from tenantry.app.config import Config
from tenantry.app.node import Node
from tests.oauth.stand import Server, founded, resource, serving
from tests.stand.organizations import Organization


@pytest.fixture
async def server(node: Node, deployment: Config) -> AsyncIterator[Server]:
    """A server of this test alone."""
    async with serving(node, deployment) as server:
        yield server


@pytest.fixture
async def acme(node: Node) -> Organization:
    """An organization with a resource."""
    return await _with_resource(node)


@pytest.fixture
async def globex(node: Node) -> Organization:
    """Another one, with a resource of the same indicator."""
    return await _with_resource(node)


async def _with_resource(node: Node) -> Organization:
    org = await founded(node)
    await resource(org)
    return org
