"""Random models, tuples and questions: check, lists, expand and explain against each other and against the naive evaluator."""

from itertools import product
from typing import NamedTuple

from hypothesis import assume, given
from hypothesis import strategies as st

from tenantry.access.check import check
from tenantry.access.closure import Closure, Outcome
from tenantry.access.errors import InvalidModel
from tenantry.access.expand import expand
from tenantry.access.explain import explain
from tenantry.access.graph import Graph, Names
from tenantry.access.language import parse
from tenantry.access.lists import list_objects, list_users
from tenantry.access.model import (
    Computed,
    Direct,
    Exclusion,
    Intersection,
    Model,
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
from tenantry.access.tuples import TupleKey
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
)


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
        up = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=2, unique=True))
        types.append(Type(name, (Relation("up", Direct(), tuple(map(Restriction, up))), *own)))
    return Model("1.1", tuple(types))


class Case(NamedTuple):
    model: Model
    plan: Plan
    graph: Graph
    world: World
    contextual: tuple[TupleKey, ...]


def subjects_of(restriction: Restriction) -> list[str]:
    if restriction.wildcard:
        return [f"{restriction.type}:*"]
    objects = [o for o in (*USERS, *OBJECTS) if o.startswith(f"{restriction.type}:")]
    return [f"{o}#{restriction.relation}" if restriction.relation else o for o in objects]


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
        TupleKey(subject, relation.name, object_)
        for object_ in OBJECTS
        for relation in plan.vocabulary.type(object_.partition(":")[0]).relations
        for restriction in relation.restrictions
        for subject in subjects_of(restriction)
    ]
    tuples = draw(st.lists(st.sampled_from(possible), max_size=25, unique=True))
    cut = draw(st.integers(0, len(tuples)))
    graph = Graph(names)
    for key in tuples[:cut]:
        plan.vocabulary.admit(key)
        graph.add(key)
    return Case(model, plan, graph, World(model, tuples, OBJECTS), tuple(tuples[cut:]))


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
            assert check(case.plan, case.graph, key, case.contextual) is (holds[node] is True), key


@given(cases())
def test_the_exact_way_comes_to_what_the_naive_evaluator_does(case: Case) -> None:
    expected = {True: Outcome.YES, False: Outcome.NO, None: Outcome.CIRCULAR}
    for user in askers(case):
        holds = case.world.holds(user)
        for node in case.world.nodes():
            key = TupleKey(user, node.partition("#")[2], node.partition("#")[0])
            subject, object_ = admit(case.plan, key)
            view = View(case.plan, case.graph, case.contextual)
            goal = goal_of(view, object_, key.relation)
            assert Closure(view, seeker_of(view, subject), goal).outcome(goal.node) is expected[holds[node]]


@given(cases())
def test_acc_04_a_list_of_objects_holds_exactly_those_that_a_check_permits(case: Case) -> None:
    """ACC-04: the same answer object by object."""
    for user in askers(case):
        holds = case.world.holds(user)
        for type_, relation in product(TYPES, RELATIONS):
            expected = [o for o in OBJECTS if o.startswith(f"{type_}:") and holds[f"{o}#{relation}"]]
            assert list_objects(case.plan, case.graph, user, relation, type_, case.contextual) == expected


@given(cases())
def test_acc_04_a_list_of_users_holds_whom_a_check_permits_by_name_or_by_wildcard(case: Case) -> None:
    """ACC-04: nobody is listed whom a check refuses, and nobody whom it permits is neither listed nor covered."""
    names = {"user": [*USERS, "user:*"], "team": [o for o in OBJECTS if o.startswith("team:")]}
    names["team#r1"] = [f"{o}#r1" for o in names["team"]]
    holds = {user: case.world.holds(user) for users in names.values() for user in users}
    for node, (filter_, users) in product(case.world.nodes(), names.items()):
        object_, _, relation = node.partition("#")
        listed = list_users(case.plan, case.graph, object_, relation, filter_, case.contextual)
        assert [user for user in listed if not holds[user][node]] == []
        if f"{filter_}:*" not in listed:
            assert listed == sorted(user for user in users if holds[user][node])


@given(cases())
def test_acc_04_what_expansions_say_together_is_what_a_check_says(case: Case) -> None:
    """ACC-04: expand, followed to its end, is the same relation."""
    for user in askers(case):
        formulas = {}
        for node in case.world.nodes():
            object_, _, relation = node.partition("#")
            level = expand(case.plan, case.graph, object_, relation, case.contextual)
            formulas[node] = formula_of(level, user)
        # Expansions do not say that a userset has the relation that it is.
        if "#" not in user:
            assert solve(formulas) == case.world.holds(user)


@given(cases())
def test_an_explanation_agrees_with_the_check_and_what_it_misses_suffices(case: Case) -> None:
    for user in USERS:
        for node in case.world.nodes():
            key = TupleKey(user, node.partition("#")[2], node.partition("#")[0])
            explained = explain(case.plan, case.graph, key, case.contextual)
            assert explained.allowed is check(case.plan, case.graph, key, case.contextual)
            assert explained.tried.outcome is explained.outcome
            assert {*explained.decided} <= {*case.world.tuples}
            for missing in explained.missing:
                assert not {*missing} & {*case.world.tuples}
                assert check(case.plan, case.graph, key, (*case.contextual, *missing))


@given(cases())
def test_what_decided_decides_alone_where_nothing_is_excluded(case: Case) -> None:
    assume("but not" not in print_model(case.model))
    for user, node in product(USERS, case.world.nodes()):
        key = TupleKey(user, node.partition("#")[2], node.partition("#")[0])
        explained = explain(case.plan, case.graph, key, case.contextual)
        if explained.allowed:
            assert check(case.plan, Graph(case.plan.names), key, explained.decided)


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
    world = World(case.model, before, OBJECTS)
    holds = world.holds("user:a")
    for node in world.nodes():
        key = TupleKey("user:a", node.partition("#")[2], node.partition("#")[0])
        assert check(case.plan, case.graph, key) is (holds[node] is True)
