"""The room's routes are described whole, ask for what the shipped model knows, and answer what their description says."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from schemathesis import GenerationMode, openapi
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tenantry.access.system import system_plan
from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.core.principal import Principal
from tenantry.organizations.routes import routes
from tests.app.test_schemathesis import hold
from tests.organizations.stock import OPERATOR
from tests.organizations.tenants import Tenant
from tests.stand.http import Served, served

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


@pytest.fixture
async def server(node: Node, deployment: Config) -> AsyncIterator[Served]:
    """A server with the routes of this room."""
    async with served(node, deployment, routes=routes(node.ids, node.clock, node.engine, node.keyring)) as running:
        yield running


async def test_every_permission_of_a_route_is_a_relation_of_the_shipped_model(node: Node) -> None:
    asked = {route.permission for route in routes(node.ids, node.clock, node.engine, node.keyring)}
    assert {permission.on for permission in asked} == {"organization"}
    for permission in asked:
        assert system_plan().vocabulary.relation("organization", permission.name), permission.name


async def test_whatever_is_sent_of_each_body_is_answered_as_described(server: Served, acme: Tenant) -> None:
    schema = openapi.from_dict((await server.client.get("/openapi.json")).json())
    owner = server.enter("the owner", Principal(acme.owner, acme.id, None))
    operator = server.enter("an operator", OPERATOR)
    held: set[str] = set()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        body = str(operation.definition.raw.get("requestBody", ""))
        if not operation.path.startswith("/v1/") or not body or body in held:
            continue
        headers = operator if operation.path.startswith("/v1/organizations") else owner
        address = f"http://127.0.0.1:{server.port}"
        # What an address, a time or a ceiling may be is more than a schema says.
        await asyncio.to_thread(hold, operation, GenerationMode.POSITIVE, address, headers, positive_data_acceptance)
        held.add(body)
    assert len(held) > 20
