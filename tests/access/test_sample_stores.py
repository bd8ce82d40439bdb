"""OpenFGA's sample stores (tests/data/openfga-sample-stores): their models in both forms, and their own tests."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tenantry.access.check import check
from tenantry.access.graph import Graph, Names
from tenantry.access.language import Parsed, parse, parse_modules
from tenantry.access.lists import list_objects, list_users
from tenantry.access.plan import Plan, compile_model
from tenantry.access.printing import print_model
from tenantry.access.tuples import RelationshipCondition, TupleKey
from tenantry.access.validation import validate
from tenantry.access.wire import decode_model, encode_model

STORES = Path(__file__).parents[1] / "data" / "openfga-sample-stores" / "stores"
FILES = sorted(STORES.rglob("*.fga.yaml"))


def parsed(store: Path) -> Parsed:
    document = yaml.safe_load(store.read_text("utf-8"))
    if "model" in document:
        return parse(document["model"])
    file = store.parent / document["model_file"]
    if file.name != "fga.mod":
        return parse(file.read_text("utf-8"))
    modules = yaml.safe_load(file.read_text("utf-8"))
    return parse_modules(
        {name: (file.parent / name).read_text("utf-8") for name in modules["contents"]}, modules["schema"]
    )


def tuples_of(store: Path, document: dict[str, Any]) -> list[dict[str, Any]]:
    more = (
        yaml.safe_load((store.parent / document["tuple_file"]).read_text("utf-8")) if "tuple_file" in document else []
    )
    return [*(document.get("tuples") or ()), *more]


@pytest.mark.parametrize("store", FILES, ids=lambda s: str(s.relative_to(STORES)))
def test_a_sample_model_stands_and_survives_both_forms(store: Path) -> None:
    read = parsed(store)
    validate(read.model, read.places)
    assert decode_model(encode_model(read.model)) == read.model
    written = print_model(read.model)
    assert print_model(parse(written).model) == written


def asked(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    return [one for test in document["tests"] for one in test.get(key) or ()]


def wrong_checks(plan: Plan, graph: Graph, one: dict[str, Any]) -> list[TupleKey]:
    users = one.get("users") or [one["user"]]
    objects = one.get("objects") or [one["object"]]
    return [
        key
        for relation, expected in one["assertions"].items()
        for key in (TupleKey(user, relation, object_) for user in users for object_ in objects)
        if check(plan, graph, key, contextual_of(one), one.get("context")) is not expected
    ]


def contextual_of(one: dict[str, Any]) -> tuple[TupleKey, ...]:
    return tuple(map(key_of, one.get("tuples") or ()))


def key_of(written: dict[str, Any]) -> TupleKey:
    condition = written.get("condition")
    given = None
    if condition:
        given = RelationshipCondition(condition["name"], json.dumps(condition.get("context", {}), default=in_json))
    return TupleKey(written["user"], written["relation"], written["object"], given)


def in_json(value: object) -> str:
    """YAML reads a timestamp as one; JSON has it as text."""
    assert isinstance(value, datetime)
    return value.isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize("store", FILES, ids=lambda s: str(s.relative_to(STORES)))
def test_a_sample_store_answers_as_its_own_tests_say(store: Path) -> None:
    document = yaml.safe_load(store.read_text("utf-8"))
    plan = compile_model(parsed(store).model, Names())
    graph = Graph(plan.names)
    for written in tuples_of(store, document):
        key = key_of(written)
        plan.vocabulary.admit(key)
        graph.add(key)
    for test in document["tests"]:
        test["check"] = [{**one, "tuples": test.get("tuples")} for one in test.get("check") or ()]
    assert [wrong for one in asked(document, "check") for wrong in wrong_checks(plan, graph, one)] == []
    for one in asked(document, "list_objects"):
        for relation, expected in one["assertions"].items():
            assert list_objects(plan, graph, one["user"], relation, one["type"], (), one.get("context")) == sorted(
                expected
            )
    for one in asked(document, "list_users"):
        for relation, expected in one["assertions"].items():
            (of,) = one["user_filter"]
            filter_ = f"{of['type']}#{of['relation']}" if "relation" in of else of["type"]
            assert list_users(plan, graph, one["object"], relation, filter_, (), one.get("context")) == sorted(
                expected["users"]
            )
