"""Two tenants on one node: what one does is nothing to the other."""

import asyncio

import pytest

from tenantry.core.errors import Ended
from tests.stand.organizations import Organization


async def test_ten_10_the_same_key_in_two_tenants_is_two_entries(acme: Organization, globex: Organization) -> None:
    """TEN-10: one user-chosen key in two tenants is two entries: in tables, in one batch, in a cache of what was cut."""
    await asyncio.gather(acme.spend("same"), globex.spend("same"))
    await asyncio.gather(acme.add_member("same"), globex.add_member("same"))
    ours, theirs = await acme.issue("session_same"), await globex.issue("session_same")
    await acme.node.cuts.lineage(acme.id, ("session_other",), await acme.cut("session_same"))
    await acme.node.cuts.check(theirs)
    with pytest.raises(Ended):
        await acme.node.cuts.check(ours)
