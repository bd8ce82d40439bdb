"""Operator entries: how an operator of the platform comes into an organization. One organization, a reason, at most 30 minutes, in its log
before the first read, and ended by whoever of the two wishes: the operator, or the organization by its veto.
"""

import msgspec

from tenantry.core import scopes
from tenantry.core.errors import AlreadyDone, Denied, Invalid
from tenantry.core.ids import PLATFORM
from tenantry.core.principal import Principal
from tenantry.core.scopes import TenantScope
from tenantry.journal import Event, Reads, Target, Text, WriteSet
from tenantry.organizations.part import PAGE_ARGS, Part
from tenantry.store import Kind, Read, Statement, Table

ENTRIES = Table("entries", Kind.STATE)
ENTRY_MAX_MS = 30 * 60_000


class Entry(msgspec.Struct, frozen=True):
    """An operator in the organization, until `ends_at_ms` or `ended_at_ms`, whichever comes first."""

    org: str
    id: str
    operator_id: str
    reason: str
    made_at_ms: int
    ends_at_ms: int
    ended_at_ms: int | None

    def path(self) -> tuple[str, ...]:
        """The branches that its session descends from, in the organization; the operator's own user is one of the platform's."""
        return (self.org, self.id)

    def open(self, now_ms: int) -> bool:
        """Whether the operator may be in the organization now."""
        return self.ended_at_ms is None and now_ms < self.ends_at_ms


ENTER = Statement(
    "organizations_enter",
    ENTRIES,
    "INSERT INTO entries (org, id, operator_id, reason, made_at, ends_at) VALUES (:org, :id, :operator_id, :reason, :made_at, :ends_at)",
    {"id": str, "operator_id": str, "reason": str, "made_at": int, "ends_at": int},
)
END_ENTRY = Statement(
    "organizations_end_entry",
    ENTRIES,
    "UPDATE entries SET ended_at = :ended_at WHERE org = :org AND id = :id AND ended_at IS NULL AND ends_at > :ended_at",
    {"id": str, "ended_at": int},
)
_COLUMNS = "org, id, operator_id, reason, made_at, ends_at, ended_at"
ENTRY = Read(
    "organizations_entry",
    Entry,
    f"SELECT {_COLUMNS} FROM entries WHERE org = :org AND id = :id",  # noqa: S608
    {"id": str},
)
ENTRIES_PAGE = Read(
    "organizations_entries",
    Entry,
    f"SELECT {_COLUMNS} FROM entries WHERE org = :org AND id > :after ORDER BY id LIMIT :most",  # noqa: S608
    PAGE_ARGS,
)

PART = Part(
    tables=(ENTRIES,),
    statements=(ENTER, END_ENTRY),
    reads=(ENTRY, ENTRIES_PAGE),
    ddl="""
CREATE TABLE entries (
    org text NOT NULL, id text NOT NULL, operator_id text NOT NULL, reason text NOT NULL, made_at {int} NOT NULL, ends_at {int} NOT NULL,
    ended_at {int}, PRIMARY KEY (org, id)) {strict};
""",
)


class OperatorEntered(Event, tag="operator.entered", frozen=True):
    """An operator of the platform came into the organization, for a reason and a time."""

    entry: Target
    organization: Target
    operator: Target
    reason: Text
    ends_at_ms: int


class OperatorLeft(Event, tag="operator.left", frozen=True):
    """An operator's entry ended before its time: by the operator, or by the organization's veto."""

    entry: Target
    organization: Target
    operator: Target
    vetoed: bool


class EntryOver(AlreadyDone):
    """The entry has ended."""

    code = "entry_over"
    sentence = "This entry has ended."


def enter(w: WriteSet, entry_id: str, operator: Principal, reason: str, *, now_ms: int, ends_at_ms: int) -> None:
    """Let an operator into the organization of `w`, which is begun `with_platform`: both logs say so.

    Raises:
        Denied: only a user of the platform can be an operator, and the platform itself is entered by nobody.
        Invalid: there is no reason, or the end is not within `ENTRY_MAX_MS` from now.
    """
    if operator.org != PLATFORM or w.org == PLATFORM or w.platform is None:
        raise Denied("Only an operator of the platform enters an organization, and another one than the platform.")
    if not reason.strip():
        raise Invalid("An entry has a reason.")
    if not now_ms < ends_at_ms <= now_ms + ENTRY_MAX_MS:
        raise Invalid("An entry ends within 30 minutes.")
    w.write(ENTER, id=entry_id, operator_id=operator.id, reason=reason, made_at=now_ms, ends_at=ends_at_ms)
    event = OperatorEntered(entry_id, w.org, operator.id, reason, ends_at_ms)
    w.record(event)
    w.platform.record(event)


async def scope_of(reads: Reads, entry_id: str, operator: Principal, now_ms: int) -> TenantScope:
    """The scope of an operator who is in the organization now.

    Raises:
        NotFound: there is no such entry.
        EntryOver: it has ended.
        Denied: it is another operator's.
    """
    entry = await reads.one(ENTRY, id=entry_id)
    if entry.operator_id != operator.id:
        raise Denied("This entry is another operator's.")
    if not entry.open(now_ms):
        raise EntryOver
    return scopes.of_entry(operator, entry.org)


async def end(w: WriteSet, reads: Reads, entry_id: str, now_ms: int, *, vetoed: bool) -> None:
    """End an entry: the operator leaves, or the organization vetoes it. Everything of it is dead from this revision on.

    Raises:
        NotFound: there is no such entry.
        EntryOver: it has ended.
    """
    entry = await reads.one(ENTRY, id=entry_id)
    w.write(END_ENTRY, EntryOver, id=entry_id, ended_at=now_ms)
    w.cut(entry_id)
    event = OperatorLeft(entry_id, w.org, entry.operator_id, vetoed)
    w.record(event)
    if w.platform is not None:
        w.platform.record(event)
