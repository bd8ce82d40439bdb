"""Resources: APIs and MCP servers that accept tokens, named by their resource indicator (RFC 8707), with the scopes they know.

A resource that follows the feed of cuts learns within a second what has died; only to such a one a service may hold a token for an hour.
"""

import re
from collections.abc import AsyncIterator

import msgspec

from tenantry.core.errors import AlreadyDone, Invalid, NotFound
from tenantry.journal import Event, Reads, Target, Text, WriteSet
from tenantry.organizations import parties
from tenantry.organizations.addresses import indicator
from tenantry.organizations.part import PAGE_ARGS, PAGE_MAX, Part, fold, titled
from tenantry.organizations.parties import PartyKind
from tenantry.store import Kind, Read, Statement, Table

RESOURCES = Table("resources", Kind.STATE)
SCOPES_MAX = 100
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}\Z")
"""RFC 6749, 3.3."""


class Resource(msgspec.Struct, frozen=True):
    """A protected resource of the organization."""

    org: str
    id: str
    status: str
    name: str
    indicator: str
    scopes: tuple[str, ...]
    follows_feed: bool
    made_at_ms: int

    def path(self) -> tuple[str, ...]:
        """The branches above tokens that are made for it."""
        return (self.org, self.id)


class _ResourceRow(msgspec.Struct, frozen=True):
    org: str
    id: str
    status: str
    name: str
    indicator: str
    scopes_json: str
    follows_feed: int
    made_at_ms: int


ADD_RESOURCE = Statement(
    "organizations_add_resource",
    RESOURCES,
    "INSERT INTO resources (org, id, name, indicator, scopes_json, follows_feed) "
    "VALUES (:org, :id, :name, :indicator, :scopes_json, :follows_feed) ON CONFLICT DO NOTHING",
    {"id": str, "name": str, "indicator": str, "scopes_json": str, "follows_feed": int},
)
SET_RESOURCE = Statement(
    "organizations_set_resource",
    RESOURCES,
    "UPDATE resources SET name = :name, scopes_json = :scopes_json, follows_feed = :follows_feed WHERE org = :org AND id = :id",
    {"id": str, "name": str, "scopes_json": str, "follows_feed": int},
)
DELETE_RESOURCE = Statement(
    "organizations_delete_resource", RESOURCES, "DELETE FROM resources WHERE org = :org AND id = :id", {"id": str}
)
_FROM = (
    "SELECT r.org, r.id, p.status, r.name, r.indicator, r.scopes_json, r.follows_feed, p.made_at FROM resources r "
    "JOIN parties p ON p.org = r.org AND p.id = r.id WHERE r.org = :org"
)
RESOURCE = Read("organizations_resource", _ResourceRow, f"{_FROM} AND r.id = :id", {"id": str})
RESOURCE_OF_INDICATOR = Read(
    "organizations_resource_of_indicator", _ResourceRow, f"{_FROM} AND r.indicator = :indicator", {"indicator": str}
)
RESOURCES_PAGE = Read(
    "organizations_resources", _ResourceRow, f"{_FROM} AND r.id > :after ORDER BY r.id LIMIT :most", PAGE_ARGS
)

PART = Part(
    tables=(RESOURCES,),
    statements=(ADD_RESOURCE, SET_RESOURCE, DELETE_RESOURCE),
    reads=(RESOURCE, RESOURCE_OF_INDICATOR, RESOURCES_PAGE),
    ddl="""
CREATE TABLE resources (
    org text NOT NULL, id text NOT NULL, name text NOT NULL, indicator text NOT NULL, scopes_json text NOT NULL,
    follows_feed {int} NOT NULL,
    PRIMARY KEY (org, id), UNIQUE (org, indicator), FOREIGN KEY (org, id) REFERENCES parties (org, id)) {strict};
""",
)


class ResourceAdded(Event, tag="resource.added", frozen=True):
    """A protected resource was registered."""

    resource: Target
    name: str
    indicator: Text
    scopes: list[str]
    follows_feed: bool


class ResourceChanged(Event, tag="resource.changed", frozen=True):
    """A resource's name, scopes or following are others; these are the new ones."""

    resource: Target
    name: str
    scopes: list[str]
    follows_feed: bool


class IndicatorTaken(AlreadyDone):
    """Another resource of the organization has the indicator."""

    code = "indicator_taken"
    sentence = "Another resource has this indicator."


class NewResource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A resource to register.

    Raises:
        Invalid: its indicator or a scope is none, or there are too many scopes.
    """

    name: str
    indicator: str
    scopes: tuple[str, ...] = ()
    follows_feed: bool = False

    def __post_init__(self) -> None:
        titled(self.name)
        indicator(self.indicator)
        check_scopes(self.scopes)


def check_scopes(scopes: tuple[str, ...]) -> None:
    """Refuse what is no scope (RFC 6749, 3.3), is there twice, or is too much (`Invalid`)."""
    if len(scopes) > SCOPES_MAX or len(set(scopes)) < len(scopes) or not all(map(_SCOPE.match, scopes)):
        raise Invalid(f"A resource has at most {SCOPES_MAX} different scopes, without spaces and quotes.")


async def resource(reads: Reads, resource_id: str) -> Resource:
    """A resource of the organization.

    Raises:
        NotFound: there is no such one.
    """
    return _of_row(await reads.one(RESOURCE, id=resource_id))


async def page(reads: Reads, after: str, most: int) -> list[Resource]:
    """The organization's resources in the order of their ids, after one of them."""
    return [_of_row(row) for row in await reads.all(RESOURCES_PAGE, after=after, most=most)]


async def of_indicator(reads: Reads, text: str) -> Resource:
    """The resource that an indicator names.

    Raises:
        NotFound: there is no such one.
    """
    return _of_row(await reads.one(RESOURCE_OF_INDICATOR, indicator=text))


def _of_row(row: _ResourceRow) -> Resource:
    """A resource as its row says it."""
    scopes = msgspec.json.decode(row.scopes_json, type=tuple[str, ...])
    return Resource(
        row.org, row.id, row.status, row.name, row.indicator, scopes, bool(row.follows_feed), row.made_at_ms
    )


async def all_of(reads: Reads) -> AsyncIterator[Resource]:
    """Every resource of the organization, in the order of their ids."""
    after = ""
    while rows := await reads.all(RESOURCES_PAGE, after=after, most=PAGE_MAX):
        for row in rows:
            yield _of_row(row)
        after = rows[-1].id


def add(w: WriteSet, resource_id: str, new: NewResource, now_ms: int) -> None:
    """Register a resource. `IndicatorTaken`, when the set is sent: the organization has one of this indicator."""
    parties.add(w, PartyKind.RESOURCE, resource_id, now_ms)
    scopes, follows = fold(new.scopes), int(new.follows_feed)
    fields = {"name": new.name, "scopes_json": scopes, "follows_feed": follows}
    w.write(ADD_RESOURCE, IndicatorTaken, id=resource_id, indicator=new.indicator, **fields)
    w.record(ResourceAdded(resource_id, new.name, new.indicator, [*new.scopes], new.follows_feed))


async def change(
    w: WriteSet, reads: Reads, resource_id: str, name: str, scopes: tuple[str, ...], *, follows_feed: bool
) -> None:
    """Give a resource another name, other scopes, or another way to hear of cuts."""
    check_scopes(scopes)
    known = await parties.party(reads, PartyKind.RESOURCE, resource_id)
    parties.change(w, known, ends_at_ms=None)
    fields = {"name": titled(name), "scopes_json": fold(scopes), "follows_feed": int(follows_feed)}
    w.write(SET_RESOURCE, NotFound, id=resource_id, **fields)
    w.record(ResourceChanged(resource_id, name, [*scopes], follows_feed))


async def remove(w: WriteSet, reads: Reads, resource_id: str) -> None:
    """Remove a resource for good: no token for it is made any more. Those that were made are its own to refuse, by their audience.

    Raises, when the set is sent:
        Conflict: an MCP server is this resource; remove that.
    """
    await parties.remove(w, reads, PartyKind.RESOURCE, resource_id)
    w.write(DELETE_RESOURCE, NotFound, id=resource_id)
