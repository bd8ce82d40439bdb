"""Derived tables: a room's follower that rebuilds rows from what changed, with its cursor in the same transaction.

Exactly once for the table although changes come at least once: the cursor moves only from where the follower read it, so of two nodes, or
of two tries, one commits. What a crash leaves: table and cursor as of the last batch.
"""

from collections.abc import AsyncIterator
from typing import Protocol

from tenantry.core import scopes
from tenantry.core.errors import Conflict, Damaged
from tenantry.journal.duties import Duty
from tenantry.journal.journal import Journal, Reads
from tenantry.journal.schema import CHANGES, CURSOR_OF, MOVE_CURSOR, Change
from tenantry.journal.writeset import WriteSet
from tenantry.store import Engine, Survey, each_organization

_BEHIND = """
SELECT h.org FROM heads h LEFT JOIN cursors k ON k.org = h.org AND k.follower = :follower
WHERE h.org > :after AND coalesce((SELECT max(rev) FROM changelog c WHERE c.org = h.org), 0) > coalesce(k.rev, 0)
ORDER BY h.org LIMIT :most
"""
BATCH = 100
"""Changes derived in one set."""

BEHIND = Survey("behind", _BEHIND, {"follower": str, "after": str, "most": int}, role="worker")


class Deriver(Protocol):
    """A room's rule: from changes to the rows of its derived tables."""

    name: str

    async def derive(self, w: WriteSet, reads: Reads, changes: list[Change]) -> None:
        """Write to `w` what these changes make of the derived tables. Reads give the newest state, which may be ahead of the changes."""
        ...


class Deriving:
    """The work of one deriver; run it with `Working`."""

    beat_ms = 20

    def __init__(self, deriver: Deriver, engine: Engine, journal: Journal) -> None:
        self.name = f"derive:{deriver.name}"
        self._deriver = deriver
        self._engine = engine
        self._journal = journal

    async def ready(self) -> None:
        """See `Work`: deriving needs nothing but the database."""

    def backlog(self) -> AsyncIterator[str]:
        """See `Work`."""
        return each_organization(self._engine, BEHIND, follower=self._deriver.name)

    async def do(self, org: str, duty: Duty) -> bool:
        """See `Work`."""
        scope = scopes.of_job(org)
        reads = self._journal.reads(scope)
        cursor = await self._engine.survey(CURSOR_OF, follower=self._deriver.name, org=org)
        at = cursor[0][0] if cursor else 0
        changes = await reads.all(CHANGES, after=at, most=BATCH)
        if not changes:
            return False
        if not all(change.is_whole() for change in changes):
            raise Damaged(
                "A row of the changelog cannot be read.", hint="Run `tenantry doctor`, then restore a backup."
            )
        async with self._journal.begin_duty(scope, duty) as w:
            await self._deriver.derive(w, reads, changes)
            moved = {"rev": changes[-1].rev, "leaf": 0, "from_rev": at, "from_leaf": 0}
            w.write(MOVE_CURSOR, otherwise=Conflict, follower=self._deriver.name, **moved)
        return len(changes) == BATCH
