"""Conditions: what their parameters hold, when they are met, and that in doubt they are not."""

import subprocess
import sys
from typing import Any

import pytest

from tenantry.access.check import check
from tenantry.access.closure import Outcome
from tenantry.access.errors import (
    AccessError,
    ConditionFailed,
    ConditionsNotSupported,
    InvalidModel,
    InvalidTuple,
    LimitExceeded,
)
from tenantry.access.expand import Leaf, Users, expand
from tenantry.access.graph import Graph
from tenantry.access.limits import (
    CONDITION_CONTEXT_MAX_BYTES,
    CONDITION_MAX_BYTES,
    CONDITION_MAX_PARAMETERS,
    CONTEXT_MAX_BYTES,
    DECISION_MAX_EVALUATIONS,
    MODEL_MAX_CONDITIONS,
)
from tenantry.access.tuples import RelationshipCondition, TupleKey
from tests.access.store import Store, key, keys, plan_of

DOCS = """
type user
type team
  relations
    define member: [user, team#member with small]
type folder
  relations
    define viewer: [user]
type doc
  relations
    define parent: [folder, folder with small]
    define banned: [user, user with small]
    define viewer: [user, user with small, user:* with small, team#member with named] or viewer from parent
    define reader: viewer but not banned
condition small(x: int) {
  x < 10
}
condition named(name: string) {
  name == "anne"
}
"""


def asked(parameters: str, expression: str, context: dict[str, Any]) -> bool:
    """Whether somebody is permitted who is under one condition."""
    store = Store(
        f"type user\ntype doc\n  relations\n    define viewer: [user with it]\n"
        f"condition it({parameters}) {{\n  {expression}\n}}\n",
        "doc:1#viewer@user:anne with it",
    )
    return store.allows("doc:1#viewer@user:anne", context=context)


@pytest.mark.parametrize(
    ("type_", "expression", "yes", "no"),
    [
        ("bool", "x", True, False),
        ("string", 'x == "a"', "a", "b"),
        ("int", "x < 10", 9, 10),
        ("int", "10 > x", "9", "10"),
        ("int", "x % 2 == 0", 4.0, 5.0),
        ("uint", "x < 10u", 9, 2**64 - 1),
        ("double", "x < 10.5", 10, 10.5),
        ("double", "x < 10.5", "1e1", "1e2"),
        ("duration", 'x < duration("1h")', "59m59.5s", "1h"),
        ("duration", 'x < duration("0s")', "-1ns1ms", "0"),
        ("timestamp", 'x < timestamp("2026-01-01T00:00:00Z")', "2025-12-31T23:59:59.999Z", "2026-01-01T00:00:00Z"),
        (
            "timestamp",
            'x < timestamp("2026-01-01T00:00:00Z")',
            "2026-01-01T01:00:00+02:00",
            "2025-12-31T23:00:00-02:00",
        ),
        ("ipaddress", 'x.in_cidr("192.168.0.0/24")', "192.168.0.1", "192.168.1.0"),
        ("ipaddress", 'x.in_cidr("192.168.0.0/24")', "::ffff:192.168.0.1", "::1"),
        ("ipaddress", 'x.in_cidr("::ffff:192.168.0.0/120")', "192.168.0.1", "192.168.1.1"),
        ("ipaddress", 'x == ipaddress("2001:db8::1")', "2001:DB8:0::1", "2001:db8::2"),
        ("list<string>", '"a" in x', ["a", "b"], []),
        ("list<ipaddress>", 'x.exists(i, i.in_cidr("10.0.0.0/8"))', ["192.0.2.1", "10.0.0.0"], ["192.0.2.1"]),
        ("map<int>", "x.a + x.b == 3", {"a": 1, "b": 2}, {"a": 1, "b": 3}),
        ("any", 'x.who[0].name == "anne"', {"who": [{"name": "anne"}]}, {"who": [{"name": None}]}),
        ("any", "x == 3", 3, "3"),
    ],
)
def test_a_parameter_of_each_type_is_read(type_: str, expression: str, yes: object, no: object) -> None:
    assert asked(f"x: {type_}", expression, {"x": yes}) is True
    assert asked(f"x: {type_}", expression, {"x": no}) is False


@pytest.mark.parametrize(
    ("type_", "expression", "value"),
    [
        ("bool", "x || true", 1),
        ("string", "true || x == x", 1),
        ("string", 'x == "a"', "a\0b"),
        ("map<string>", '"a" in x', {"a\0b": "c"}),
        ("any", 'x.a == "b"', {"a": "b\0"}),
        ("int", "x == x", 1.5),
        ("int", "x == x", True),
        ("int", "x == x", 2**63),
        ("int", "x == x", "ten"),
        ("uint", "x == x", -1),
        ("double", "x == x", "1e999"),
        ("double", "x == x", 10**400),
        ("duration", "x == x", "1"),
        ("duration", "x == x", f"{'9' * 40}h"),
        ("duration", "x == x", "87700000h"),
        ("timestamp", "x == x", "2026-02-30T00:00:00Z"),
        ("timestamp", "x == x", "2026-01-01"),
        ("timestamp", "x == x", "0001-01-01T00:00:00Z"),
        ("timestamp", 'x + duration("1000h") > x', "9999-12-31T00:00:00Z"),
        ("ipaddress", "x == x", "10.0.0"),
        ("ipaddress", "x == x", "fe80::1%eth0"),
        ("list<int>", "size(x) > 0", "1"),
        ("list<int>", "size(x) > 0", [1, "a"]),
        ("any", "x == x", [[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]),
    ],
)
def test_acc_13_what_has_no_answer_is_neither_a_yes_nor_a_no(type_: str, expression: str, value: object) -> None:
    """ACC-13: a wrong type, an error as a value, a far timestamp: refused with the reason, and never read otherwise."""
    with pytest.raises(ConditionFailed) as raised:
        asked(f"x: {type_}", expression, {"x": value})
    assert (raised.value.code, raised.value.number) == ("validation_error", 2000)
    assert raised.value.message.startswith("failed to evaluate relationship condition 'it': ")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("x.all(a, x.all(b, x.all(c, x.all(d, x.all(e, a + b + c + d + e < 0)))))", ["1"] * 100),
        ("x.exists(a, a == 'b')", ["a"] * 10_000),
        ("x" + ".map(a, a + a)" * 20 + ".size() > 0", ["a" * 1_000]),
        ("x" + ".map(a, x)" * 20 + " == [x]", ["a"] * 10),
        ("x[0].matches(x[1])", ["ab" * 10_000, "(a?b?){500}(x+x+)+y"]),
        ("x.exists(a, a.matches('(a+)+$'))", ["a" * 100] * 100),
    ],
)
def test_acc_13_what_could_cost_too_much_is_not_evaluated(expression: str, value: list[str]) -> None:
    """ACC-13: the cost is limited before the evaluation begins, and the reason is told."""
    parameters = "x: list<string>" if "a + b" not in expression else "x: list<int>"
    with pytest.raises(ConditionFailed, match="cost_exceeded"):
        asked(parameters, expression, {"x": value})


@pytest.mark.parametrize("more", [0, 1])
def test_acc_13_one_decision_evaluates_so_many_conditions_and_no_more(more: int) -> None:
    """ACC-13: many conditions that each cost little hold nobody else up either."""
    model = """
type user
type team
  relations
    define member: [user]
type doc
  relations
    define viewer: [team#member with it]
condition it(x: int, y: int) {
  x == y
}
"""
    store = Store(model)
    for number in range(DECISION_MAX_EVALUATIONS + more):
        team = f"team:{number}"
        store.graph.add(key(f"{team}#member@user:anne"))
        condition = RelationshipCondition("it", f'{{"x":{number}}}')
        store.graph.add(TupleKey(f"{team}#member", "viewer", "doc:1", condition))
    question = key("doc:1#viewer@user:anne")
    if not more:
        assert not check(store.plan, store.graph, question, (), {"y": -1})
        return
    with pytest.raises(ConditionFailed, match="cost_exceeded"):
        check(store.plan, store.graph, question, (), {"y": -1})


def test_acc_13_an_ordinary_list_is_searched() -> None:
    """ACC-13: the allowed case beside those that cost too much."""
    roles = [f"role-{n}" for n in range(200)]
    assert asked("x: list<string>", "x.exists(a, a == 'role-7')", {"x": roles})
    assert not asked("x: list<string>", "x.exists(a, a.startsWith('admin'))", {"x": roles})
    assert asked("x: string", "x.matches('^[a-z]+(-[0-9]+)?$')", {"x": "role-7"})


@pytest.mark.parametrize(
    ("parameters", "expression", "said"),
    [
        ("x: int", "y < 1", "undeclared reference to 'y'"),
        ("x: int", "x < 'a'", "no matching overload"),
        ("x: int", "x <", "Syntax error"),
        ("x: int", "x + 1", "expected a bool, but it gives INT"),
        ("x: any", "x", "expected a bool, but it gives DYN"),
        ("x: string", "x.in_cidr('10.0.0.0/8')", "no matching overload"),
        ("x: ipaddress", "x == '10.0.0.1'", "no matching overload"),
    ],
)
def test_an_expression_that_is_wrong_is_refused_with_the_model(parameters: str, expression: str, said: str) -> None:
    with pytest.raises(InvalidModel, match="condition 'it'") as raised:
        asked(parameters, expression, {"x": 1})
    assert said in str(raised.value)
    assert raised.value.number == 2056


def test_a_condition_of_the_model_is_bounded() -> None:
    """Each limit is OpenFGA's: that many pass, one more is refused."""

    def model(conditions: int = 1, parameters: int = 1, size: int = 4) -> str:
        named = ", ".join(f"p{n}: int" for n in range(parameters))
        expression = "true".ljust(size - 3, " ") + "&&x" if size > 4 else "true"
        return "type user\n" + "".join(
            f"condition c{n}({named}, x: bool) {{\n{expression}\n}}\n" for n in range(conditions)
        )

    plan_of(model(MODEL_MAX_CONDITIONS))
    plan_of(model(parameters=CONDITION_MAX_PARAMETERS - 1))
    plan_of(model(size=CONDITION_MAX_BYTES))
    for refused in (
        model(MODEL_MAX_CONDITIONS + 1),
        model(parameters=CONDITION_MAX_PARAMETERS),
        model(size=CONDITION_MAX_BYTES + 1),
    ):
        with pytest.raises(LimitExceeded):
            plan_of(refused)


def test_a_condition_that_is_not_met_denies() -> None:
    store = Store(DOCS, "doc:1#viewer@user:anne with small")
    assert store.allows("doc:1#viewer@user:anne", context={"x": 9})
    assert not store.allows("doc:1#viewer@user:anne", context={"x": 10})
    assert not store.allows("doc:1#viewer@user:bob", context={"x": 9})


def test_acc_01_the_same_question_in_another_context_is_another_question() -> None:
    """ACC-01: a context that allows, then at once one that denies, also for contextual tuples with conditions."""
    store = Store(DOCS, "doc:1#viewer@user:anne with small", "doc:2#viewer@user:* with small")
    for _ in range(3):
        for question in ("doc:1#viewer@user:anne", "doc:2#viewer@user:bob"):
            assert store.allows(question, context={"x": 1})
            assert not store.allows(question, context={"x": 11})
        assert store.allows("doc:3#viewer@user:anne", 'doc:3#viewer@user:anne with small {"x": 1}')
        assert not store.allows("doc:3#viewer@user:anne", 'doc:3#viewer@user:anne with small {"x": 11}')
        assert not store.allows("doc:3#viewer@user:anne")


def test_what_the_tuple_says_prevails_over_the_context_of_the_question() -> None:
    store = Store(DOCS, 'doc:1#viewer@user:anne with small {"x": 11}', 'doc:2#viewer@user:anne with small {"x": 1}')
    assert not store.allows("doc:1#viewer@user:anne", context={"x": 1})
    assert store.allows("doc:2#viewer@user:anne", context={"x": 11})


def test_what_no_condition_asks_for_is_overlooked() -> None:
    store = Store(DOCS, "doc:1#viewer@user:anne with small")
    assert store.allows("doc:1#viewer@user:anne", context={"x": 1, "y": object.__name__})


def test_acc_13_a_missing_parameter_is_an_error_unless_something_else_decides() -> None:
    """ACC-13: a condition is weighed where it matters; where it does and cannot be, nothing is permitted."""
    store = Store(
        DOCS, "doc:1#viewer@user:anne with small", "doc:1#viewer@user:bob with small", "doc:1#banned@user:bob"
    )
    with pytest.raises(ConditionFailed, match="the context lacks x"):
        store.allows("doc:1#viewer@user:anne")
    with pytest.raises(ConditionFailed):
        store.allows("doc:1#reader@user:anne")
    assert not store.allows("doc:1#reader@user:bob")
    store.write("doc:1#parent@folder:x", "folder:x#viewer@user:anne")
    assert store.allows("doc:1#viewer@user:anne")
    assert store.allows("doc:1#reader@user:anne")


def test_an_exclusion_under_a_condition_that_cannot_be_decided_permits_nothing() -> None:
    store = Store(DOCS, "doc:1#viewer@user:anne", "doc:1#banned@user:anne with small")
    assert not store.allows("doc:1#reader@user:anne", context={"x": 1})
    assert store.allows("doc:1#reader@user:anne", context={"x": 11})
    with pytest.raises(ConditionFailed):
        store.allows("doc:1#reader@user:anne")


def test_acc_05_the_branches_of_an_arrow_are_not_merged_before_their_conditions() -> None:
    """ACC-05: the context satisfies the second branch only, and that one allows."""
    store = Store(DOCS, "folder:b#viewer@user:anne", 'doc:1#parent@folder:a with small {"x": 11}')
    store.write('doc:1#parent@folder:b with small {"x": 1}', "folder:a#viewer@user:bob")
    assert store.allows("doc:1#viewer@user:anne")
    assert not store.allows("doc:1#viewer@user:bob")
    assert store.users("doc:1#viewer", "user") == ["user:anne"]


def test_acc_06_a_conditional_answer_never_becomes_unconditional() -> None:
    """ACC-06: lists in one context and checks in another, one after the other over the same graph."""
    store = Store(DOCS, "doc:1#viewer@user:anne with small", "doc:2#viewer@user:anne")
    for _ in range(3):
        assert store.objects("user:anne", "viewer", "doc", context={"x": 1}) == ["doc:1", "doc:2"]
        assert not store.allows("doc:1#viewer@user:anne", context={"x": 11})
        assert store.objects("user:anne", "viewer", "doc", context={"x": 11}) == ["doc:2"]
        assert store.users("doc:1#viewer", "user", context={"x": 1}) == ["user:anne"]
        with pytest.raises(ConditionFailed):
            store.objects("user:anne", "viewer", "doc")


def test_a_contextual_tuple_stands_in_the_place_of_the_stored_one() -> None:
    store = Store(DOCS, "doc:1#viewer@user:anne", 'doc:2#viewer@user:anne with small {"x": 11}')
    assert not store.allows("doc:1#viewer@user:anne", 'doc:1#viewer@user:anne with small {"x": 11}')
    assert store.users("doc:1#viewer", "user", 'doc:1#viewer@user:anne with small {"x": 11}') == []
    assert store.allows("doc:2#viewer@user:anne", "doc:2#viewer@user:anne")
    assert store.allows("doc:1#viewer@user:anne")
    assert not store.allows("doc:2#viewer@user:anne")


def test_a_tuple_has_one_condition_or_none() -> None:
    store = Store(DOCS, "doc:1#viewer@user:anne with small")
    assert not store.graph.add(key("doc:1#viewer@user:anne"))
    assert not store.graph.add(key('doc:1#viewer@user:anne with small {"x": 1}'))
    assert store.graph.size == 1
    assert store.graph.remove(key("doc:1#viewer@user:anne"))
    assert not store.graph.remove(key("doc:1#viewer@user:anne with small"))
    assert store.graph.size == 0
    assert not store.allows("doc:1#viewer@user:anne", context={"x": 1})
    assert store.graph.add(key("doc:1#viewer@user:anne"))
    assert store.allows("doc:1#viewer@user:anne")


@pytest.mark.parametrize(
    ("tuple_", "reason"),
    [
        ("doc:1#viewer@team:1#member", "condition is missing"),
        ("doc:1#viewer@user:anne with large", "undefined condition"),
        ("doc:1#viewer@user:anne with named", "invalid condition for type restriction"),
        ('doc:1#viewer@user:anne with small {"y": 1}', "found invalid context parameter: y"),
        ('doc:1#viewer@user:anne with small {"x": "a"}', "failed to convert context parameter 'x'"),
        ("doc:1#viewer@user:anne with small [1]", "the context is not a JSON object"),
        ("doc:1#viewer@user:anne with small {", "the context is not a JSON object"),
    ],
)
def test_a_tuple_whose_condition_the_model_does_not_let_it_have_is_refused(tuple_: str, reason: str) -> None:
    store = Store(DOCS, 'doc:1#viewer@user:anne with small {"x": 1}', "doc:1#viewer@team:1#member with named")
    with pytest.raises(AccessError) as raised:
        store.allows("doc:1#viewer@user:anne", tuple_)
    assert reason in raised.value.message
    assert raised.value.number == 2000
    with pytest.raises(InvalidTuple):
        store.allows("doc:1#viewer@user:anne", "doc:1#viewer@folder:1 with small")


def test_acc_21_a_context_is_bounded() -> None:
    """ACC-21: as much as may be sent is read, more is refused, with the tuple and with the question."""
    plan = plan_of(DOCS)
    longest = "a" * (CONDITION_CONTEXT_MAX_BYTES - 11)
    plan.vocabulary.admit(key(f'doc:1#viewer@team:1#member with named {{"name":"{longest}"}}'))
    with pytest.raises(AccessError, match="size limit exceeded"):
        plan.vocabulary.admit(key(f'doc:1#viewer@team:1#member with named {{"name":"{longest}a"}}'))
    store = Store(DOCS, "doc:1#viewer@user:anne")
    assert store.allows("doc:1#viewer@user:anne", context={"x": "a" * (CONTEXT_MAX_BYTES - 8)})
    with pytest.raises(LimitExceeded):
        store.allows("doc:1#viewer@user:anne", context={"x": "a" * (CONTEXT_MAX_BYTES - 7)})


def test_tuples_under_a_condition_that_the_model_knows_no_more_are_overlooked() -> None:
    """As those of an unknown kind: an older model wrote them."""
    store = Store(DOCS, "doc:1#viewer@user:anne with small")
    newer = plan_of(
        "type user\ntype doc\n  relations\n    define viewer: [user, user with tiny]\ncondition tiny(x: int) {\n x < 1\n}",
        store.plan.names,
    )
    store.plan = newer
    assert not store.allows("doc:1#viewer@user:anne", context={"x": 0})
    store.write("doc:2#viewer@user:anne with tiny")
    assert store.allows("doc:2#viewer@user:anne", context={"x": 0})


def test_conditions_hold_at_every_depth() -> None:
    store = Store(DOCS, "doc:1#viewer@team:a#member with named", "team:a#member@team:b#member with small")
    store.write("team:b#member@user:anne")
    assert store.allows("doc:1#viewer@user:anne", context={"x": 1, "name": "anne"})
    assert not store.allows("doc:1#viewer@user:anne", context={"x": 11, "name": "anne"})
    assert not store.allows("doc:1#viewer@user:anne", context={"x": 1, "name": "bob"})
    assert store.objects("user:anne", "viewer", "doc", context={"x": 1, "name": "anne"}) == ["doc:1"]
    assert store.users("doc:1#viewer", "team#member", context={"x": 11, "name": "anne"}) == ["team:a#member"]


def test_an_expansion_weighs_conditions_where_there_is_a_context() -> None:
    store = Store(DOCS, 'doc:1#banned@user:anne with small {"x": 1}', "doc:1#banned@user:bob with small")

    def banned(context: dict[str, object] | None) -> object:
        leaf = expand(store.plan, store.graph, "doc:1", "banned", (), context).leaf
        assert isinstance(leaf, Leaf)
        assert isinstance(leaf.users, Users)
        return leaf.users.users

    assert banned(None) == ("user:anne", "user:bob")
    assert banned({"x": 11}) == ("user:anne",)
    with pytest.raises(ConditionFailed):
        banned({})


def test_an_explanation_says_what_conditions_came_to() -> None:
    store = Store(DOCS, "doc:1#viewer@user:anne with small", "doc:1#parent@folder:x with small")
    unmet = store.explained("doc:1#viewer@user:anne", context={"x": 11})
    assert unmet.because == ("No: nothing says that user:anne has viewer to doc:1, as conditions are not met: small.")
    assert unmet.unmet == keys("doc:1#viewer@user:anne with small", "doc:1#parent@folder:x with small")
    assert unmet.tried.parts[0].found == ("doc:1#viewer@user:anne (condition small): not met",)
    met = store.explained("doc:1#viewer@user:anne", context={"x": 1})
    assert met.decided == keys("doc:1#viewer@user:anne with small")
    undecided = store.explained("doc:1#viewer@user:anne")
    assert (undecided.allowed, undecided.outcome) == (False, Outcome.UNDECIDED)
    assert "the context lacks x" in undecided.because


def test_an_explanation_names_the_tuple_under_a_condition_that_would_do() -> None:
    store = Store(DOCS)
    store.write("doc:1#viewer@team:a#member with named")
    missing = store.explained("doc:1#viewer@user:carl", context={"x": 1, "name": "bob"}).missing
    assert keys("doc:1#viewer@user:carl with small") in missing
    assert keys("team:a#member@user:carl") not in missing
    missing = store.explained("doc:1#viewer@user:carl", context={"x": 11, "name": "anne"}).missing
    assert keys("doc:1#viewer@user:carl with small") not in missing
    assert keys("team:a#member@user:carl") in missing


def test_a_model_with_conditions_is_refused_while_nothing_can_evaluate_them(monkeypatch: pytest.MonkeyPatch) -> None:
    plan_of(DOCS)
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    monkeypatch.setitem(sys.modules, "cel_expr_python.cel", None)
    with pytest.raises(
        ConditionsNotSupported, match=r"`named`, `small`: .* `pip install 'tenantry\[conditions\]'`"
    ) as raised:
        plan_of(DOCS)
    assert raised.value.code == "invalid_authorization_model"
    plan_of("type user")


def test_what_evaluates_conditions_is_loaded_for_a_model_that_has_some() -> None:
    program = (
        "import sys; from tests.access.store import plan_of; plan_of('type user'); a = 'cel_expr_python' in sys.modules;"
        "plan_of('type user\\ncondition c(x: bool) {\\n x\\n}\\n'); print(a, 'cel_expr_python' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.split() == ["False", "True"]


def test_acc_13_false_within_an_object_is_no_yes() -> None:
    """ACC-13: what the evaluator answers with is an object that is true in itself."""
    assert asked("x: any", "x == true", {"x": True}) is True
    assert asked("x: any", "x == true", {"x": False}) is False
    assert asked("x: any", "x == true", {"x": {}}) is False


def test_a_graph_keeps_equal_conditions_once() -> None:
    graph = Graph(plan_of(DOCS).names)
    nodes = []
    for document in ("doc:1", "doc:2"):
        graph.add(key(f'{document}#viewer@user:anne with small {{"x": 1}}'))
        nodes.append((graph.node(document) or 0) | graph.names.relation("viewer"))
    (one,), (other,) = (graph.conditional(node, usersets=False).values() for node in nodes)
    assert one is other
