"""The store of Tenantry's own questions: the shipped model, and relations given and taken in other rooms' write sets."""

import pytest

from tenantry.access.check import check
from tenantry.access.errors import InvalidTuple
from tenantry.access.graph import Graph
from tenantry.access.printing import print_model
from tenantry.access.schema import CHANGES_OF, TUPLES_OF
from tenantry.access.system import (
    SYSTEM_STORE,
    LastOwner,
    give_role,
    system_model,
    system_plan,
    take_role,
)
from tenantry.app.node import Node
from tenantry.core.ids import parse
from tests.access.store import key
from tests.stand.organizations import Organization, open_organization

ANNE, BOB = "user:user_01J00000000000000000000ANN", "user:user_01J00000000000000000000BB0"
FIRST = {"after_type": "", "after_id": "", "after_relation": "", "after_subject": "", "most": 100}


@pytest.fixture
async def ours(node: Node) -> Organization:
    """An organization of this test alone."""
    return await open_organization(node)


@pytest.fixture
async def theirs(node: Node) -> Organization:
    """Another organization."""
    return await open_organization(node)


async def subjects(organization: Organization) -> list[str]:
    return [row.subject for row in await organization.reads.all(TUPLES_OF, store=SYSTEM_STORE, **FIRST)]


async def give(organization: Organization, role: str, subject: str) -> int:
    async with organization.begin() as w:
        give_role(w, f"organization:{organization.id}", role, subject)
    return w.revision


async def take(organization: Organization, role: str, subject: str) -> int:
    async with organization.begin() as w:
        take_role(w, f"organization:{organization.id}", role, subject)
    return w.revision


def test_the_shipped_model_stands_and_has_an_id_of_its_own() -> None:
    assert "type organization" in print_model(system_plan().model)
    assert parse("model", system_model()) == system_model()


def test_an_owner_may_do_everything_and_an_auditor_only_read() -> None:
    plan = system_plan()
    graph = Graph(plan.names)
    graph.add(key("organization:o#owner@user:anne"))
    graph.add(key("organization:o#auditor@user:bob"))
    permissions = [r.name for r in plan.vocabulary.types["organization"].relations if r.name.startswith("can_")]
    allowed = {
        who: {one for one in permissions if check(plan, graph, key(f"organization:o#{one}@user:{who}"))}
        for who in ("anne", "bob", "carl")
    }
    assert allowed["anne"] == set(permissions)
    assert allowed["bob"] == {one for one in permissions if one.startswith(("can_read_", "can_follow_"))}
    assert allowed["carl"] == set()


async def test_a_role_is_given_told_of_and_recorded_in_one_set(ours: Organization) -> None:
    rev = await give(ours, "owner", ANNE)
    assert await subjects(ours) == [ANNE]
    (change,) = await ours.reads.all(CHANGES_OF, store=SYSTEM_STORE, rev=0, place=0, most=10)
    assert (change.rev, change.added, change.subject, change.object) == (rev, 1, ANNE, f"organization:{ours.id}")
    held = await ours.holdings()
    assert held.events()[-1]["type"] == "access.role_given"
    assert SYSTEM_STORE in held.changes[-1].touched_ids()


async def test_a_role_given_twice_is_one_role(ours: Organization) -> None:
    await give(ours, "admin", ANNE)
    await give(ours, "admin", ANNE)
    assert await subjects(ours) == [ANNE]


async def test_what_the_model_does_not_admit_is_not_given(ours: Organization) -> None:
    with pytest.raises(InvalidTuple):
        await give(ours, "can_manage_users", ANNE)
    assert await subjects(ours) == []


async def test_the_last_owner_stays(ours: Organization) -> None:
    await give(ours, "owner", ANNE)
    await give(ours, "owner", BOB)
    await take(ours, "owner", ANNE)
    with pytest.raises(LastOwner):
        await take(ours, "owner", BOB)
    assert await subjects(ours) == [BOB]


async def test_a_role_of_another_organization_does_not_exist_here(ours: Organization, theirs: Organization) -> None:
    await give(ours, "owner", ANNE)
    assert await subjects(theirs) == []
