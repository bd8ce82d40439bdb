"""Schemathesis holds the OpenAPI document against the running server: what it makes of the schemas, valid or not, is answered as said."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode, openapi
from schemathesis.checks import CheckFunction
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import negative_data_rejection

from tests.app.conftest import Caller
from tests.stand.http import Served

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)

BY_DESIGN = {"broken", "sneaky", "slow", "ticks", "seldom", "big", "metrics"}
"""Routes that fail, wait, or are not on this address."""

CAN_BE_WRONG = {"add_entry", "get_entry", "list_entries", "correct_entry", "delete_entry", "token"}
"""Routes that may be asked in a way their types refuse."""


OF_NO_SCHEMA = (413, 431)
"""Depth, sizes and the range of numbers are limits of ours."""

TWICE = b"A parameter is given twice."
"""No parameter of a form stands twice (RFC 6749, 3.1), which no schema says of those that it does not name."""


def hold(
    operation: APIOperation, mode: GenerationMode, address: str, headers: dict[str, str], *excluded: CheckFunction
) -> None:
    """Ask the server what the document promises to answer; all is checked but what is excluded."""

    @settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], deadline=None, database=None)
    @given(case=operation.as_strategy(generation_mode=mode))
    def every(case: Any) -> None:
        answer = case.call(base_url=address, headers=headers)
        if answer.status_code not in OF_NO_SCHEMA and TWICE not in answer.content:
            # What it takes for wrong in a query (a number for an array) is right once spelled, and the credential that it takes
            # out is put back above. Bodies that must be refused are in test_edge.py.
            case.validate_response(answer, excluded_checks=[negative_data_rejection, *excluded])

    try:
        every()
    except FailureGroup as found:  # no `Exception`: it would end the loop that runs all tests, not this test
        raise AssertionError(str(found)) from None


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
async def test_the_server_answers_what_its_document_says(server: Served, ann: Caller, mode: GenerationMode) -> None:
    schema = openapi.from_dict((await server.client.get("/openapi.json")).json())
    held = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        name = operation.definition.raw["operationId"]
        if name in BY_DESIGN or (mode is GenerationMode.NEGATIVE and name not in CAN_BE_WRONG):
            continue
        address = f"http://127.0.0.1:{server.port}"
        await asyncio.to_thread(hold, operation, mode, address, ann.headers)
        held += 1
    assert held >= len(CAN_BE_WRONG)
