"""A look at the horizon of which one read fails: what the other gave is not lost."""

import pytest

from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.core.errors import Ended
from tests.stand.nodes import node_of
from tests.stand.organizations import open_organization
from tests.stand.tamper import tamper


async def _until_failed(node: Node, more: int) -> None:
    failed = node.following.failures + more
    while node.following.failures < failed:
        await node.engine.changed(0.01)


async def _until_looked(node: Node, more: int) -> None:
    looks = node.following.looks + more
    while node.following.looks < looks:
        await node.engine.changed(0.01)


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_a_cut_that_is_heard_in_a_look_that_fails_half_way_still_ends_what_it_cut(fresh: Config) -> None:
    async with node_of(fresh) as node:
        acme = await open_organization(node)
        dead, alive = await acme.issue("user_1"), await acme.issue("user_2")
        for credential in (dead, alive):
            await node.cuts.check(credential)
        tamper(fresh, "REVOKE SELECT ON leaves FROM tenantry_follower")
        await _until_failed(node, 1)
        await acme.cut("user_1")
        await _until_failed(node, 2)
        tamper(fresh, "GRANT SELECT ON leaves TO tenantry_follower")
        await _until_looked(node, 2)
        await node.cuts.check(alive)
        with pytest.raises(Ended):
            await node.cuts.check(dead)
