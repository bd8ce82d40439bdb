"""Two organizations of each test alone, made by the room itself."""

import pytest

from tenantry.app.node import Node
from tests.organizations.tenants import Tenant, begun


@pytest.fixture
async def acme(node: Node) -> Tenant:
    """An organization of this test alone."""
    return await begun(node, "acme")


@pytest.fixture
async def globex(node: Node) -> Tenant:
    """Another organization of this test alone."""
    return await begun(node, "globex")
