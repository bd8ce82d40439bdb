"""What has died. A credential is dead if any branch it descends from was cut at a revision above the one it carries.

A node keeps the cuts of the organizations it is asked about, follows the changelog to keep them true, and says yes only while its lease
holds. Cuts are facts that only grow, and the highest revision of a branch wins, so a change heard while an organization loads may be
applied in any order.
"""

import asyncio
from collections import OrderedDict
from contextlib import suppress
from weakref import WeakValueDictionary

from tenantry.core import scopes
from tenantry.core.clock import Clock
from tenantry.core.errors import Ended, Stale
from tenantry.core.ids import PLATFORM
from tenantry.core.limits import LEASE_MS, PAGE_ROWS
from tenantry.core.principal import Lineage, Principal
from tenantry.journal.journal import Journal
from tenantry.journal.lease import Lease
from tenantry.journal.schema import CUTS_OF, Change

KEPT = 1_000_000
"""Cuts in memory, about 150 bytes each; beyond it the organizations asked for longest ago are forgotten and read again."""


class _Organization:
    """The cuts of one organization, and the revision up to which they are complete."""

    __slots__ = ("__weakref__", "cuts", "rev")

    def __init__(self) -> None:
        self.cuts: dict[str, int] = {}
        self.rev = 0


class Cuts:
    """A node's knowledge of what has died. A follower: add it to `Following` before that starts. Owned by the event loop.

    `_kept` are the organizations in memory, `_live` those and whatever a check still holds: as long as anybody looks at it, it is told.
    """

    def __init__(self, journal: Journal, lease: Lease, clock: Clock, incarnation: int, *, kept: int = KEPT) -> None:
        self._journal = journal
        self._lease = lease
        self._clock = clock
        self._incarnation = incarnation
        self._most = kept
        self._size = 0
        self._kept: OrderedDict[str, _Organization] = OrderedDict()
        self._live: WeakValueDictionary[str, _Organization] = WeakValueDictionary()
        self._loading: dict[str, asyncio.Task[_Organization]] = {}
        self._moved = asyncio.Event()

    def apply(self, change: Change) -> None:
        """See `Follower`."""
        known = self._live.get(change.org)
        if known is not None:
            before = len(known.cuts)
            for branch in change.cut_ids():
                known.cuts[branch] = max(change.rev, known.cuts.get(branch, 0))
            known.rev = max(known.rev, change.rev)
            if change.org in self._kept:
                self._size += len(known.cuts) - before
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def check(self, principal: Principal) -> None:
        """Refuse what descends from a cut. Holds for this moment only: ask again at every use.

        Raises:
            Ended: a branch of its path was cut after the credential was made, or it is of another incarnation.
            Stale: this node has not heard recently enough to know.
        """
        lineage = principal.lineage
        if lineage is None:
            return
        if lineage.incarnation != self._incarnation:
            raise Ended
        own = await self._of(principal.org)
        platform = await self._of(PLATFORM) if lineage.platform_path else own
        # Nothing is awaited from here on: a cut that was heard while one of them was read counts too.
        if any(own.cuts.get(branch, 0) > lineage.rev for branch in lineage.path):
            raise Ended
        if any(platform.cuts.get(branch, 0) > lineage.platform_rev for branch in lineage.platform_path):
            raise Ended
        self._lease.check(principal.org, *([PLATFORM] if lineage.platform_path else []))

    async def lineage(
        self,
        org: str,
        path: tuple[str, ...],
        read_at: int,
        platform_path: tuple[str, ...] = (),
        platform_read_at: int = 0,
    ) -> Lineage:
        """What a credential carries that rests on records read at revision `read_at` (and `platform_read_at`): any cut after it ends it.

        Take the revision (`Journal.head`) before the records are read, never after: a cut in between would go unseen. The node waits
        until it has applied that revision. Not checked here: that those records are active. A branch cut up to `read_at` may have been
        made active again.

        Raises:
            Stale: the node did not catch up within the lease.
        """
        await self._catch_up(org, read_at)
        if platform_path:
            await self._catch_up(PLATFORM, platform_read_at)
        self._lease.check(org, *([PLATFORM] if platform_path else []))
        return Lineage(self._incarnation, path, read_at, platform_path, platform_read_at)

    async def _catch_up(self, org: str, rev: int) -> None:
        began = self._clock.boottime()
        known = await self._of(org)
        while known.rev < rev:
            left = LEASE_MS / 1000 - (self._clock.boottime() - began)
            if left <= 0:
                raise Stale(hint="This node is behind; ask again in a second.", retry_after_ms=LEASE_MS)
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._moved.wait()
            known = await self._of(org)

    async def _of(self, org: str) -> _Organization:
        """The organization's cuts, read once and shared by all who wait for them."""
        known = self._kept.get(org)
        if known is not None:
            self._kept.move_to_end(org)
            return known
        if org in self._loading:
            return await asyncio.shield(self._loading[org])
        if (held := self._live.get(org)) is not None:
            self._keep(org, held)
            return held
        self._loading[org] = asyncio.ensure_future(self._load(org))
        return await asyncio.shield(self._loading[org])

    async def _load(self, org: str) -> _Organization:
        fresh, whole = _Organization(), False
        self._live[org] = fresh
        try:
            scope = scopes.of_job(org)
            head = await self._journal.head(scope)
            reads, after = self._journal.reads(scope), ""
            while rows := await reads.all(CUTS_OF, after=after, most=PAGE_ROWS):
                for row in rows:
                    fresh.cuts[row.id] = max(row.rev, fresh.cuts.get(row.id, 0))
                after = rows[-1].id
            fresh.rev, whole = max(fresh.rev, head.rev), True
        finally:
            del self._loading[org]
            if not whole:
                del self._live[org]
        self._keep(org, fresh)
        return fresh

    def _keep(self, org: str, known: _Organization) -> None:
        self._kept[org] = known
        self._size += len(known.cuts)
        while self._size > self._most and len(self._kept) > 1:
            _, forgotten = self._kept.popitem(last=False)
            self._size -= len(forgotten.cuts)
