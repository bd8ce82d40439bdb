"""Roles: what they become in a model, and what they cannot be."""

import pytest

from tenantry.access.check import check
from tenantry.access.graph import Graph, Names
from tenantry.access.language import parse
from tenantry.access.plan import Plan, compile_model
from tenantry.access.printing import print_model
from tenantry.access.roles import BadRole, Roles, with_roles
from tests.access.store import key

PEOPLE = """
type user
type group
  relations
    define member: [user]
"""
WORKSPACE = (
    PEOPLE
    + """
type workspace
  relations
    define owner: [user]
    define blocked: [user]
    define can_read: owner
    define can_edit: owner but not blocked
    define can_both: owner and can_read
"""
)
ROLES: Roles = {"workspace": {"editor": ("can_read", "can_edit"), "reader": ("can_read", "can_list")}}


def made(roles: Roles, definitions: str = WORKSPACE) -> Plan:
    """The model with its roles, compiled."""
    return compile_model(with_roles(parse(f"model\n  schema 1.1\n{definitions}").model, roles), Names())


def allowed(question: str, *tuples: str, roles: Roles = ROLES) -> bool:
    """Whether the tuples, which the model has to admit, allow it."""
    plan = made(roles)
    graph = Graph(plan.names)
    for one in map(key, tuples):
        plan.vocabulary.admit(one)
        graph.add(one)
    return check(plan, graph, key(question))


def test_whoever_is_given_a_role_has_its_permissions_and_no_others() -> None:
    given = "workspace:1#reader@user:anne"
    assert allowed("workspace:1#can_read@user:anne", given)
    assert allowed("workspace:1#can_list@user:anne", given)
    assert not allowed("workspace:1#can_edit@user:anne", given)
    assert not allowed("workspace:2#can_read@user:anne", given)


def test_a_role_is_given_to_the_members_of_a_group() -> None:
    given = ("workspace:1#editor@group:eng#member", "group:eng#member@user:anne")
    assert allowed("workspace:1#can_edit@user:anne", *given)
    assert not allowed("workspace:1#can_edit@user:bob", *given)


def test_what_a_model_gave_before_its_roles_it_still_gives() -> None:
    assert allowed("workspace:1#can_edit@user:anne", "workspace:1#owner@user:anne")


def test_whom_a_model_keeps_out_a_role_does_not_let_in() -> None:
    given = ("workspace:1#editor@user:anne", "workspace:1#editor@user:bob", "workspace:1#blocked@user:bob")
    assert allowed("workspace:1#can_edit@user:anne", *given)
    assert not allowed("workspace:1#can_edit@user:bob", *given)


def test_a_model_without_roles_is_as_it_was() -> None:
    model = parse(f"model\n  schema 1.1\n{WORKSPACE}").model
    assert with_roles(model, {}) == model


def test_a_model_with_its_roles_can_be_printed_and_read_again() -> None:
    model = with_roles(parse(f"model\n  schema 1.1\n{WORKSPACE}").model, ROLES)
    assert parse(print_model(model)).model == model


@pytest.mark.parametrize(
    ("roles", "why"),
    [
        ({"room": {"editor": ("can_read",)}}, "no such type"),
        ({"workspace": {"owner": ("can_read",)}}, "has a relation owner"),
        ({"workspace": {"editor": ("reader",), "reader": ("can_read",)}}, "a role and no permission"),
        ({"workspace": {"editor": ("can_both",)}}, "several things at once"),
    ],
)
def test_a_role_that_cannot_stand_is_refused(roles: Roles, why: str) -> None:
    made(ROLES)
    with pytest.raises(BadRole, match=why):
        made(roles)


def test_a_model_without_principals_has_nobody_to_give_a_role_to() -> None:
    with pytest.raises(BadRole, match="has none of these types"):
        made({"doc": {"editor": ("can_edit",)}}, "type doc\n  relations\n    define can_edit: [doc]")
