"""Two tenants on one node: what one does is nothing to the other."""

import asyncio

import pytest

from tenantry.core import scopes
from tenantry.core.errors import Ended, Invalid, NotFound
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


async def test_ten_10_keys_that_are_one_when_joined_without_a_separator_are_two_entries(acme: Organization) -> None:
    """TEN-10: an organization's id has one length, so that no key behind it makes it another's; the branches of a path are not run
    together, nor does a separator inside of one make two."""
    for other in (acme.id + "s", acme.id + "/", acme.id + "\x1f", acme.id[:-1]):
        with pytest.raises(NotFound):
            scopes.of_job(other)
    credential = await acme.issue("user_ab", "c")
    for joined in ("user_abc", "user_a", "bc", "user_ab,c", "user_ab/c", 'user_ab","c'):
        await acme.cut(joined)
        await acme.spend(f"after {joined!r}", credential)
        await acme.node.cuts.check(credential)
    with pytest.raises(Invalid):
        await acme.cut("user_ab\x1fc")
    await acme.cut("c")
    with pytest.raises(Ended):
        await acme.spend("after its own", credential)
