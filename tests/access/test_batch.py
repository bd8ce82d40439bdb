"""Batches: each item its own answer, none another's."""

import pytest

from tenantry.access import batch
from tenantry.access.batch import Item, check_all
from tenantry.access.check import check
from tenantry.access.errors import AccessError, ConditionFailed, DepthExceeded, TooComplex
from tenantry.access.limits import BATCH_MAX_CHECKS, HOPS_MAX
from tests.access.store import Store, key, keys

DOCS = """
type user
type team
  relations
    define member: [user, team#member]
type doc
  relations
    define viewer: [user, user with small, team#member]
condition small(x: int) {
  x < 10
}
"""


@pytest.fixture
def store() -> Store:
    return Store(DOCS, "doc:1#viewer@team:a#member", "team:a#member@user:anne", "doc:2#viewer@user:anne with small")


def test_each_item_has_its_answer_by_its_id_in_the_order_of_the_questions(store: Store) -> None:
    items = [
        Item("b", key("doc:1#viewer@user:bob")),
        Item("a-1", key("doc:1#viewer@user:anne")),
        Item("c_2", key("doc:2#viewer@user:anne"), (), {"x": 1}),
    ]
    assert list(check_all(store.plan, store.graph, items).items()) == [("b", False), ("a-1", True), ("c_2", True)]


def test_an_item_that_has_no_answer_keeps_none_from_theirs(store: Store) -> None:
    items = [
        Item("1", key("doc:2#viewer@user:anne")),
        Item("2", key("doc:1#owner@user:anne")),
        Item("3", key("doc:1#viewer@anne")),
        Item("4", key("doc:1#viewer@user:anne"), keys("doc:1#nothing@user:anne")),
        Item("5", key("doc:1#viewer@user:anne")),
    ]
    answers = check_all(store.plan, store.graph, items)
    assert isinstance(answers["1"], ConditionFailed)
    numbers = [answer.number for answer in answers.values() if isinstance(answer, AccessError)]
    assert numbers == [2000, 2000, 2000, 2027]
    assert answers["5"] is True


def test_acc_01_items_do_not_share_what_was_sent_beside_them(store: Store) -> None:
    """ACC-01: the same question with another context or other contextual tuples is another question."""
    question = key("doc:2#viewer@user:anne")
    sent = keys("doc:2#viewer@user:bob")
    items = [
        Item("yes", question, (), {"x": 1}),
        Item("no", question, (), {"x": 11}),
        Item("again", question, (), {"x": 1}),
        Item("with", key("doc:2#viewer@user:bob"), sent),
        Item("without", key("doc:2#viewer@user:bob")),
    ]
    answers = check_all(store.plan, store.graph, items)
    assert answers == {"yes": True, "no": False, "again": True, "with": True, "without": False}


def test_what_a_circle_left_open_is_found_by_the_next_item() -> None:
    """A walk that said yes had counted an open node as a no: that must not become another item's answer."""
    store = Store(DOCS, "team:a#member@team:b#member", "team:b#member@team:a#member", "team:a#member@team:c#member")
    store.write("team:c#member@user:anne")
    questions = [key(f"team:{name}#member@user:anne") for name in "abc"]
    for order in (questions, questions[::-1]):
        items = [Item(f"{n}", question) for n, question in enumerate(order)]
        assert set(check_all(store.plan, store.graph, items).values()) == {True}


def test_an_item_reaches_as_deep_as_a_check_and_no_deeper() -> None:
    store = Store(DOCS, *(f"team:{n}#member@team:{n + 1}#member" for n in range(HOPS_MAX + 3)))
    store.write(f"team:{HOPS_MAX + 3}#member@user:anne")
    questions = [key(f"team:{n}#member@user:anne") for n in range(HOPS_MAX + 3, -1, -1)]
    items = [Item(f"{n}", question) for n, question in enumerate(questions)]
    for item, answer in zip(items, check_all(store.plan, store.graph, items).values(), strict=True):
        if isinstance(answer, AccessError):
            with pytest.raises(DepthExceeded):
                check(store.plan, store.graph, item.key)
        else:
            assert answer is check(store.plan, store.graph, item.key)


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ([], "at least one check"),
        (["1", "1"], "duplicate correlation id"),
        (["a b"], "no correlation id"),
        (["a" * 37], "no correlation id"),
        ([""], "no correlation id"),
        (["é"], "no correlation id"),
    ],
)
def test_a_batch_that_cannot_be_answered_by_id_is_refused(store: Store, ids: list[str], said: str) -> None:
    question = key("doc:1#viewer@user:anne")
    assert check_all(store.plan, store.graph, [Item("a" * 36, question)]) == {"a" * 36: True}
    with pytest.raises(AccessError, match=said) as raised:
        check_all(store.plan, store.graph, [Item(one, question) for one in ids])
    assert raised.value.number == 2000


def test_acc_21_a_batch_is_bounded(store: Store) -> None:
    """ACC-21: fifty are answered, one more is refused by OpenFGA's code."""
    items = [Item(f"{n}", key("doc:1#viewer@user:anne")) for n in range(BATCH_MAX_CHECKS + 1)]
    assert len(check_all(store.plan, store.graph, items[:-1])) == BATCH_MAX_CHECKS
    with pytest.raises(AccessError, match="maximum allowed is 50"):
        check_all(store.plan, store.graph, items)


def test_what_a_batch_had_no_time_for_is_no_yes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [Item(name, key("doc:1#viewer@user:anne")) for name in ("first", "second")]
    assert list(check_all(store.plan, store.graph, items).values()) == [True, True]
    monkeypatch.setattr(batch, "BATCH_MAX_S", -1.0)
    answers = check_all(store.plan, store.graph, items)
    assert answers["first"] is True
    assert isinstance(answers["second"], TooComplex)
