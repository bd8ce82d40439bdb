"""A server over the run's node on SQLite, with an organization and somebody in it who has a credential."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from tenantry.app.config import Config
from tenantry.app.node import Node
from tests.stand.http import Served, served
from tests.stand.organizations import Organization


class Caller(msgspec.Struct, frozen=True, eq=False):
    """Somebody of an organization, and by what headers it proves itself."""

    org: Organization
    headers: dict[str, str]


@pytest.fixture
async def server(node: Node, deployment: Config) -> AsyncIterator[Served]:
    """A server of this test alone."""
    async with served(node, deployment) as server:
        yield server


@pytest.fixture
async def ann(server: Served, acme: Organization) -> Caller:
    """Ann, of Acme."""
    return Caller(acme, server.enter("tok-ann", await acme.issue("user_ann")))
