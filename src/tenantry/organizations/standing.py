"""Who is active: asked before any graph is walked, any token minted, any answer given.

Active means, all at once: the party's own status, its expiry, its organization's status; for an agent also its blueprint's, and a sponsor
that is active; for a job its initiator's. The database is the truth; a node keeps what it has read and, as a follower, forgets what a
change may have touched. So it may be behind by as much as it is behind the changelog, which the lease bounds.
"""

from collections import OrderedDict

import msgspec

from tenantry.core import scopes
from tenantry.core.clock import Clock
from tenantry.core.ids import PLATFORM
from tenantry.journal import Change, Journal
from tenantry.journal.schema import HEAD
from tenantry.organizations.part import Part
from tenantry.organizations.ties import HAS_SPONSOR
from tenantry.store import Read

KEPT = 100_000
"""Answers in memory, about 300 bytes each; beyond it those asked for longest ago are forgotten."""

_RESTS_ON_OTHERS = ("agent_", "job_")
"""Parties whose standing hangs on others' too."""
_RESTED_ON = ("user_", "group_", "service_", "agent_", "blueprint_", "job_")
"""On whose."""


class _Found(msgspec.Struct, frozen=True):
    stands: int
    ends_at_ms: int | None


def _agent_stands(party: str) -> str:
    """True of every party but an agent whose blueprint is not active, or none of whose sponsors is."""
    return (
        f"({party}.kind <> 'agent' OR EXISTS (SELECT 1 FROM agents a JOIN parties b ON b.org = a.org AND b.id = a.blueprint_id "  # noqa: S608
        f"WHERE a.org = {party}.org AND a.id = {party}.id AND b.status = 'active' AND {HAS_SPONSOR}))"
    )


STANDING = Read(
    "organizations_standing",
    _Found,
    "SELECT CAST(CASE WHEN p.status = 'active' "  # noqa: S608
    f"AND (p.org = '{PLATFORM}' OR EXISTS (SELECT 1 FROM organizations o WHERE o.org = p.org AND o.status = 'active')) "
    f"AND {_agent_stands('p')} "
    "AND (p.kind <> 'job' OR EXISTS (SELECT 1 FROM jobs j LEFT JOIN parties i ON i.org = j.org AND i.id = j.initiator_id "
    f"WHERE j.org = p.org AND j.id = p.id AND (j.initiator_id IS NULL OR (i.status = 'active' AND {_agent_stands('i')})))) "
    "THEN 1 ELSE 0 END AS {int}), p.ends_at FROM parties p WHERE p.org = :org AND p.id = :id",
    {"id": str},
)

PART = Part(tables=(), statements=(), reads=(STANDING,), ddl="")


class _Organization:
    """What is known of one organization. `resting` are answers that hang on others of it; `rev` is what all of them are not older than."""

    __slots__ = ("own", "resting", "rev")

    def __init__(self) -> None:
        self.own: dict[str, _Found] = {}
        self.resting: dict[str, _Found] = {}
        self.rev = 0

    def of(self, principal: str) -> dict[str, _Found]:
        """Where the answer of a principal is kept."""
        return self.resting if principal.startswith(_RESTS_ON_OTHERS) else self.own

    def __len__(self) -> int:
        return len(self.own) + len(self.resting)


class Standings:
    """A node's knowledge of who is active. See `access.sources.Standing`; a follower: add it to `Following`. Owned by the event loop."""

    def __init__(self, journal: Journal, clock: Clock, *, kept: int = KEPT) -> None:
        self._journal = journal
        self._clock = clock
        self._most = kept
        self._size = 0
        self._kept: OrderedDict[str, _Organization] = OrderedDict()

    async def active(self, org: str, principal: str, *, at_least: int = 0) -> bool:
        """Whether a principal, application or resource of the organization may act, or be used, now; not if it is unknown there.

        Never from before the revision `at_least`: what this node has not heard of is read.
        """
        known = self._kept.setdefault(org, _Organization())
        self._kept.move_to_end(org)
        found = known.of(principal).get(principal) if known.rev >= at_least else None
        found = found or await self._read(org, known, principal)
        return bool(found.stands) and (found.ends_at_ms is None or self._clock.now_ms() < found.ends_at_ms)

    def apply(self, change: Change) -> None:
        """See `Follower`."""
        known = self._kept.get(change.org)
        if known is None:
            return
        known.rev = max(known.rev, change.rev)
        before, touched = len(known), change.touched_ids()
        for one in touched:
            known.own.pop(one, None)
        if any(one.startswith(_RESTED_ON) for one in touched):
            known.resting.clear()
        if change.org in touched:
            known.own.clear()
            known.resting.clear()
        self._size -= before - len(known)

    async def _read(self, org: str, known: _Organization, principal: str) -> _Found:
        reads = self._journal.reads(scopes.of_job(org))
        if not known.rev:
            heads = await reads.all(HEAD)
            known.rev = known.rev or max(
                (head.rev for head in heads), default=0
            )  # nothing was read, so nothing is older
        rev = known.rev
        rows = await reads.all(STANDING, id=principal)
        if not rows:
            if not known and self._kept.get(org) is known:
                del self._kept[org]  # what nobody here knows takes no memory
            return _Found(0, None)
        kept = known.of(principal)
        if known.rev == rev and principal not in kept and self._kept.get(org) is known:
            kept[principal] = rows[0]
            self._size += 1
            self._evict()
        return rows[0]

    def _evict(self) -> None:
        while self._size > self._most:
            _, forgotten = self._kept.popitem(last=False)
            self._size -= len(forgotten)
