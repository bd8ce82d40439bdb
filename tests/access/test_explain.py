"""Explanations: what was tried, what decided, what is missing."""

import pytest

from tenantry.access.closure import Outcome
from tenantry.access.errors import AccessError
from tenantry.access.explain import Tried
from tenantry.access.limits import MISSING_MAX, TRACE_MAX_STEPS
from tests.access.store import Store, keys

DOCS = """
type user
type team
  relations
    define member: [user, team#member]
type folder
  relations
    define viewer: [user, team#member]
type doc
  relations
    define parent: [folder]
    define banned: [user, team#member]
    define signed: [user]
    define viewer: [user, user:*] or viewer from parent
    define reader: viewer but not banned
    define signer: signed and viewer
"""
TUPLES = (
    "doc:1#parent@folder:x",
    "folder:x#viewer@team:eng#member",
    "team:eng#member@user:anne",
    "team:ops#member@user:bob",
)


@pytest.fixture
def store() -> Store:
    return Store(DOCS, *TUPLES)


def steps(tried: Tried) -> list[Tried]:
    return [tried, *(inner for part in tried.parts for inner in steps(part))]


def test_a_yes_names_the_tuples_that_decided(store: Store) -> None:
    explained = store.explained("doc:1#reader@user:anne")
    assert (explained.allowed, explained.because) == (True, "Yes: user:anne has reader to doc:1.")
    assert explained.decided == keys(*TUPLES[:3])
    assert explained.missing == ()


def test_a_no_names_what_was_tried_and_which_tuple_would_do(store: Store) -> None:
    explained = store.explained("doc:1#reader@user:carl")
    assert explained.because == "No: nothing says that user:carl has reader to doc:1."
    tried = [(step.of, step.by, step.outcome) for step in steps(explained.tried)]
    assert tried == [
        ("doc:1#reader", "but not", Outcome.NO),
        ("doc:1#reader", "viewer", Outcome.NO),
        ("doc:1#viewer", "or", Outcome.NO),
        ("doc:1#viewer", "[user, user:*]", Outcome.NO),
        ("doc:1#viewer", "viewer from parent", Outcome.NO),
        ("folder:x#viewer", "[user, team#member]", Outcome.NO),
        ("team:eng#member", "[user, team#member]", Outcome.NO),
        ("doc:1#reader", "banned", Outcome.NO),
        ("doc:1#banned", "[user, team#member]", Outcome.NO),
    ]
    assert explained.missing == (
        keys("doc:1#viewer@user:carl"),
        keys("folder:x#viewer@user:carl"),
        keys("team:eng#member@user:carl"),
    )
    assert explained.decided == ()


def test_a_no_for_an_exclusion_names_the_tuples_that_exclude(store: Store) -> None:
    store.write("doc:1#banned@team:eng#member")
    explained = store.explained("doc:1#reader@user:anne")
    assert explained.because == "No: user:anne would have reader to doc:1, and is excluded."
    assert explained.decided == keys("doc:1#banned@team:eng#member", "team:eng#member@user:anne")
    assert explained.missing == ()


def test_an_intersection_misses_all_that_is_missing_together(store: Store) -> None:
    assert store.explained("doc:1#signer@user:anne").missing == (keys("doc:1#signed@user:anne"),)
    both = keys("doc:1#signed@user:carl", "doc:1#viewer@user:carl")
    assert store.explained("doc:1#signer@user:carl").missing[0] == both


def test_a_wildcard_that_decided_is_named_as_it_is_written(store: Store) -> None:
    store.write("doc:2#viewer@user:*")
    assert store.explained("doc:2#reader@user:carl").decided == keys("doc:2#viewer@user:*")


def test_contextual_tuples_are_explained_as_if_they_were_written(store: Store) -> None:
    sent = "doc:9#parent@folder:x"
    assert store.explained("doc:9#viewer@user:anne", sent).decided == keys(sent, *TUPLES[1:3])
    assert not store.explained("doc:9#viewer@user:anne").allowed


def test_acc_11_an_answer_that_lies_too_deep_is_explained_by_the_limit() -> None:
    """ACC-11: the trace names the limit."""
    chain = [f"team:{n}#member@team:{n + 1}#member" for n in range(40)]
    store = Store(DOCS, *chain, "team:40#member@user:anne", "team:20#member@user:bob")
    explained = store.explained("team:0#member@user:anne")
    assert (explained.allowed, explained.outcome) == (False, Outcome.TOO_DEEP)
    assert "depth_exceeded" in explained.because
    assert store.explained("team:0#member@user:bob").allowed


def test_who_depends_on_their_own_denial_is_told_so() -> None:
    definitions = "type user\ntype doc\n  relations\n    define blocked: [user, doc#viewer]\n"
    store = Store(definitions + "    define viewer: [user] but not blocked", "doc:1#viewer@user:anne")
    assert store.explained("doc:1#viewer@user:anne").allowed
    store.write("doc:1#blocked@doc:1#viewer")
    explained = store.explained("doc:1#viewer@user:anne")
    assert (explained.allowed, explained.outcome) == (False, Outcome.CIRCULAR)
    assert explained.because == "No: whether user:anne has viewer to doc:1 depends on its own denial."


def test_a_trace_is_bounded_and_says_what_it_leaves_out() -> None:
    many = [f"folder:x#viewer@team:{n}#member" for n in range(TRACE_MAX_STEPS * 2)]
    explained = Store(DOCS, "doc:1#parent@folder:x", *many).explained("doc:1#viewer@user:anne")
    shown = steps(explained.tried)
    assert len(shown) <= TRACE_MAX_STEPS + 10
    assert sum(step.left_out for step in shown) >= TRACE_MAX_STEPS
    assert len(explained.missing) == MISSING_MAX


def test_what_cannot_be_asked_cannot_be_explained(store: Store) -> None:
    with pytest.raises(AccessError):
        store.explained("doc:1#nothing@user:anne")
