"""Each way to derive a relation, the refused beside the allowed."""

import pytest

from tenantry.access.errors import AccessError, DepthExceeded, InvalidTuple
from tenantry.access.graph import Graph
from tests.access.store import Store, keys, plan_of

PEOPLE = """
type user
type team
  relations
    define member: [user, team#member]
"""


def test_a_direct_tuple_permits_whom_it_names_and_nobody_else() -> None:
    store = Store("type user\ntype doc\n  relations\n    define viewer: [user]", "doc:1#viewer@user:anne")
    assert store.allows("doc:1#viewer@user:anne")
    assert not store.allows("doc:1#viewer@user:bob")
    assert not store.allows("doc:2#viewer@user:anne")


def test_a_userset_permits_its_members_at_any_remove() -> None:
    store = Store(
        PEOPLE + "type doc\n  relations\n    define viewer: [team#member]",
        "doc:1#viewer@team:all#member",
        "team:all#member@team:eng#member",
        "team:eng#member@user:anne",
        "team:ops#member@user:bob",
    )
    assert store.allows("doc:1#viewer@user:anne")
    assert store.allows("doc:1#viewer@team:eng#member")
    assert not store.allows("doc:1#viewer@user:bob")
    assert not store.allows("doc:1#viewer@team:ops#member")


def test_a_userset_has_the_relation_that_it_is() -> None:
    store = Store(PEOPLE)
    assert store.allows("team:eng#member@team:eng#member")
    assert not store.allows("team:eng#member@team:ops#member")


def test_a_computed_relation_permits_whoever_has_the_other() -> None:
    store = Store(
        "type user\ntype doc\n  relations\n    define editor: [user]\n    define viewer: editor",
        "doc:1#editor@user:anne",
    )
    assert store.allows("doc:1#viewer@user:anne")
    assert not store.allows("doc:1#viewer@user:bob")


FOLDERS = """
type user
type folder
  relations
    define viewer: [user]
type doc
  relations
    define parent: [folder]
    define viewer: viewer from parent
"""


def test_a_tupleset_permits_whoever_has_the_relation_to_what_it_names() -> None:
    store = Store(FOLDERS, "doc:1#parent@folder:x", "folder:x#viewer@user:anne", "folder:y#viewer@user:bob")
    assert store.allows("doc:1#viewer@user:anne")
    assert not store.allows("doc:1#viewer@user:bob")
    assert not store.allows("doc:1#viewer@folder:x")


TWO = "type user\ntype doc\n  relations\n    define a: [user]\n    define b: [user]\n    define both: "
BOTH = ("doc:1#a@user:anne", "doc:1#b@user:anne", "doc:1#a@user:amy", "doc:1#b@user:bob")


@pytest.mark.parametrize(
    ("definition", "permitted"),
    [
        ("a or b", ["user:amy", "user:anne", "user:bob"]),
        ("a and b", ["user:anne"]),
        ("a but not b", ["user:amy"]),
        ("b but not (a and b)", ["user:bob"]),
        ("(a or b) but not (b but not a)", ["user:amy", "user:anne"]),
    ],
)
def test_union_intersection_and_exclusion_permit_exactly_theirs(definition: str, permitted: list[str]) -> None:
    store = Store(TWO + definition, *BOTH)
    asked = ["user:amy", "user:anne", "user:bob", "user:nobody"]
    assert [user for user in asked if store.allows(f"doc:1#both@{user}")] == permitted
    assert store.users("doc:1#both", "user") == permitted
    assert [user for user in asked if store.objects(user, "both", "doc") == ["doc:1"]] == permitted


PUBLIC = PEOPLE + "type doc\n  relations\n    define viewer: [user, user:*, team, team#member]"


def test_a_wildcard_permits_everybody_of_its_type_and_no_other() -> None:
    store = Store(PUBLIC, "doc:1#viewer@user:*")
    assert store.allows("doc:1#viewer@user:anyone")
    assert store.allows("doc:1#viewer@user:*")
    assert not store.allows("doc:1#viewer@team:eng")
    assert not store.allows("doc:2#viewer@user:anyone")


def test_acc_02_a_wildcard_does_not_permit_a_userset() -> None:
    """ACC-02: a userset has what the model says of usersets; the wildcard is not a member of any."""
    store = Store(PUBLIC, "doc:1#viewer@user:*", "team:eng#member@user:anne")
    assert not store.allows("doc:1#viewer@team:eng#member")
    assert not store.allows("team:eng#member@user:*")
    store.write("doc:1#viewer@team:eng#member")
    assert store.allows("doc:1#viewer@team:eng#member")


@pytest.mark.parametrize("public", ["a", "m", "z"])
def test_acc_03_wildcard_and_direct_tuples_do_not_hide_each_other(public: str) -> None:
    """ACC-03: whatever the order of the ids, of objects and of users, each pair is decided by its own tuples."""
    store = Store(PUBLIC, f"doc:{public}#viewer@user:*", "doc:k#viewer@user:m", "doc:p#viewer@user:m")
    for user in ("user:a", "user:m", "user:z"):
        expected = sorted({f"doc:{public}"} | ({"doc:k", "doc:p"} if user == "user:m" else set()))
        assert store.objects(user, "viewer", "doc") == expected
        assert [
            d for d in ("doc:a", "doc:k", "doc:m", "doc:p", "doc:z") if store.allows(f"{d}#viewer@{user}")
        ] == expected


def test_a_contextual_tuple_counts_for_its_question_alone() -> None:
    store = Store(FOLDERS, "folder:x#viewer@user:anne")
    assert not store.allows("doc:1#viewer@user:anne")
    assert store.allows("doc:1#viewer@user:anne", "doc:1#parent@folder:x")
    assert store.objects("user:anne", "viewer", "doc", "doc:1#parent@folder:x") == ["doc:1"]
    assert store.users("doc:1#viewer", "user", "doc:1#parent@folder:x") == ["user:anne"]
    assert not store.allows("doc:1#viewer@user:anne")
    assert store.objects("user:anne", "viewer", "doc") == []


def test_a_tuple_that_the_model_no_longer_admits_permits_nothing() -> None:
    store = Store(PUBLIC, "doc:1#viewer@user:*", "doc:1#viewer@team:eng#member", "team:eng#member@user:anne")
    assert store.allows("doc:1#viewer@user:anne")
    store.plan = plan_of(PEOPLE + "type doc\n  relations\n    define viewer: [user]", store.plan.names)
    assert not store.allows("doc:1#viewer@user:anne")
    assert store.objects("user:anne", "viewer", "doc") == []
    assert store.users("doc:1#viewer", "user") == []
    assert store.allows("team:eng#member@user:anne")


CHAIN = (
    "type user\ntype folder\n  relations\n    define parent: [folder]\n    define viewer: [user] or viewer from parent"
)


def chain(length: int) -> list[str]:
    return [f"folder:{n}#parent@folder:{n + 1}" for n in range(length)]


def test_acc_11_a_chain_up_to_the_limit_is_followed_and_a_longer_one_is_no_answer() -> None:
    """ACC-11: 25 objects away is decided, 26 is refused by name, for a list as for a check."""
    store = Store(CHAIN, *chain(25), "folder:25#viewer@user:anne", "folder:24#viewer@user:bob")
    assert store.allows("folder:0#viewer@user:anne")
    assert not store.allows("folder:0#viewer@user:carl")
    store.write("folder:25#parent@folder:26", "folder:26#viewer@user:carl")
    assert store.allows("folder:0#viewer@user:anne")
    assert store.allows("folder:1#viewer@user:carl")
    for refused in (
        lambda: store.allows("folder:0#viewer@user:carl"),
        lambda: store.objects("user:carl", "viewer", "folder"),
        lambda: store.users("folder:0#viewer", "user"),
    ):
        with pytest.raises(DepthExceeded, match="depth_exceeded") as raised:
            refused()
        assert (raised.value.code, raised.value.number) == ("authorization_model_resolution_too_complex", 2002)


def test_acc_11_a_thousand_deep_nesting_is_bounded() -> None:
    """ACC-11: near the top it is decided, from the bottom it is refused, and neither takes a thousand steps."""
    store = Store(CHAIN, *chain(1_000), "folder:1000#viewer@user:anne", "folder:3#viewer@user:bob")
    assert store.allows("folder:0#viewer@user:bob")
    with pytest.raises(DepthExceeded):
        store.allows("folder:0#viewer@user:anne")


def test_acc_11_a_circle_of_groups_has_the_members_it_has_otherwise() -> None:
    """ACC-11: groups in a circle and a group in itself: members of any are members of all, and nobody else is."""
    circle = [f"team:{n}#member@team:{(n + 1) % 10}#member" for n in range(10)]
    store = Store(PEOPLE, *circle, "team:5#member@team:5#member", "team:7#member@user:anne")
    assert store.allows("team:0#member@user:anne")
    assert not store.allows("team:0#member@user:bob")
    assert store.objects("user:anne", "member", "team") == [f"team:{n}" for n in range(10)]
    assert store.users("team:3#member", "user") == ["user:anne"]


def test_acc_11_a_folder_in_itself_has_the_viewers_it_has_otherwise() -> None:
    """ACC-11: an object that is its own parent."""
    store = Store(CHAIN, "folder:1#parent@folder:1", "folder:1#viewer@user:anne")
    assert store.allows("folder:1#viewer@user:anne")
    assert not store.allows("folder:1#viewer@user:bob")


def test_acc_11_two_to_the_power_of_twenty_paths_are_walked_once_each_object() -> None:
    """ACC-11: a ladder of diamonds is bounded by its objects, with unions and with intersections."""
    ladder = [f"folder:{n}{a}#parent@folder:{n + 1}{b}" for n in range(20) for a in "ab" for b in "ab"]
    store = Store(CHAIN, *ladder, "folder:20a#viewer@user:anne")
    assert store.allows("folder:0a#viewer@user:anne")
    assert not store.allows("folder:0a#viewer@user:bob")
    both = CHAIN.replace(
        "[user] or viewer from parent", "[user]\n    define seen: viewer or (seen from parent and seen from parent)"
    )
    store = Store(both, *ladder, "folder:20a#viewer@user:anne")
    assert store.allows("folder:0a#seen@user:anne")
    assert not store.allows("folder:0a#seen@user:bob")


def test_acc_21_a_chain_of_thousands_of_computed_relations_is_decided() -> None:
    """ACC-21: as long a chain as a model can hold, from end to end, without a stack that grows with it."""
    count = 4_000
    definitions = "".join(f"    define r{n}: r{n + 1}\n" for n in range(count))
    store = Store("type user\ntype doc\n  relations\n" + definitions + f"    define r{count}: [user]\n")
    store.write(f"doc:1#r{count}@user:anne")
    assert store.allows("doc:1#r0@user:anne")
    assert not store.allows("doc:1#r0@user:bob")
    assert store.objects("user:anne", "r0", "doc") == ["doc:1"]
    assert store.users("doc:1#r0", "user") == ["user:anne"]
    assert store.explained("doc:1#r0@user:anne").decided == keys(f"doc:1#r{count}@user:anne")


def test_who_depends_on_their_own_denial_is_denied() -> None:
    store = Store(
        "type user\ntype doc\n  relations\n    define blocked: [user, doc#viewer]\n    define viewer: [user] but not blocked",
        "doc:1#viewer@user:anne",
        "doc:2#viewer@user:anne",
        "doc:1#blocked@doc:1#viewer",
    )
    assert not store.allows("doc:1#viewer@user:anne")
    assert store.allows("doc:2#viewer@user:anne")
    assert store.users("doc:1#viewer", "user") == []


@pytest.mark.parametrize(
    "question",
    [
        "doc:1#viewer@folder:x#nothing",
        "doc:1#nothing@user:anne",
        "nothing:1#viewer@user:anne",
        "doc:1#viewer@nobody:anne",
        "doc:*#viewer@user:anne",
        "doc:1#viewer@anne",
        "doc#viewer@user:anne",
    ],
)
def test_a_question_that_the_model_does_not_know_is_an_error_and_no_answer(question: str) -> None:
    store = Store(FOLDERS, "doc:1#parent@folder:x", "folder:x#viewer@user:anne")
    assert store.allows("doc:1#viewer@user:anne")
    with pytest.raises(AccessError) as raised:
        store.allows(question)
    assert (raised.value.code, raised.value.number) == ("validation_error", 2000)


@pytest.mark.parametrize(
    "tuple_",
    [
        "doc:1#viewer@user:anne",
        "doc:1#parent@folder:*",
        "doc:1#parent@folder:x#viewer",
        "doc:1#parent@user:anne",
        "folder:1#viewer@user:*",
        "folder:*#viewer@user:anne",
        "globex/folder:1#viewer@user:anne",
    ],
)
def test_a_tuple_outside_the_restrictions_is_refused_written_or_sent(tuple_: str) -> None:
    store = Store(FOLDERS, "folder:1#viewer@user:anne", "doc:1#parent@folder:1")
    assert store.allows("doc:1#viewer@user:anne", "folder:1#viewer@user:bob")
    for refused in (lambda: store.write(tuple_), lambda: store.allows("doc:1#viewer@user:anne", tuple_)):
        with pytest.raises(InvalidTuple) as raised:
            refused()
        assert (raised.value.code, raised.value.number) == ("invalid_tuple", 2027)


def test_acc_16_no_tuple_reaches_from_one_graph_into_another() -> None:
    """ACC-16: the same names in two graphs of one model are two things; no tuple, written or sent, joins them."""
    acme = Store(FOLDERS, "doc:1#parent@folder:x")
    globex = Store(FOLDERS)
    globex.plan = acme.plan
    globex.graph = Graph(acme.plan.names)
    globex.write("folder:x#viewer@user:eve")
    assert globex.allows("folder:x#viewer@user:eve")
    assert globex.allows("doc:1#viewer@user:eve", "doc:1#parent@folder:x")
    assert not acme.allows("doc:1#viewer@user:eve")
    assert acme.objects("user:eve", "viewer", "doc") == []
    assert acme.users("doc:1#viewer", "user") == []


LITERAL = [
    "user:a*",
    "user:*a",
    "user:a/../b",
    "user:.*",
    "user:%",
    "user:a_",
    "user:\u0430nne",
    "user:\u202eenna",
    "user:a@b",
]


@pytest.mark.parametrize("user", LITERAL)
def test_acc_15_an_id_is_literal_and_never_a_pattern(user: str) -> None:
    """ACC-15: whoever has a strange id is that one and no other."""
    store = Store(PUBLIC, f"doc:1#viewer@{user}")
    assert store.allows(f"doc:1#viewer@{user}")
    for other in ("user:anne", "user:a", "user:ab", "user:b", "user:*"):
        assert not store.allows(f"doc:1#viewer@{other}")


@pytest.mark.parametrize(
    "user",
    [
        *("user:", ":anne", "user:a:b", "user:a#", "user:a b", "user:a\0", "user:a\n", "user:\ud800"),
        *("user:" + "a" * 508, "team:*#member", "team:a#member#member", "*", ""),
    ],
)
def test_acc_15_a_subject_that_is_none_is_refused(user: str) -> None:
    """ACC-15: malformed, too long, or a wildcard where none can be."""
    store = Store(PUBLIC, "doc:1#viewer@user:*")
    assert store.allows("doc:1#viewer@user:" + "a" * 507)
    with pytest.raises(AccessError) as raised:
        store.allows(f"doc:1#viewer@{user}")
    assert raised.value.number == 2000
