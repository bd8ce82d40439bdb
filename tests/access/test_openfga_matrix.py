"""OpenFGA's own matrices (tests/data/openfga-matrices), every assertion: check, list-objects, list-users."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from tenantry.access.check import check
from tenantry.access.errors import AccessError
from tenantry.access.graph import Graph, Names
from tenantry.access.language import parse
from tenantry.access.lists import list_objects, list_users
from tenantry.access.plan import Plan, compile_model
from tenantry.access.tuples import RelationshipCondition, TupleKey

DATA = Path(__file__).parents[1] / "data" / "openfga-matrices"
FILES = {"consolidated_1_1_tests.yaml": (278, 201, 228), "abac_tests.yaml": (76, 41, 61)}
DECIDED_NONETHELESS = {
    "relation_through_ttu_with_condition": [({"s": "hello"}, ["user:jon"]), ({"x": 10}, ["user:jon"])],
}
"""Lists of users, by test, context and answer, that OpenFGA refuses and Tenantry gives: a condition on the way cannot be
decided, and everybody behind it is listed by another way. OpenFGA's own check says yes to each who is listed."""

KINDS = ("checkAssertions", "listObjectsAssertions", "listUsersAssertions")


def load(name: str) -> list[dict[str, Any]]:
    return yaml.safe_load((DATA / name).read_text("utf-8"))["tests"]


def stages() -> list[Any]:
    """Each test up to each of its stages, for the stages of one test share a store."""
    params = []
    for index, test in enumerate(test for name in FILES for test in load(name)):
        for number in range(1, len(test["stages"]) + 1):
            upto = test["stages"][:number]
            params.append(pytest.param(test["name"], upto, id=f"{index}-{test['name']}-{number}"))
    return params


def tuple_of(written: dict[str, Any]) -> TupleKey:
    condition = written.get("condition")
    given = None
    if condition:
        given = RelationshipCondition(condition["name"], msgspec.json.encode(condition.get("context", {})).decode())
    return TupleKey(written["user"], written["relation"], written["object"], given)


def store_of(upto: list[dict[str, Any]]) -> tuple[Plan, Graph]:
    """The tuples of all stages, each admitted by its own model, under the last one."""
    names = Names()
    graph = Graph(names)
    plan = compile_model(parse(upto[0]["model"]).model, names)
    for stage in upto:
        plan = compile_model(parse(stage["model"]).model, names)
        for one in map(tuple_of, stage.get("tuples") or ()):
            plan.vocabulary.admit(one)
            graph.add(one)
    return plan, graph


def wrong(
    upto: list[dict[str, Any]], kind: str, ask: Callable[[Plan, Graph, dict[str, Any], tuple[TupleKey, ...]], object]
) -> list[tuple[dict[str, Any], object]]:
    """The assertions of the last stage that do not hold, each with the answer that was given."""
    plan, graph = store_of(upto)
    failed: list[tuple[dict[str, Any], object]] = []
    for assertion in upto[-1].get(kind) or ():
        contextual = tuple(map(tuple_of, assertion.get("contextualTuples") or ()))
        try:
            got = ask(plan, graph, assertion, contextual)
        except AccessError as error:
            got = error.number
        expected = assertion.get("errorCode", assertion.get("expectation"))
        if got != (
            sorted(expected) if isinstance(expected, list) else expected or ([] if isinstance(got, list) else False)
        ):
            failed.append((assertion, got))
    return failed


@pytest.mark.parametrize(("name", "upto"), stages())
def test_every_check_of_the_matrix_comes_out_as_in_openfga(name: str, upto: list[dict[str, Any]]) -> None:
    def ask(plan: Plan, graph: Graph, a: dict[str, Any], more: tuple[TupleKey, ...]) -> object:
        return check(plan, graph, tuple_of(a["tuple"]), more, a.get("context"))

    assert wrong(upto, KINDS[0], ask) == []


@pytest.mark.parametrize(("name", "upto"), stages())
def test_every_list_of_objects_of_the_matrix_comes_out_as_in_openfga(name: str, upto: list[dict[str, Any]]) -> None:
    def ask(plan: Plan, graph: Graph, a: dict[str, Any], more: tuple[TupleKey, ...]) -> object:
        asked = a["request"]
        return list_objects(plan, graph, asked["user"], asked["relation"], asked["type"], more, a.get("context"))

    assert wrong(upto, KINDS[1], ask) == []


@pytest.mark.parametrize(("name", "upto"), stages())
def test_every_list_of_users_of_the_matrix_comes_out_as_in_openfga(name: str, upto: list[dict[str, Any]]) -> None:
    def ask(plan: Plan, graph: Graph, a: dict[str, Any], more: tuple[TupleKey, ...]) -> object:
        (filter_,) = a["request"]["filters"]
        asked = a["request"]
        return list_users(plan, graph, asked["object"], asked["relation"], filter_, more, a.get("context"))

    differing = [(assertion.get("context"), got) for assertion, got in wrong(upto, KINDS[2], ask)]
    assert differing == DECIDED_NONETHELESS.get(name, [])


@pytest.mark.parametrize(("name", "counts"), FILES.items())
def test_the_matrix_is_whole(name: str, counts: tuple[int, ...]) -> None:
    every = [stage for test in load(name) for stage in test["stages"]]
    assert tuple(sum(len(stage.get(kind) or ()) for stage in every) for kind in KINDS) == counts
