"""What other rooms tell this one: tuples that their rows imply, and which principals are active. `app/` brings them together."""

from collections.abc import AsyncIterator
from typing import Protocol

from tenantry.access.tuples import TupleKey
from tenantry.journal import Reads


class TupleSource(Protocol):
    """Derived tuples, such as `group:group_…#member@user:user_…`: they count in every store of an organization.

    All tuples of one `relation` to objects of the `type` are the source's: where a store's own tuples say the same they are
    overlooked. A change of one object's names its id among what it touched, and the id begins with `prefix`.
    """

    type: str
    relation: str
    prefix: str

    def load(self, reads: Reads) -> AsyncIterator[list[TupleKey]]:
        """Every tuple of the organization, at most `PAGE_ROWS` at a time."""
        ...

    def of(self, reads: Reads, touched: str) -> AsyncIterator[list[TupleKey]]:
        """Every tuple of one object as it is now, at most `PAGE_ROWS` at a time; none if it is gone."""
        ...


class Standing(Protocol):
    """Whether principals are active. Asked before any graph is walked."""

    async def active(self, org: str, principal: str, *, at_least: int = 0) -> bool:
        """Whether the `principal` (`user_…`, `agent_…`, `service_…`, `mcp_…`, `job_…`) of the organization may act at all now.

        Never from before the revision `at_least`. False as well for one that is unknown here.
        """
        ...
