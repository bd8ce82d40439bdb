"""Explanations: what was tried, what decided, what is missing, and what is kept from whom may not see it."""

from collections.abc import Callable

import msgspec
import pytest

from tenantry.access.closure import Outcome
from tenantry.access.errors import AccessError
from tenantry.access.explain import Explanation
from tenantry.access.limits import MISSING_MAX, TRACE_MAX_STEPS
from tenantry.access.reasons import Tried
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


HIDDEN_TUPLES = (
    "doc:1#parent@folder:x",
    "doc:1#parent@folder:secret",
    "folder:secret#viewer@team:board#member",
    "team:board#member@user:anne",
    "team:board#member@user:zoe",
)


def everything_but(*hidden: str) -> Callable[[str], bool]:
    return lambda object_: object_ not in hidden


def nothing(object_: str) -> bool:
    return False


def said(explained: Explanation) -> str:
    return msgspec.json.encode(explained).decode()


def test_acc_20_what_the_reader_may_not_see_is_not_named_and_the_verdict_stays() -> None:
    """ACC-20: the trace is cut there, and says what the hidden part came to."""
    store = Store(DOCS, *HIDDEN_TUPLES)
    whole = store.explained("doc:1#reader@user:anne")
    cut = store.explained("doc:1#reader@user:anne", visible=everything_but("folder:secret", "team:board", "user:zoe"))
    assert (cut.allowed, cut.outcome, cut.because) == (whole.allowed, whole.outcome, whole.because)
    assert "folder:secret" in said(whole)
    for name in ("secret", "board", "zoe"):
        assert name not in said(cut)
    assert cut.hidden
    assert not whole.hidden
    assert cut.decided == ()
    (from_parent,) = [step for step in steps(cut.tried) if step.by == "viewer from parent"]
    assert [(step.of, step.outcome) for step in from_parent.parts] == [
        ("folder:x#viewer", Outcome.NO),
        ("not visible to you", Outcome.YES),
    ]
    assert from_parent.found == ("doc:1#parent@folder:x",)


def test_acc_20_a_hidden_part_does_not_say_how_large_it_is() -> None:
    """ACC-20: one hidden folder or a hundred, with a team or without: the same explanation."""
    few = Store(DOCS, "doc:1#parent@folder:x", "doc:1#parent@folder:secret")
    many = Store(DOCS, "doc:1#parent@folder:x", *(f"doc:1#parent@folder:secret-{n}" for n in range(100)))
    many.write("folder:secret-1#viewer@team:board#member", "team:board#member@user:zoe")

    def visible(object_: str) -> bool:
        return "secret" not in object_ and object_ not in {"team:board", "user:zoe"}

    question = "doc:1#reader@user:carl"
    assert said(few.explained(question, visible=visible)) == said(many.explained(question, visible=visible))
    assert said(few.explained(question)) != said(many.explained(question))


def test_acc_20_no_way_to_a_yes_leads_through_what_is_hidden(store: Store) -> None:
    """ACC-20: what is missing is told as far as the reader may see both sides of it."""
    whole = store.explained("doc:1#reader@user:carl").missing
    cut = store.explained("doc:1#reader@user:carl", visible=everything_but("team:eng")).missing
    assert keys("team:eng#member@user:carl") in whole
    assert cut == (keys("doc:1#viewer@user:carl"), keys("folder:x#viewer@user:carl"))


def test_acc_20_who_excludes_is_not_named_to_whom_may_not_see_it(store: Store) -> None:
    """ACC-20: that somebody is excluded is said, by which team is not."""
    store.write("doc:1#banned@team:eng#member")
    cut = store.explained("doc:1#reader@user:anne", visible=everything_but("team:eng"))
    assert cut.because == "No: user:anne would have reader to doc:1, and is excluded."
    assert (cut.decided, cut.hidden) == ((), True)
    assert "eng" not in said(cut)


def test_acc_20_the_question_itself_and_everybody_are_no_secret() -> None:
    """ACC-20: whoever asked knows the subject and the object."""
    store = Store(DOCS, "doc:1#viewer@user:*", "doc:1#viewer@user:anne")
    cut = store.explained("doc:1#viewer@user:anne", visible=nothing)
    assert cut.decided == keys("doc:1#viewer@user:anne")
    assert store.explained("doc:1#viewer@user:bob", visible=nothing).decided == keys("doc:1#viewer@user:*")
    assert not cut.hidden


def test_acc_20_hidden_tuples_under_conditions_are_not_told_of() -> None:
    """ACC-20: neither the tuple nor the name of its condition."""
    definitions = DOCS.replace("define parent: [folder]", "define parent: [folder, folder with night]", 1)
    definitions += "condition night(hour: int) {\n  hour > 20\n}\n"
    store = Store(definitions, "doc:1#parent@folder:secret with night", "folder:secret#viewer@user:anne")
    question, context = "doc:1#reader@user:anne", {"hour": 3}
    whole = store.explained(question, context=context)
    cut = store.explained(question, context=context, visible=everything_but("folder:secret"))
    assert "night" in whole.because
    assert "night" not in cut.because
    assert "folder:secret" not in said(cut)
    assert cut.unmet == ()
    assert "the context lacks hour" in store.explained(question).because
    cut = store.explained(question, visible=everything_but("folder:secret"))
    assert (cut.outcome, cut.because) == (
        Outcome.UNDECIDED,
        "No answer: whether user:anne has reader to doc:1 depends on a condition that cannot be decided.",
    )
