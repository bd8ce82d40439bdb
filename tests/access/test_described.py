"""The interface is described whole, and answers what its description says, whatever is asked of it."""

import asyncio

import pytest
from schemathesis import GenerationMode, openapi
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tenantry.access.routes import routes
from tenantry.access.system import SYSTEM_STORE, system_plan
from tenantry.core.ids import ulid
from tenantry.web import PUBLIC
from tests.access.stand import Access, Caller, service_of
from tests.app.test_schemathesis import hold

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)

NO_BODY_IS_WRONG = {
    *("delete_store", "get_store", "read_authorization_model", "read_assertions"),
    "get_authzen_configuration",
}


async def test_every_permission_of_a_route_is_a_relation_of_the_shipped_model(access: Access) -> None:
    asking = [route for route in routes(service_of(access)) if route.permission is not PUBLIC]
    assert asking
    for route in asking:
        relation = system_plan().vocabulary.relation(route.permission.on, route.permission.name)
        assert relation.restrictions == () or route.permission.on == "organization"


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
async def test_the_room_answers_what_its_document_says(acme: Caller, access: Access, mode: GenerationMode) -> None:
    ours = {route.name for route in routes(service_of(access))}
    schema = openapi.from_dict((await acme.server.client.get("/openapi.json")).json())
    held = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        name = operation.definition.raw["operationId"]
        if name not in ours or (mode is GenerationMode.NEGATIVE and name in NO_BODY_IS_WRONG):
            continue
        address, headers = f"http://127.0.0.1:{acme.server.port}", {"Authorization": f"Bearer {acme.token}"}
        # Tokens, tuples and models are wrong by what they mean, which no schema says.
        await asyncio.to_thread(hold, operation, mode, address, headers, positive_data_acceptance)
        held += 1
    assert held >= len(ours) - len(NO_BODY_IS_WRONG)
    path = f"/stores/{ulid(SYSTEM_STORE)}"
    assert not await acme.allows(path, f"organization:{acme.organization.id}#owner@user:anybody")
