"""The OpenAPI document says what the table says."""

from typing import Any

import pytest

from tenantry import web
from tenantry.app.openapi import document
from tests.stand.http import Gate, Served, ledger_routes

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


async def test_the_document_of_the_server_holds_every_route_and_no_dangling_reference(server: Served) -> None:
    said: dict[str, Any] = (await server.client.get("/openapi.json")).json()
    assert said["openapi"] == "3.1.0"
    routes = {(r.method.lower(), r.path): r for r in ledger_routes(Gate())}
    listed = {(method, path): of for path, methods in said["paths"].items() for method, of in methods.items()}
    assert routes.keys() <= listed.keys()
    assert {("get", "/health/live"), ("get", "/health/ready"), ("get", "/openapi.json")} <= listed.keys()
    for key, route in routes.items():
        operation = listed[key]
        assert operation["x-permission"] == route.permission.name
        assert operation["security"] == [{"bearer": []}]
        assert ("requestBody" in operation) == (route.body is not None)
        assert set(operation["responses"]) == {str(route.status), "default"}
    names = [operation["operationId"] for operation in listed.values()]
    assert len(names) == len(set(names))
    for name in references(said):
        assert name.removeprefix("#/components/schemas/") in said["components"]["schemas"]


async def test_every_route_that_is_not_public_refuses_who_proves_nothing(server: Served) -> None:
    said: dict[str, Any] = (await server.client.get("/openapi.json")).json()
    asked = 0
    for path, methods in said["paths"].items():
        for method, operation in methods.items():
            answer = await server.client.request(method, path.replace("{entry_id}", "ledger_" + "0" * 26))
            if operation["security"]:
                assert answer.status_code == 401, (method, path)
                asked += 1
    assert asked == len(ledger_routes(Gate()))


def test_a_parameter_is_described_by_its_type(dialect: str) -> None:
    paths = document(ledger_routes(Gate()), "https://id.example.com")["paths"]
    (entry,) = paths["/v1/entries/{entry_id}"]["get"]["parameters"]
    assert (entry["in"], entry["required"]) == ("path", True)
    assert entry["schema"]["pattern"].startswith("^ledger_")
    limit, account = paths["/v1/entries"]["get"]["parameters"]
    assert (limit["required"], limit["schema"]["maximum"]) == (False, 100)
    assert account["schema"]["type"] == "array"


def test_a_header_that_names_what_is_asked_about_is_described(dialect: str) -> None:
    @web.route("GET", "/things", web.Permission("can_see", writes=False, on="thing", header="Tenantry-Thing"))
    async def things(call: web.Call) -> list[str]:
        """All."""
        del call
        return []

    (header,) = document([things], "https://id.example.com")["paths"]["/things"]["get"]["parameters"]
    assert (header["name"], header["in"], header["required"]) == ("Tenantry-Thing", "header", False)


def references(node: object) -> list[str]:
    """Every `$ref` below."""
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [name for below in node.values() for name in references(below)]
    return [name for below in node for name in references(below)] if isinstance(node, list) else []
