"""The organization itself: the tenant. Its row lies in its own scope; the platform lists all of them through one survey."""

import msgspec

from tenantry.core.errors import AlreadyDone, Conflict, NoOrganization
from tenantry.core.text import named
from tenantry.journal import Event, Reads, Target, Text, WriteSet
from tenantry.organizations.part import Part
from tenantry.store import Engine, Kind, Read, Statement, Survey, Table

ORGANIZATIONS = Table("organizations", Kind.STATE, worker="SELECT", worker_sees_all=True)

ACTIVE = "active"
SUSPENDED = "suspended"
DELETED = "deleted"


class Organization(msgspec.Struct, frozen=True):
    """A tenant. A deleted one keeps its id and its log, and nothing else."""

    id: str
    name: str
    status: str
    made_at_ms: int
    version: int


ADD_ORGANIZATION = Statement(
    "organizations_add",
    ORGANIZATIONS,
    "INSERT INTO organizations (org, name, status, made_at, version) VALUES (:org, :name, 'active', :made_at, 1) "
    "ON CONFLICT DO NOTHING",
    {"name": str, "made_at": int},
)
SET_ORGANIZATION = Statement(
    "organizations_set",
    ORGANIZATIONS,
    "UPDATE organizations SET name = :name, status = :status, version = version + 1 "
    "WHERE org = :org AND version = :version AND status <> 'deleted'",
    {"name": str, "status": str, "version": int},
)
ORGANIZATION = Read(
    "organizations_one",
    Organization,
    "SELECT org, name, status, made_at, version FROM organizations WHERE org = :org",
)
LISTED = Survey(
    "organizations_listed",
    "SELECT org, name, status, made_at, version FROM organizations WHERE org > :after ORDER BY org LIMIT :most",
    {"after": str, "most": int},
    role="worker",
)

PART = Part(
    tables=(ORGANIZATIONS,),
    statements=(ADD_ORGANIZATION, SET_ORGANIZATION),
    reads=(ORGANIZATION,),
    ddl="""
CREATE TABLE organizations (
    org text NOT NULL PRIMARY KEY, name text NOT NULL, status text NOT NULL, made_at {int} NOT NULL, version {int} NOT NULL) {strict};
""",
)


class OrganizationCreated(Event, tag="organization.created", frozen=True):
    """An organization began."""

    organization: Target
    name: str


class OrganizationRenamed(Event, tag="organization.renamed", frozen=True):
    """An organization got another name."""

    organization: Target
    name: str


class OrganizationSuspended(Event, tag="organization.suspended", frozen=True):
    """An organization lost all access until it is resumed: everything in it died."""

    organization: Target
    reason: Text


class OrganizationResumed(Event, tag="organization.resumed", frozen=True):
    """A suspended organization may be used again; what died before stays dead."""

    organization: Target


class OrganizationDeleted(Event, tag="organization.deleted", frozen=True):
    """An organization was deleted: everything in it died, its keys are destroyed, its personal data is being erased."""

    organization: Target
    reason: Text


class OrganizationGone(AlreadyDone):
    """The organization was deleted."""

    code = "organization_deleted"
    sentence = "This organization has been deleted."


async def organization(reads: Reads) -> Organization:
    """The organization of a scope.

    Raises:
        NoOrganization: there is none of this id.
    """
    return await reads.one(ORGANIZATION, NoOrganization)


async def listed(engine: Engine, after: str, most: int) -> list[Organization]:
    """Organizations in the order of their ids, after one of them; for the platform alone."""
    return [Organization(*row) for row in await engine.survey(LISTED, after=after, most=most)]


def create(w: WriteSet, name: str, now_ms: int) -> None:
    """Begin an organization and its log, and tell the platform's. `w` is begun `with_platform`; keys and first owner join the same set.

    Raises:
        Invalid: this cannot be a name.
    """
    w.open_log()
    w.write(ADD_ORGANIZATION, Conflict, name=named(name), made_at=now_ms)
    told(w, OrganizationCreated(w.org, name))


async def rename(w: WriteSet, reads: Reads, name: str) -> None:
    """Give the organization another name."""
    known = await kept(reads)
    w.write(SET_ORGANIZATION, Conflict, name=named(name), status=known.status, version=known.version)
    w.record(OrganizationRenamed(w.org, name))


async def suspend(w: WriteSet, reads: Reads, reason: str) -> None:
    """End all access to the organization and in it until it is resumed; again changes nothing."""
    known = await kept(reads)
    if known.status == SUSPENDED:
        return
    w.write(SET_ORGANIZATION, Conflict, name=known.name, status=SUSPENDED, version=known.version)
    w.cut(w.org)
    told(w, OrganizationSuspended(w.org, reason))


async def resume(w: WriteSet, reads: Reads) -> None:
    """Let a suspended organization be used again."""
    known = await kept(reads)
    if known.status == ACTIVE:
        return
    w.write(SET_ORGANIZATION, Conflict, name=known.name, status=ACTIVE, version=known.version)
    told(w, OrganizationResumed(w.org))


async def kept(reads: Reads) -> Organization:
    """The organization of a scope, unless it was deleted (`OrganizationGone`)."""
    known = await organization(reads)
    if known.status == DELETED:
        raise OrganizationGone
    return known


def told(w: WriteSet, event: Event) -> None:
    """The same in both logs: what the platform does to a tenant, the tenant sees (invariant 12)."""
    w.record(event)
    if w.platform is not None:
        w.platform.record(event)
