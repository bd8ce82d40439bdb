"""The edges at which a dead credential, or another tenant's error, could slip through."""

import asyncio

import msgspec
import pytest

from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.core import scopes
from tenantry.core.errors import Ended, NotFound
from tenantry.core.principal import Principal
from tenantry.journal import Change
from tests.stand.nodes import node_of
from tests.stand.organizations import Organization, open_organization


@pytest.mark.parametrize("branch", ["user 1", "user_1,user_2", 'user"1', "üser_1"])
async def test_a_branch_of_any_spelling_ends_what_descends_from_it(acme: Organization, branch: str) -> None:
    dead, alive = await acme.issue(branch), await acme.issue("user_2")
    await acme.cut(branch)
    with pytest.raises(Ended):
        await acme.spend("by the dead", dead)
    await acme.spend("by the living", alive)


async def test_ten_11_two_callers_that_are_refused_alike_never_hold_the_same_error(node: Node) -> None:
    """TEN-11: an error object is one caller's, so that nothing written on it for one tenant is read by another."""
    errors: list[NotFound] = []
    for _ in range(2):
        with pytest.raises(NotFound) as refused:
            await Organization(node, scopes.of_job(node.ids.new("org"))).add_member("nobody")
        errors.append(refused.value)
    assert errors[0] is not errors[1]


async def test_a_credential_of_an_earlier_incarnation_writes_nothing_even_if_it_names_no_branch(
    acme: Organization,
) -> None:
    issued = await acme.issue("user_1")
    assert issued.lineage is not None
    bare = msgspec.structs.replace(issued.lineage, path=())
    await acme.add_member("before", msgspec.structs.replace(issued, lineage=bare))
    earlier = msgspec.structs.replace(issued, lineage=msgspec.structs.replace(bare, incarnation=0))
    with pytest.raises(Ended):
        await acme.add_member("after", earlier)


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_a_cut_that_is_heard_while_a_check_waits_is_seen_by_that_check(fresh: Config) -> None:
    async with node_of(fresh) as node:
        acme = await open_organization(node)
        issued = await acme.issue("user_1")
        await node.cuts.check(issued)
        assert issued.lineage is not None
        through_an_application = msgspec.structs.replace(issued.lineage, platform_path=("app_1",), platform_rev=1_000)
        credential: Principal = msgspec.structs.replace(issued, lineage=through_an_application)
        checking = asyncio.create_task(node.cuts.check(credential))  # the platform's cuts have to be read first
        await asyncio.sleep(0)
        node.cuts.apply(Change(acme.id, issued.lineage.rev + 1, 0, "[]", '["user_1"]'))
        with pytest.raises(Ended):
            await checking
