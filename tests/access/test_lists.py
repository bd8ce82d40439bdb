"""Lists and expansions: whole, or refused."""

from collections.abc import Callable

import msgspec
import pytest

from tenantry.access.errors import AccessError, LimitExceeded, RelationNotFound, TypeNotFound
from tenantry.access.expand import expand
from tenantry.access.limits import CONTEXTUAL_MAX_TUPLES, EXPAND_MAX_USERS, LIST_MAX
from tenantry.access.lists import find_objects, find_users
from tests.access.store import Store

DOCS = """
type user
type team
  relations
    define member: [user, team#member]
type folder
  relations
    define viewer: [user]
type doc
  relations
    define parent: [folder]
    define banned: [user]
    define viewer: [user, user:*, team#member] or viewer from parent
    define reader: viewer but not banned
"""


def test_acc_04_a_list_longer_than_one_may_be_is_refused_and_not_cut() -> None:
    """ACC-04: as many as a list may hold are listed, one more is an error; one by one they all come."""
    store = Store(DOCS, *(f"doc:{n}#viewer@user:anne" for n in range(LIST_MAX)))
    store.write(*(f"doc:x#viewer@user:{n}" for n in range(LIST_MAX)))
    assert len(store.objects("user:anne", "viewer", "doc")) == LIST_MAX
    assert len(store.users("doc:x#viewer", "user")) == LIST_MAX
    store.write("doc:more#viewer@user:anne", "doc:x#viewer@user:more")
    for refused in (lambda: store.objects("user:anne", "viewer", "doc"), lambda: store.users("doc:x#viewer", "user")):
        with pytest.raises(LimitExceeded) as raised:
            refused()
        assert (raised.value.code, raised.value.number) == ("exceeded_entity_limit", 2053)
    assert len(set(find_objects(store.plan, store.graph, "user:anne", "viewer", "doc"))) == LIST_MAX + 1
    assert len(set(find_users(store.plan, store.graph, "doc:x", "viewer", "user"))) == LIST_MAX + 1


def test_users_are_listed_by_the_kind_that_is_asked_for() -> None:
    store = Store(DOCS, "doc:1#viewer@team:eng#member", "team:eng#member@user:anne", "doc:1#viewer@user:*")
    assert store.users("doc:1#viewer", "user") == ["user:*", "user:anne"]
    assert store.users("doc:1#viewer", "team#member") == ["team:eng#member"]
    assert store.users("doc:1#viewer", "team") == []
    assert store.users("doc:1#viewer", "doc#viewer") == ["doc:1#viewer"]


def test_who_is_excluded_from_a_wildcard_is_not_listed() -> None:
    store = Store(
        DOCS, "doc:1#viewer@user:*", "doc:1#viewer@user:bob", "doc:1#viewer@user:anne", "doc:1#banned@user:bob"
    )
    assert store.users("doc:1#viewer", "user") == ["user:*", "user:anne", "user:bob"]
    assert store.users("doc:1#reader", "user") == ["user:*", "user:anne"]
    assert store.objects("user:bob", "reader", "doc") == []
    assert store.objects("user:anne", "reader", "doc") == ["doc:1"]


@pytest.mark.parametrize(
    ("user", "relation", "type_", "error"),
    [
        ("user:anne", "viewer", "page", TypeNotFound),
        ("user:anne", "writer", "doc", RelationNotFound),
        ("robot:r2", "viewer", "doc", AccessError),
        ("anne", "viewer", "doc", AccessError),
    ],
)
def test_a_list_of_objects_that_the_model_does_not_know_is_an_error(
    user: str, relation: str, type_: str, error: type[AccessError]
) -> None:
    store = Store(DOCS, "doc:1#viewer@user:anne")
    assert store.objects("user:anne", "viewer", "doc") == ["doc:1"]
    with pytest.raises(AccessError) as raised:
        store.objects(user, relation, type_)
    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("node", "filter_", "error"),
    [
        ("page:1#viewer", "user", TypeNotFound),
        ("doc:1#writer", "user", RelationNotFound),
        ("doc:1#viewer", "robot", TypeNotFound),
        ("doc:1#viewer", "team#owner", RelationNotFound),
        ("doc:*#viewer", "user", AccessError),
    ],
)
def test_a_list_of_users_whom_the_model_does_not_know_is_an_error(
    node: str, filter_: str, error: type[AccessError]
) -> None:
    store = Store(DOCS, "doc:1#viewer@user:anne")
    assert store.users("doc:1#viewer", "user") == ["user:anne"]
    with pytest.raises(AccessError) as raised:
        store.users(node, filter_)
    assert type(raised.value) is error


def test_acc_21_more_contextual_tuples_than_may_be_sent_are_refused() -> None:
    """ACC-21: a hundred are read, one more is refused by OpenFGA's code, whatever is asked."""
    store = Store(DOCS)
    sent = [f"doc:{n}#viewer@user:anne" for n in range(CONTEXTUAL_MAX_TUPLES)]
    assert len(store.objects("user:anne", "viewer", "doc", *sent)) == CONTEXTUAL_MAX_TUPLES
    more = [*sent, "doc:more#viewer@user:anne"]
    for refused in (
        lambda: store.objects("user:anne", "viewer", "doc", *more),
        lambda: store.users("doc:1#viewer", "user", *more),
        lambda: store.allows("doc:1#viewer@user:anne", *more),
        lambda: store.explained("doc:1#viewer@user:anne", *more),
    ):
        with pytest.raises(LimitExceeded) as raised:
            refused()
        assert raised.value.number == 2053


def test_an_expansion_has_openfgas_form() -> None:
    tuples = (
        "doc:1#viewer@user:anne",
        "doc:1#viewer@team:eng#member",
        "doc:1#parent@folder:x",
        "doc:1#banned@user:bob",
    )
    store = Store(DOCS, *tuples)
    viewer = msgspec.json.encode(expand(store.plan, store.graph, "doc:1", "viewer"))
    assert msgspec.json.decode(viewer) == {
        "name": "doc:1#viewer",
        "union": {
            "nodes": [
                {"name": "doc:1#viewer", "leaf": {"users": {"users": ["team:eng#member", "user:anne"]}}},
                {
                    "name": "doc:1#viewer",
                    "leaf": {
                        "tupleToUserset": {"tupleset": "doc:1#parent", "computed": [{"userset": "folder:x#viewer"}]}
                    },
                },
            ]
        },
    }
    reader = msgspec.json.encode(expand(store.plan, store.graph, "doc:1", "reader"))
    assert msgspec.json.decode(reader) == {
        "name": "doc:1#reader",
        "difference": {
            "base": {"name": "doc:1#reader", "leaf": {"computed": {"userset": "doc:1#viewer"}}},
            "subtract": {"name": "doc:1#reader", "leaf": {"computed": {"userset": "doc:1#banned"}}},
        },
    }


def test_an_expansion_larger_than_one_may_be_is_refused_and_not_cut() -> None:
    store = Store(DOCS, *(f"doc:1#viewer@user:{n}" for n in range(EXPAND_MAX_USERS)))
    assert "union" in msgspec.to_builtins(expand(store.plan, store.graph, "doc:1", "viewer"))
    store.write("doc:1#viewer@user:more")
    with pytest.raises(LimitExceeded):
        expand(store.plan, store.graph, "doc:1", "viewer")
    with pytest.raises(AccessError):
        expand(store.plan, store.graph, "doc:1", "nothing")


class Enough(Exception):
    """Whoever lists wants no more."""


@pytest.mark.parametrize("ask", ["objects", "users"])
def test_acc_10_a_list_that_finds_nothing_can_be_put_an_end_to(ask: str) -> None:
    """ACC-10: whoever walks is asked at every step whether to go on, also where nothing is found that could be listed."""
    everybody = [f"doc:{n}#viewer@user:anne" for n in range(50)] + [f"doc:{n}#banned@user:anne" for n in range(50)]
    everybody += [f"doc:x#viewer@user:u{n}" for n in range(50)] + [f"doc:x#banned@user:u{n}" for n in range(50)]
    store, steps = Store(DOCS, *everybody), list[int]()

    def found(tick: Callable[[], None] | None) -> list[str]:
        if ask == "objects":
            return list(find_objects(store.plan, store.graph, "user:anne", "reader", "doc", tick=tick))
        return list(find_users(store.plan, store.graph, "doc:x", "reader", "user", tick=tick))

    def tick() -> None:
        steps.append(1)
        if len(steps) == 40:
            raise Enough

    assert found(None) == []
    with pytest.raises(Enough):
        found(tick)
