"""Random models, tuples and questions: check, lists, expand and explain against each other and against the naive evaluator.

Some tuples are under a condition, and some questions have not the context to weigh it: whatever then depends on it is
refused, and nothing else is.
"""

from collections.abc import Callable
from itertools import product
from typing import NamedTuple, TypeVar

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from tenantry.access.batch import Item, check_all
from tenantry.access.check import check
from tenantry.access.closure import Closure, Outcome
from tenantry.access.errors import ConditionFailed, InvalidModel
from tenantry.access.expand import expand
from tenantry.access.explain import explain
from tenantry.access.graph import Graph, Names
from tenantry.access.language import parse
from tenantry.access.limits import BATCH_MAX_CHECKS
from tenantry.access.lists import list_objects, list_users
from tenantry.access.model import (
    Computed,
    Condition,
    Direct,
    Exclusion,
    Intersection,
    Model,
    Parameter,
    Relation,
    Restriction,
    Rewrite,
    Through,
    Type,
    Union,
    leaves_of,
)
from tenantry.access.plan import Plan, compile_model
from tenantry.access.printing import print_model
from tenantry.access.question import View, admit, goal_of, seeker_of
from tenantry.access.tuples import RelationshipCondition, TupleKey
from tenantry.access.wire import decode_model, encode_model
from tests.access.naive import World, formula_of, solve

RELATIONS = ("r0", "r1", "r2")
TYPES = ("team", "doc")
USERS = ("user:a", "user:b")
OBJECTS = tuple(f"{type_}:{number}" for type_, number in product(TYPES, (1, 2, 3)))
RESTRICTIONS = (
    Restriction("user"),
    Restriction("user", wildcard=True),
    Restriction("team"),
    *(Restriction("team", relation) for relation in RELATIONS),
    Restriction("doc", "r0"),
    Restriction("user", condition="low"),
    Restriction("user", wildcard=True, condition="even"),
    Restriction("team", "r0", condition="even"),
    Restriction("team", "r1", condition="low"),
)
PARENTS = (*map(Restriction, TYPES), Restriction("team", condition="low"), Restriction("doc", condition="even"))
CONDITIONS = (
    Condition("even", (Parameter("y", "int"),), "y % 2 == 0"),
    Condition("low", (Parameter("x", "int"),), "x < 2"),
)
CONTEXTS = ({}, {"x": 1}, {"x": 2}, {"y": 1}, {"x": 1, "y": 2}, {"x": 2, "y": 2})
GIVEN = {"low": ("{}", '{"x": 1}', '{"x": 2}'), "even": ("{}", '{"y": 1}', '{"y": 2}')}

Answer = TypeVar("Answer")


def rewrites(earlier: tuple[str, ...]) -> st.SearchStrategy[Rewrite]:
    """What a relation may be made of: computed only from earlier ones, so that none is computed from itself."""
    leaves = st.one_of(
        st.builds(Computed, st.sampled_from(earlier)), st.builds(Through, st.sampled_from(RELATIONS), st.just("up"))
    )
    pairs = st.tuples(leaves, leaves)
    inner = st.one_of(
        leaves, st.builds(Union, pairs), st.builds(Intersection, pairs), st.builds(Exclusion, leaves, leaves)
    )
    first = st.one_of(st.just(Direct()), st.just(Direct()), inner)
    both = st.tuples(first, inner)
    return st.one_of(first, st.builds(Union, both), st.builds(Intersection, both), st.builds(Exclusion, first, inner))


@st.composite
def relations(draw: st.DrawFn, name: str) -> Relation:
    earlier = RELATIONS[: RELATIONS.index(name)]
    rewrite = draw(rewrites(earlier)) if earlier else Direct()
    if Direct() not in leaves_of(rewrite):
        # A relation that is only reached through itself is no valid model, so now and then a tuple may reach it.
        rewrite = draw(st.sampled_from((rewrite, Union((Direct(), rewrite)))))
    if Direct() not in leaves_of(rewrite):
        return Relation(name, rewrite)
    return Relation(name, rewrite, tuple(draw(st.lists(st.sampled_from(RESTRICTIONS), min_size=1, unique=True))))


@st.composite
def models(draw: st.DrawFn) -> Model:
    types = [Type("user")]
    for name in TYPES:
        own = [draw(relations(relation)) for relation in RELATIONS]
        up = draw(st.lists(st.sampled_from(PARENTS), min_size=1, max_size=3, unique=True))
        types.append(Type(name, (Relation("up", Direct(), tuple(up)), *own)))
    return Model("1.1", tuple(types), CONDITIONS)


class Case(NamedTuple):
    model: Model
    plan: Plan
    graph: Graph
    world: World
    contextual: tuple[TupleKey, ...]
    context: dict[str, int]

    @property
    def excludes(self) -> bool:
        """Whether something may depend on its own denial."""
        return "but not" in print_model(self.model)


def attempt(ask: Callable[[], Answer]) -> Answer | None:
    """The answer, or nothing where a condition that matters cannot be decided."""
    try:
        return ask()
    except ConditionFailed:
        return None


def subjects_of(restriction: Restriction) -> list[str]:
    if restriction.wildcard:
        return [f"{restriction.type}:*"]
    objects = [o for o in (*USERS, *OBJECTS) if o.startswith(f"{restriction.type}:")]
    return [f"{o}#{restriction.relation}" if restriction.relation else o for o in objects]


def conditions_of(restriction: Restriction) -> list[RelationshipCondition | None]:
    if not restriction.condition:
        return [None]
    return [RelationshipCondition(restriction.condition, context) for context in GIVEN[restriction.condition]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    model = draw(models())
    names = Names()
    try:
        plan = compile_model(model, names)
    except InvalidModel:
        assume(False)
        raise
    possible = [
        TupleKey(subject, relation.name, object_, condition)
        for object_ in OBJECTS
        for relation in plan.vocabulary.type(object_.partition(":")[0]).relations
        for restriction in relation.restrictions
        for subject in subjects_of(restriction)
        for condition in conditions_of(restriction)
    ]
    tuples = draw(
        st.lists(st.sampled_from(possible), max_size=25, unique_by=lambda key: (key.user, key.relation, key.object))
    )
    context = draw(st.sampled_from(CONTEXTS))
    cut = draw(st.integers(0, len(tuples)))
    graph = Graph(names)
    for key in tuples[:cut]:
        plan.vocabulary.admit(key)
        graph.add(key)
    return Case(model, plan, graph, World(model, tuples, OBJECTS, context), tuple(tuples[cut:]), context)


def askers(case: Case) -> list[str]:
    return [
        *USERS,
        "user:*",
        "user:stranger",
        "team:1",
        *(t.user for t in case.world.tuples if "#" in t.user),
        "team:2#r1",
    ]


@given(cases())
def test_a_check_says_yes_exactly_where_the_naive_evaluator_does(case: Case) -> None:
    for user in askers(case):
        holds = case.world.holds(user)
        for node in case.world.nodes():
            key = TupleKey(user, node.partition("#")[2], node.partition("#")[0])
            answer = attempt(lambda key=key: check(case.plan, case.graph, key, case.contextual, case.context))
            if holds[node] is None:
                assert answer is None or (answer is False and case.excludes), key
            else:
                assert answer is holds[node], key


@given(cases())
def test_acc_04_a_batch_answers_as_its_checks_one_by_one(case: Case) -> None:
    """ACC-04: whatever is asked beside it, in whatever order, with and without contextual tuples and context."""
    users, nodes = askers(case), case.world.nodes()
    keys = [TupleKey(user, node.partition("#")[2], node.partition("#")[0]) for node in nodes for user in users]
    sent = ((case.contextual, case.context), ((), {}))
    items = [Item(f"{n}", key, *sent[n % 2]) for n, key in enumerate(keys)]
    for start in range(0, len(items), BATCH_MAX_CHECKS):
        answers = check_all(case.plan, case.graph, items[start : start + BATCH_MAX_CHECKS])
        for item in items[start : start + BATCH_MAX_CHECKS]:
            answer = answers[item.correlation_id]
            alone = attempt(lambda i=item: check(case.plan, case.graph, i.key, i.contextual, i.context))
            assert (None if isinstance(answer, ConditionFailed) else answer) is alone


@given(cases())
def test_the_exact_way_comes_to_what_the_naive_evaluator_does(case: Case) -> None:
    expected = {True: {Outcome.YES}, False: {Outcome.NO}, None: {Outcome.CIRCULAR, Outcome.UNDECIDED}}
    for user in askers(case):
        holds = case.world.holds(user)
        for node in case.world.nodes():
            key = TupleKey(user, node.partition("#")[2], node.partition("#")[0])
            subject, object_ = admit(case.plan, key)
            view = View(case.plan, case.graph, case.contextual, case.context)
            goal = goal_of(view, object_, key.relation)
            assert Closure(view, seeker_of(view, subject), goal).outcome(goal.node) in expected[holds[node]]


@given(cases())
def test_acc_04_a_list_of_objects_holds_exactly_those_that_a_check_permits(case: Case) -> None:
    """ACC-04: the same answer object by object, and none where one of them has none."""
    for user in askers(case):
        holds = case.world.holds(user)
        for type_, relation in product(TYPES, RELATIONS):
            of = [o for o in OBJECTS if o.startswith(f"{type_}:")]
            listed = attempt(
                lambda of=(user, relation, type_): list_objects(
                    case.plan, case.graph, *of, contextual=case.contextual, context=case.context
                )
            )
            if any(holds[f"{o}#{relation}"] is None for o in of) and not (listed is not None and case.excludes):
                assert listed is None
            else:
                assert listed == [o for o in of if holds[f"{o}#{relation}"]]


@given(cases())
def test_acc_04_a_list_of_users_holds_whom_a_check_permits_by_name_or_by_wildcard(case: Case) -> None:
    """ACC-04: nobody is listed whom a check refuses, and nobody whom it permits is neither listed nor covered."""
    names = {"user": [*USERS, "user:*"], "team": [o for o in OBJECTS if o.startswith("team:")]}
    names["team#r1"] = [f"{o}#r1" for o in names["team"]]
    holds = {user: case.world.holds(user) for users in names.values() for user in users}
    for node, (filter_, users) in product(case.world.nodes(), names.items()):
        object_, _, relation = node.partition("#")
        listed = attempt(
            lambda of=(object_, relation, filter_): list_users(
                case.plan, case.graph, *of, contextual=case.contextual, context=case.context
            )
        )
        if listed is None:
            assert any(holds[user][node] is None for user in users)
            continue
        assert [user for user in listed if not holds[user][node]] == []
        if f"{filter_}:*" not in listed:
            assert listed == sorted(user for user in users if holds[user][node])


@given(cases())
def test_acc_04_what_expansions_say_together_is_what_a_check_says(case: Case) -> None:
    """ACC-04: expand, followed to its end, is the same relation."""
    levels = {}
    for node in case.world.nodes():
        object_, _, relation = node.partition("#")
        levels[node] = attempt(
            lambda of=(object_, relation): expand(case.plan, case.graph, *of, case.contextual, case.context)
        )
    for user in askers(case):
        # Expansions do not say that a userset has the relation that it is.
        if "#" not in user and None not in levels.values():
            formulas = {node: formula_of(level, user) for node, level in levels.items() if level}
            assert solve(formulas) == case.world.holds(user)


@given(cases())
def test_an_explanation_agrees_with_the_check_and_what_it_misses_suffices(case: Case) -> None:
    for user in USERS:
        for node in case.world.nodes():
            key = TupleKey(user, node.partition("#")[2], node.partition("#")[0])
            explained = explain(case.plan, case.graph, key, case.contextual, case.context)
            answer = attempt(lambda key=key: check(case.plan, case.graph, key, case.contextual, case.context))
            assert explained.allowed is (answer is True)
            assert (explained.outcome is Outcome.UNDECIDED) is (answer is None)
            assert explained.tried.outcome is explained.outcome
            assert {*explained.decided, *explained.unmet} <= {*case.world.tuples}
            for missing in explained.missing:
                assert not {*missing} & {*case.world.tuples}
                assert check(case.plan, case.graph, key, (*case.contextual, *missing), case.context)


@given(cases(), st.sets(st.sampled_from((*USERS, *OBJECTS))))
def test_acc_20_an_explanation_names_nothing_hidden_and_says_the_same(case: Case, hidden: set[str]) -> None:
    """ACC-20: whatever is hidden, the verdict stays and no hidden object is named."""
    for user, node in product(USERS, case.world.nodes()):
        key = TupleKey(user, node.partition("#")[2], node.partition("#")[0])
        whole = explain(case.plan, case.graph, key, case.contextual, case.context)
        cut = explain(case.plan, case.graph, key, case.contextual, case.context, lambda object_: object_ not in hidden)
        assert (cut.allowed, cut.outcome, cut.tried.outcome) == (whole.allowed, whole.outcome, whole.tried.outcome)
        text = msgspec.json.encode(cut).decode()
        assert [name for name in hidden - {user, key.object} if name in text] == []
        assert {*cut.decided} <= {*whole.decided}


@given(cases())
def test_what_decided_decides_alone_where_nothing_is_excluded(case: Case) -> None:
    assume(not case.excludes)
    for user, node in product(USERS, case.world.nodes()):
        key = TupleKey(user, node.partition("#")[2], node.partition("#")[0])
        explained = explain(case.plan, case.graph, key, case.contextual, case.context)
        if explained.allowed:
            assert check(case.plan, Graph(case.plan.names), key, explained.decided, case.context)


@given(models())
def test_a_model_survives_both_of_its_forms(model: Model) -> None:
    assert parse(print_model(model)).model == model
    assert decode_model(encode_model(model)) == model


@given(cases())
def test_what_is_removed_is_as_if_it_had_never_been(case: Case) -> None:
    for key in case.contextual:
        assert case.graph.add(key)
        assert not case.graph.add(key)
    for key in case.contextual:
        assert case.graph.remove(key)
        assert not case.graph.remove(key)
    before = [key for key in case.world.tuples if key not in case.contextual]
    world = World(case.model, before, OBJECTS, case.context)
    holds = world.holds("user:a")
    for node in world.nodes():
        key = TupleKey("user:a", node.partition("#")[2], node.partition("#")[0])
        answer = attempt(lambda key=key: check(case.plan, case.graph, key, (), case.context))
        assert answer is holds[node] or (holds[node] is None and answer is False and case.excludes)
