"""Applications: OAuth clients. One of the platform serves every organization, one of an organization that alone."""

import enum
from collections.abc import AsyncIterator

import msgspec

from tenantry.access import system
from tenantry.core.errors import Invalid, NotFound
from tenantry.journal import Event, Reads, Target, WriteSet
from tenantry.organizations import doors, parties
from tenantry.organizations.addresses import redirect_uri
from tenantry.organizations.doors import DoorKind
from tenantry.organizations.part import PAGE_ARGS, PAGE_MAX, Part, fold, titled, unfold
from tenantry.organizations.parties import PartyKind
from tenantry.store import Kind, Read, Statement, Table

APPLICATIONS = Table("applications", Kind.STATE)
REDIRECTS_MAX = 20


class ApplicationKind(enum.StrEnum):
    """Whose an application is."""

    FIRST_PARTY = "first_party"
    THIRD_PARTY = "third_party"
    MCP = "mcp"


class Application(msgspec.Struct, frozen=True):
    """An OAuth client; its id is its client id."""

    org: str
    id: str
    status: str
    name: str
    kind: str
    redirect_uris: tuple[str, ...]
    made_at_ms: int

    def path(self) -> tuple[str, ...]:
        """The branches above what it was allowed; for one of the platform they belong to `platform_path`."""
        return (self.org, self.id)


class _ApplicationRow(msgspec.Struct, frozen=True):
    org: str
    id: str
    status: str
    name: str
    kind: str
    redirect_uris_json: str
    made_at_ms: int


ADD_APPLICATION = Statement(
    "organizations_add_application",
    APPLICATIONS,
    "INSERT INTO applications (org, id, name, kind, redirect_uris_json) VALUES (:org, :id, :name, :kind, :redirect_uris_json) "
    "ON CONFLICT DO NOTHING",
    {"id": str, "name": str, "kind": str, "redirect_uris_json": str},
)
SET_APPLICATION = Statement(
    "organizations_set_application",
    APPLICATIONS,
    "UPDATE applications SET name = :name, redirect_uris_json = :redirect_uris_json WHERE org = :org AND id = :id",
    {"id": str, "name": str, "redirect_uris_json": str},
)
DELETE_APPLICATION = Statement(
    "organizations_delete_application",
    APPLICATIONS,
    "DELETE FROM applications WHERE org = :org AND id = :id",
    {"id": str},
)
_FROM = (
    "SELECT a.org, a.id, p.status, a.name, a.kind, a.redirect_uris_json, p.made_at FROM applications a "
    "JOIN parties p ON p.org = a.org AND p.id = a.id WHERE a.org = :org"
)
APPLICATION = Read("organizations_application", _ApplicationRow, f"{_FROM} AND a.id = :id", {"id": str})
APPLICATIONS_PAGE = Read(
    "organizations_applications", _ApplicationRow, f"{_FROM} AND a.id > :after ORDER BY a.id LIMIT :most", PAGE_ARGS
)

PART = Part(
    tables=(APPLICATIONS,),
    statements=(ADD_APPLICATION, SET_APPLICATION, DELETE_APPLICATION),
    reads=(APPLICATION, APPLICATIONS_PAGE),
    ddl="""
CREATE TABLE applications (
    org text NOT NULL, id text NOT NULL, name text NOT NULL, kind text NOT NULL, redirect_uris_json text NOT NULL,
    PRIMARY KEY (org, id), FOREIGN KEY (org, id) REFERENCES parties (org, id)) {strict};
""",
)


class ApplicationAdded(Event, tag="application.added", frozen=True):
    """An OAuth client was registered."""

    application: Target
    name: str
    kind: str
    redirect_uris: list[str]


class ApplicationChanged(Event, tag="application.changed", frozen=True):
    """An OAuth client's name or redirect URIs are others; these are the new ones."""

    application: Target
    name: str
    redirect_uris: list[str]


class NewApplication(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An application to register.

    Raises:
        Invalid: a redirect URI is none, or there are too many.
    """

    name: str
    kind: ApplicationKind
    redirect_uris: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        titled(self.name)
        check_redirects(self.redirect_uris)


def check_redirects(redirect_uris: tuple[str, ...]) -> None:
    """Refuse what is no redirect URI, and too many of them (`Invalid`)."""
    if len(redirect_uris) > REDIRECTS_MAX:
        raise Invalid(f"An application has at most {REDIRECTS_MAX} redirect URIs.")
    for uri in redirect_uris:
        redirect_uri(uri)


async def application(reads: Reads, application_id: str) -> Application:
    """An application of the organization.

    Raises:
        NotFound: there is no such one.
    """
    return unfold(await reads.one(APPLICATION, id=application_id), Application)


async def page(reads: Reads, after: str, most: int) -> list[Application]:
    """The organization's applications in the order of their ids, after one of them."""
    return [unfold(row, Application) for row in await reads.all(APPLICATIONS_PAGE, after=after, most=most)]


async def all_of(reads: Reads) -> AsyncIterator[Application]:
    """Every application of the organization, in the order of their ids."""
    after = ""
    while rows := await reads.all(APPLICATIONS_PAGE, after=after, most=PAGE_MAX):
        for row in rows:
            yield unfold(row, Application)
        after = rows[-1].id


def add(w: WriteSet, application_id: str, new: NewApplication, now_ms: int) -> None:
    """Register an application."""
    parties.add(w, PartyKind.APPLICATION, application_id, now_ms)
    doors.open_door(w, DoorKind.CLIENT, application_id, application_id)
    system.relate(w, f"application:{application_id}", "organization", f"organization:{w.org}")
    w.write(
        ADD_APPLICATION,
        id=application_id,
        name=new.name,
        kind=new.kind.value,
        redirect_uris_json=fold(new.redirect_uris),
    )
    w.record(ApplicationAdded(application_id, new.name, new.kind.value, [*new.redirect_uris]))


async def change(w: WriteSet, reads: Reads, application_id: str, name: str, redirect_uris: tuple[str, ...]) -> None:
    """Give an application another name and other redirect URIs."""
    check_redirects(redirect_uris)
    known = await parties.party(reads, PartyKind.APPLICATION, application_id)
    parties.change(w, known, ends_at_ms=None)
    w.write(SET_APPLICATION, NotFound, id=application_id, name=titled(name), redirect_uris_json=fold(redirect_uris))
    w.record(ApplicationChanged(application_id, name, [*redirect_uris]))


async def remove(w: WriteSet, reads: Reads, application_id: str) -> None:
    """Remove an application for good: whatever anybody allowed it died."""
    await parties.remove(w, reads, PartyKind.APPLICATION, application_id)
    doors.close_doors(w, application_id)
    system.unrelate(w, f"application:{application_id}", "organization", f"organization:{w.org}")
    w.write(DELETE_APPLICATION, NotFound, id=application_id)
