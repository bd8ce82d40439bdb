"""Services: workloads of the vendor or of a customer, in one organization.

They prove themselves by a registered key, last resort a secret (`keys`).
"""

import msgspec

from tenantry.core.errors import NotFound
from tenantry.core.text import named
from tenantry.journal import Event, Reads, Target, WriteSet
from tenantry.organizations import doors, groups, parties
from tenantry.organizations.doors import DoorKind
from tenantry.organizations.part import PAGE_ARGS, Part
from tenantry.organizations.parties import PartyKind
from tenantry.store import Kind, Read, Statement, Table

SERVICES = Table("services", Kind.STATE)


class Service(msgspec.Struct, frozen=True):
    """A workload of the organization."""

    org: str
    id: str
    status: str
    name: str
    made_at_ms: int
    ends_at_ms: int | None

    def path(self) -> tuple[str, ...]:
        """The branches that its credentials descend from."""
        return (self.org, self.id)


ADD_SERVICE = Statement(
    "organizations_add_service",
    SERVICES,
    "INSERT INTO services (org, id, name) VALUES (:org, :id, :name) ON CONFLICT DO NOTHING",
    {"id": str, "name": str},
)
RENAME_SERVICE = Statement(
    "organizations_rename_service",
    SERVICES,
    "UPDATE services SET name = :name WHERE org = :org AND id = :id",
    {"id": str, "name": str},
)
DELETE_SERVICE = Statement(
    "organizations_delete_service", SERVICES, "DELETE FROM services WHERE org = :org AND id = :id", {"id": str}
)
_FROM = (
    "SELECT s.org, s.id, p.status, s.name, p.made_at, p.ends_at FROM services s "
    "JOIN parties p ON p.org = s.org AND p.id = s.id WHERE s.org = :org"
)
SERVICE = Read("organizations_service", Service, f"{_FROM} AND s.id = :id", {"id": str})
SERVICES_PAGE = Read(
    "organizations_services", Service, f"{_FROM} AND s.id > :after ORDER BY s.id LIMIT :most", PAGE_ARGS
)

PART = Part(
    tables=(SERVICES,),
    statements=(ADD_SERVICE, RENAME_SERVICE, DELETE_SERVICE),
    reads=(SERVICE, SERVICES_PAGE),
    ddl="""
CREATE TABLE services (
    org text NOT NULL, id text NOT NULL, name text NOT NULL, PRIMARY KEY (org, id),
    FOREIGN KEY (org, id) REFERENCES parties (org, id)) {strict};
""",
)


class ServiceAdded(Event, tag="service.added", frozen=True):
    """A workload was registered."""

    service: Target
    name: str
    ends_at_ms: int | None


class ServiceRenamed(Event, tag="service.renamed", frozen=True):
    """A workload got another name."""

    service: Target
    name: str


def add(w: WriteSet, service_id: str, name: str, now_ms: int, ends_at_ms: int | None = None) -> None:
    """Register a workload. `Invalid`: its end is not in the future."""
    parties.check_end(ends_at_ms, now_ms)
    parties.add(w, PartyKind.SERVICE, service_id, now_ms, ends_at_ms)
    doors.open_door(w, DoorKind.CLIENT, service_id, service_id)
    w.write(ADD_SERVICE, id=service_id, name=named(name))
    w.record(ServiceAdded(service_id, name, ends_at_ms))


async def rename(w: WriteSet, reads: Reads, service_id: str, name: str) -> None:
    """Give a workload another name."""
    known = await parties.party(reads, PartyKind.SERVICE, service_id)
    parties.change(w, known, ends_at_ms=known.ends_at_ms)
    w.write(RENAME_SERVICE, NotFound, id=service_id, name=named(name))
    w.record(ServiceRenamed(service_id, name))


async def remove(w: WriteSet, reads: Reads, service_id: str) -> None:
    """Remove a workload for good."""
    await parties.remove(w, reads, PartyKind.SERVICE, service_id)
    doors.close_doors(w, service_id)
    await groups.leave_all(w, reads, service_id)
    w.write(DELETE_SERVICE, NotFound, id=service_id)
