"""Moving stores to the newest version of their application's model: a small set an organization, so that no tenant waits for another.

An interruption loses nothing: who begins again finds the stores that have the version left alone, and no store ever goes back.
"""

import msgspec

from tenantry.access.stores import move_forward, newest_model, stores_behind
from tenantry.core import scopes
from tenantry.core.errors import Conflict
from tenantry.core.ids import PLATFORM
from tenantry.core.principal import Principal
from tenantry.core.scopes import TenantScope
from tenantry.journal import Journal, Origin
from tenantry.organizations import organization
from tenantry.organizations.organization import DELETED
from tenantry.store import Engine

ORGANIZATIONS_MAX = 50
"""Organizations that one request looks at."""

STORES_MAX = 100
"""Stores of one organization that one set moves."""


class Moved(msgspec.Struct, frozen=True):
    """Stores that were moved to the newest version, and those that stayed behind because somebody else changed them meanwhile.

    `next` is the last organization that was looked at: ask again after it, or again from the start. `null` at the end.
    """

    model: str | None
    moved: int
    behind: int
    next: str | None


class _Mover(msgspec.Struct, frozen=True, eq=False):
    """Who moves the stores of an application to a version."""

    journal: Journal
    actor: Principal
    origin: Origin
    application: str
    model: str
    now_ms: int

    async def within(self, scope: TenantScope) -> tuple[int, int]:
        """Move the stores of one organization; gives how many moved, and how many stayed behind."""
        moved = 0
        reads = self.journal.reads(scope)
        while stores := await stores_behind(reads, self.application, self.model, STORES_MAX):
            try:
                async with self.journal.begin(scope, self.actor, origin=self.origin) as w:
                    for store in stores:
                        move_forward(w, store, self.model, self.now_ms)
            except Conflict:
                return moved, len(stores)
            moved += len(stores)
        return moved, 0


async def move_stores(
    journal: Journal,
    engine: Engine,
    owner: TenantScope,
    actor: Principal,
    origin: Origin,
    *,
    application: str,
    after: str,
    now_ms: int,
) -> Moved:
    """Move the stores that organizations after `after` have in an application of `owner` to its newest model.

    An application of the platform serves every organization, another one its owner alone. Each organization's log tells of its stores.
    """
    newest = await newest_model(journal.reads(owner), application)
    if newest is None:
        return Moved(None, 0, 0, None)
    mover = _Mover(journal, actor, origin, application, newest.id, now_ms)
    moved, behind = (0, 0) if after else await mover.within(owner)
    if owner.org != PLATFORM:
        return Moved(newest.id, moved, behind, None)
    page = await organization.listed(engine, after, ORGANIZATIONS_MAX)
    for tenant in page:
        if tenant.status != DELETED:
            more, stayed = await mover.within(scopes.of_entry(actor, tenant.id))
            moved, behind = moved + more, behind + stayed
    return Moved(newest.id, moved, behind, page[-1].id if len(page) == ORGANIZATIONS_MAX else None)
