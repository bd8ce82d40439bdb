"""Group membership as the graph reads it: derived tuples, `group:<id>#member@user:<id>`, that count in every store of the organization."""

from collections.abc import AsyncIterator

from tenantry.access.tuples import TupleKey
from tenantry.core.limits import PAGE_ROWS
from tenantry.journal import Reads
from tenantry.organizations.groups import MEMBERS_PAGE, MEMBERSHIPS, Membership
from tenantry.organizations.roles import subject_of


class Memberships:
    """See `access.sources.TupleSource`."""

    type = "group"
    relation = "member"
    prefix = "group"

    async def load(self, reads: Reads) -> AsyncIterator[list[TupleKey]]:
        """Every membership of the organization."""
        group = member = ""
        while rows := await reads.all(MEMBERSHIPS, after_group=group, after=member, most=PAGE_ROWS):
            yield [_tuple(row) for row in rows]
            group, member = rows[-1].group_id, rows[-1].member_id

    async def of(self, reads: Reads, touched: str) -> AsyncIterator[list[TupleKey]]:
        """Every membership of one group as it is now."""
        after = ""
        while rows := await reads.all(MEMBERS_PAGE, group_id=touched, after=after, most=PAGE_ROWS):
            yield [_tuple(Membership(touched, row.id)) for row in rows]
            after = rows[-1].id


def _tuple(row: Membership) -> TupleKey:
    return TupleKey(subject_of(row.member_id), "member", f"group:{row.group_id}")
