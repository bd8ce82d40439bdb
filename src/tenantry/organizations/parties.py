"""Whatever an organization keeps a record of that has a life: users, groups, blueprints, agents, services, applications, ...

Each has one row here, which says whether it is active, and one in the table of its kind, which says the rest. So there is one place that
ends access, one that answers whether somebody is active, and one that references point to: a row of another organization cannot be
named, by the statement and by the foreign key. A removed party stays here as its id alone: no id ever comes back.

Ending access cuts the party's branch in the same write set; whoever was below it is dead at that revision, also when it is active again.
"""

import enum

import msgspec

from tenantry.access.schema import TUPLES
from tenantry.access.system import SYSTEM_STORE, LastOwner
from tenantry.core.errors import Conflict, Invalid, NotFound
from tenantry.journal import Event, Reads, Target, Text, WriteSet
from tenantry.organizations.part import Part
from tenantry.store import Dialects, Kind, Read, Statement, Table

PARTIES = Table("parties", Kind.STATE)


class PartyKind(enum.StrEnum):
    """What a party is."""

    USER = "user"
    GROUP = "group"
    BLUEPRINT = "blueprint"
    AGENT = "agent"
    VISITING_AGENT = "visiting_agent"
    SERVICE = "service"
    MCP_SERVER = "mcp_server"
    JOB = "job"
    APPLICATION = "application"
    RESOURCE = "resource"


ACTIVE = "active"
DEACTIVATED = "deactivated"
REMOVED = "removed"


class Party(msgspec.Struct, frozen=True):
    """The life of a party. `ends_at_ms` is its expiry, if it has one; `version` counts its changes."""

    id: str
    kind: str
    status: str
    made_at_ms: int
    ends_at_ms: int | None
    version: int


class _Owner(msgspec.Struct, frozen=True):
    subject: str


ADD_PARTY = Statement(
    "organizations_add_party",
    PARTIES,
    "INSERT INTO parties (org, id, kind, status, made_at, ends_at, version) "
    "VALUES (:org, :id, :kind, 'active', :made_at, :ends_at, 1) ON CONFLICT DO NOTHING",
    {"id": str, "kind": str, "made_at": int, "ends_at": int},
)
SET_STATUS = Statement(
    "organizations_set_status",
    PARTIES,
    "UPDATE parties SET status = :status, version = version + 1 WHERE org = :org AND id = :id AND version = :version",
    {"id": str, "status": str, "version": int},
)
BUMP = Statement(
    "organizations_bump",
    PARTIES,
    "UPDATE parties SET ends_at = :ends_at, version = version + 1 WHERE org = :org AND id = :id AND version = :version",
    {"id": str, "ends_at": int, "version": int},
)
REFER = Statement(
    "organizations_refer",
    PARTIES,
    Dialects(
        sqlite="SELECT 1 FROM parties WHERE org = :org AND id = :id AND status <> 'removed' "
        "AND kind IN (SELECT value FROM json_each(:kinds))",
        postgres="SELECT 1 FROM parties WHERE org = :org AND id = :id AND status <> 'removed' AND kind = ANY(:kinds)",
    ),
    {"id": str, "kinds": list},
)
REFER_ACTIVE = Statement(
    "organizations_refer_active",
    PARTIES,
    "SELECT 1 FROM parties WHERE org = :org AND id = :id AND status = 'active'",
    {"id": str},
)
_OWNERS = (
    "FROM access_tuples t WHERE t.org = :org AND t.store = :store AND t.type = 'organization' AND t.id = :org "
    "AND t.relation = 'owner'"
)
KEEP_ACTIVE_OWNER = Statement(
    "organizations_keep_active_owner",
    TUPLES,
    f"SELECT 1 WHERE EXISTS (SELECT 1 {_OWNERS} AND EXISTS (SELECT 1 FROM parties p "  # noqa: S608
    "WHERE p.org = t.org AND t.subject = p.kind || ':' || p.id AND p.status = 'active' AND p.ends_at IS NULL))",
    {"store": str},
)
OWNS = Read(
    "organizations_owns",
    _Owner,
    f"SELECT t.subject {_OWNERS} AND t.subject = :subject",
    {"store": str, "subject": str},
)
PARTY = Read(
    "organizations_party",
    Party,
    "SELECT id, kind, status, made_at, ends_at, version FROM parties WHERE org = :org AND id = :id",
    {"id": str},
)

PART = Part(
    tables=(PARTIES,),
    statements=(ADD_PARTY, SET_STATUS, BUMP, REFER, REFER_ACTIVE, KEEP_ACTIVE_OWNER),
    reads=(PARTY, OWNS),
    ddl="""
CREATE TABLE parties (
    org text NOT NULL, id text NOT NULL, kind text NOT NULL, status text NOT NULL, made_at {int} NOT NULL, ends_at {int},
    version {int} NOT NULL, PRIMARY KEY (org, id)) {strict};
""",
)


class PartyDeactivated(Event, tag="party.deactivated", frozen=True):
    """A user, agent, service or other party lost its access: everything below it died."""

    party: Target
    kind: str
    reason: Text


class PartyReactivated(Event, tag="party.reactivated", frozen=True):
    """A deactivated party may act again; what died before stays dead."""

    party: Target
    kind: str


class PartyRemoved(Event, tag="party.removed", frozen=True):
    """A party was removed for good: everything below it died, and its id never comes back."""

    party: Target
    kind: str


class NotActive(Invalid):
    """The party is not active, so it cannot be used for this."""

    code = "not_active"
    sentence = "This is not active."


async def party(reads: Reads, kind: PartyKind, party_id: str) -> Party:
    """The life of a party of this kind.

    Raises:
        NotFound: this organization has none of this id and kind, or no longer.
    """
    found = await reads.one(PARTY, id=party_id)
    if found.kind != kind or found.status == REMOVED:
        raise NotFound
    return found


def add(w: WriteSet, kind: PartyKind, party_id: str, made_at_ms: int, ends_at_ms: int | None = None) -> None:
    """Begin the life of a party; its kind's own statement and event follow in the same set."""
    w.write(ADD_PARTY, Conflict, id=party_id, kind=kind.value, made_at=made_at_ms, ends_at=ends_at_ms)


def change(w: WriteSet, known: Party, *, ends_at_ms: int | None) -> None:
    """Note that the party changes from what was read of it (`Conflict` if it is not that any more)."""
    w.write(BUMP, Conflict, id=known.id, ends_at=ends_at_ms, version=known.version)


def refer(w: WriteSet, party_id: str, *kinds: PartyKind) -> None:
    """What `w` writes names a party of one of these kinds: `NotFound` if this organization has no such one."""
    w.write(REFER, NotFound, id=party_id, kinds=[kind.value for kind in kinds])


def refer_active(w: WriteSet, party_id: str, *kinds: PartyKind) -> None:
    """As `refer`, and it must be active (`NotActive`)."""
    refer(w, party_id, *kinds)
    w.write(REFER_ACTIVE, NotActive, id=party_id)


def check_end(ends_at_ms: int | None, now_ms: int) -> None:
    """Refuse an expiry that is not in the future (`Invalid`)."""
    if ends_at_ms is not None and ends_at_ms <= now_ms:
        raise Invalid("The end must be in the future.")


def set_status(w: WriteSet, known: Party, status: str) -> None:
    """Change the status of a party as it was read; the event that says why is the caller's."""
    w.write(SET_STATUS, Conflict, id=known.id, status=status, version=known.version)


async def deactivate(w: WriteSet, reads: Reads, kind: PartyKind, party_id: str, reason: str = "") -> None:
    """End a party's access; doing it again changes nothing. Everything below it is refused from this revision on.

    Raises:
        LastOwner: it is the organization's last active owner.
    """
    known = await party(reads, kind, party_id)
    if known.status == DEACTIVATED:
        return
    set_status(w, known, DEACTIVATED)
    await _keep_owner(w, reads, known)
    w.cut(party_id)
    w.record(PartyDeactivated(party_id, kind.value, reason))


async def reactivate(w: WriteSet, reads: Reads, kind: PartyKind, party_id: str) -> None:
    """Let a deactivated party act again; doing it again changes nothing."""
    known = await party(reads, kind, party_id)
    if known.status != DEACTIVATED:
        return
    set_status(w, known, ACTIVE)
    w.record(PartyReactivated(party_id, kind.value))


async def remove(w: WriteSet, reads: Reads, kind: PartyKind, party_id: str) -> None:
    """Remove a party for good. Its kind's own row is deleted by the caller in the same set.

    Raises:
        LastOwner: it is the organization's last active owner.
    """
    known = await party(reads, kind, party_id)
    set_status(w, known, REMOVED)
    await _keep_owner(w, reads, known)
    w.cut(party_id)
    w.record(PartyRemoved(party_id, kind.value))


def keep_active_owner(w: WriteSet) -> None:
    """Refuse what `w` does if it leaves the organization no active owner, or only some that expire: nobody could repair anything."""
    # Under the organization's lock: two who remove each other must not both find the other still there.
    w.write_settled(KEEP_ACTIVE_OWNER, LastOwner, store=SYSTEM_STORE)


async def _keep_owner(w: WriteSet, reads: Reads, leaving: Party) -> None:
    if await reads.all(OWNS, store=SYSTEM_STORE, subject=f"{leaving.kind}:{leaving.id}"):
        keep_active_owner(w)
