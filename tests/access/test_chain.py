"""Chains of actors: the intersection of all parties, and who said no."""

from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.access.ceiling import Allowance, Ceiling
from tenantry.access.chain import Actor, Bound, Chain, Verdict, bounded, decide, explain_chain
from tenantry.access.errors import AccessError
from tenantry.core.errors import Invalid
from tenantry.core.limits import ACT_DEPTH
from tests.access.store import Store

DOCS = """
type user
type agent
type doc
  relations
    define editor: [user, agent]
    define viewer: [user, agent] or editor
"""
BOTH = Ceiling((Allowance("doc", "viewer"), Allowance("doc", "editor")))
VIEW = Ceiling((Allowance("doc", "viewer"),))
VIEW_ONE = Ceiling((Allowance("doc", "viewer", ("1",)),))
NOTHING = Ceiling(())


@pytest.fixture
def store() -> Store:
    return Store(DOCS, "doc:1#editor@user:anne", "doc:2#editor@user:anne", "doc:1#viewer@agent:a1")


def actor(name: str, own: Ceiling, blueprint: Ceiling = BOTH) -> Actor:
    return Actor(f"agent:{name}", (Bound("actor", f"agent:{name}", own), Bound("blueprint", "blueprint_1", blueprint)))


def verdict(store: Store, chain: Chain, question: str) -> Verdict:
    object_, _, relation = question.partition("#")
    return decide(store.plan, store.graph, chain, relation, object_)


def test_an_agent_may_what_its_user_may_within_every_ceiling(store: Store) -> None:
    chain = Chain("user:anne", (actor("a1", VIEW_ONE),))
    assert verdict(store, chain, "doc:1#viewer").allowed
    assert not verdict(store, chain, "doc:2#viewer").allowed
    assert not verdict(store, chain, "doc:1#editor").allowed
    assert not verdict(store, Chain("user:bob", (actor("a1", VIEW_ONE),)), "doc:1#viewer").allowed


def test_every_party_is_named_in_the_order_of_the_chain(store: Store) -> None:
    bounds = (Bound("grant", "grant_1", VIEW), Bound("policy", "no edits by agents", VIEW))
    chain = Chain("user:anne", (actor("inner", BOTH, VIEW), actor("outer", BOTH)), bounds)
    said = verdict(store, chain, "doc:1#editor").said
    assert [(one.kind, one.party, one.allowed) for one in said] == [
        ("subject", "user:anne", True),
        ("actor", "agent:inner", True),
        ("blueprint", "blueprint_1", False),
        ("actor", "agent:outer", True),
        ("blueprint", "blueprint_1", True),
        ("grant", "grant_1", False),
        ("policy", "no edits by agents", False),
    ]


def test_the_first_of_the_chain_that_denies_is_the_first_denial(store: Store) -> None:
    chain = Chain("user:bob", (actor("a1", VIEW_ONE, NOTHING),))
    assert [str(said) for said in verdict(store, chain, "doc:2#viewer").denials] == [
        "what user:bob may do",
        "the ceiling of agent:a1",
        "the ceiling of the blueprint blueprint_1",
    ]


def test_an_agent_that_acts_for_itself_is_decided_by_the_graph_and_its_ceilings(store: Store) -> None:
    own = Chain("agent:a1", bounds=actor("a1", BOTH).ceilings)
    assert verdict(store, own, "doc:1#viewer").allowed
    assert not verdict(store, own, "doc:2#viewer").allowed
    assert not verdict(store, Chain("agent:a1", bounds=actor("a1", NOTHING).ceilings), "doc:1#viewer").allowed


def test_a_user_without_actors_is_decided_by_the_graph_alone(store: Store) -> None:
    assert verdict(store, Chain("user:anne"), "doc:1#viewer").allowed
    assert not verdict(store, Chain("user:bob"), "doc:1#viewer").allowed


def test_an_actor_without_a_ceiling_is_refused() -> None:
    Actor("agent:a1", (Bound("actor", "agent:a1", NOTHING),))
    with pytest.raises(Invalid, match="no ceiling"):
        Actor("agent:a1", ())


def test_a_chain_is_at_most_so_deep() -> None:
    actors = tuple(actor(f"a{n}", BOTH) for n in range(ACT_DEPTH + 1))
    Chain("user:anne", actors[:-1])
    with pytest.raises(Invalid, match="at most 5 deep"):
        Chain("user:anne", actors)


def test_a_question_that_has_no_answer_permits_nothing_to_a_chain(store: Store) -> None:
    chain = Chain("user:anne", (actor("a1", BOTH),))
    with pytest.raises(AccessError):
        verdict(store, chain, "doc:1#owner")
    with pytest.raises(AccessError):
        verdict(store, chain, "doc#viewer")


@pytest.mark.parametrize(
    ("chain", "question", "sentence"),
    [
        (Chain("user:anne"), "doc:1#viewer", "Yes: user:anne has viewer to doc:1, and nothing else is asked."),
        (
            Chain("user:anne", (actor("a1", VIEW),)),
            "doc:1#viewer",
            "Yes: user:anne has viewer to doc:1, and the ceiling of agent:a1 and the ceiling of the blueprint blueprint_1 let it.",
        ),
        (
            Chain("user:anne", (actor("a1", VIEW),)),
            "doc:1#editor",
            "No: user:anne has editor to doc:1, but the ceiling of agent:a1 does not allow it.",
        ),
        (
            Chain("user:anne", (actor("a1", VIEW),), (Bound("grant", "grant_1", NOTHING),)),
            "doc:1#editor",
            "No: user:anne has editor to doc:1, but the ceiling of agent:a1 and the grant grant_1 do not allow it.",
        ),
        (Chain("user:bob"), "doc:1#viewer", "No: nothing says that user:bob has viewer to doc:1."),
        (
            Chain("user:bob", bounds=(Bound("policy", "night", NOTHING),)),
            "doc:1#viewer",
            "No: nothing says that user:bob has viewer to doc:1. Besides, the organization's policy night does not allow it.",
        ),
    ],
)
def test_a_verdict_is_explained_in_plain_words(store: Store, chain: Chain, question: str, sentence: str) -> None:
    object_, _, relation = question.partition("#")
    explained = explain_chain(store.plan, store.graph, chain, relation, object_)
    assert explained.because == sentence
    assert explained.verdict == verdict(store, chain, question)
    assert explained.subject.allowed is explained.verdict.said[0].allowed


ceilings = st.sampled_from((BOTH, VIEW, VIEW_ONE, NOTHING))
bounds = st.builds(Bound, st.sampled_from(("actor", "blueprint", "grant", "policy")), st.just("p"), ceilings)
actors = st.builds(Actor, st.just("agent:a"), st.lists(bounds, min_size=1, max_size=3).map(tuple))
QUESTIONS = tuple(product(("viewer", "editor"), ("doc:1", "doc:2"), (True, False)))


@given(st.lists(actors, max_size=4), st.lists(bounds, max_size=3), actors, bounds)
def test_a_further_party_never_turns_a_no_into_a_yes(
    acting: list[Actor], bounding: list[Bound], one: Actor, more: Bound
) -> None:
    chain = Chain("user:anne", tuple(acting), tuple(bounding))
    longer = [Chain("user:anne", (*acting[:at], one, *acting[at:]), tuple(bounding)) for at in range(len(acting) + 1)]
    wider = Chain("user:anne", tuple(acting), (*bounding, more))
    for relation, object_, subject in QUESTIONS:
        before = bounded(chain, relation, object_, subject=subject).allowed
        for after in (*longer, wider):
            assert before or not bounded(after, relation, object_, subject=subject).allowed


@given(st.lists(actors, max_size=5), st.lists(bounds, max_size=3))
def test_a_verdict_is_yes_where_all_parties_say_yes(acting: list[Actor], bounding: list[Bound]) -> None:
    chain = Chain("user:anne", tuple(acting), tuple(bounding))
    for relation, object_, subject in QUESTIONS:
        found = bounded(chain, relation, object_, subject=subject)
        ceilings = [bound.ceiling for actor in acting for bound in actor.ceilings] + [b.ceiling for b in bounding]
        every = [c.allows("doc", relation, object_.removeprefix("doc:")) for c in ceilings]
        assert found.allowed is (subject and all(every))
        assert [said.allowed for said in found.said] == [subject, *every]
        assert found == bounded(chain, relation, object_, subject=subject)


def test_a_verdict_survives_its_json_form(store: Store) -> None:
    found = verdict(store, Chain("user:anne", (actor("a1", VIEW),)), "doc:1#editor")
    assert msgspec.json.decode(msgspec.json.encode(found), type=Verdict) == found
