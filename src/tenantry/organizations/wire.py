"""What the routes of this room have in common: the types of ids and texts, pages, and small bodies."""

from typing import Annotated, Generic, Protocol, TypeVar

import msgspec
from msgspec import Meta

from tenantry.core.limits import NAME_MAX_CHARACTERS, TEXT_MAX_CHARACTERS
from tenantry.organizations.part import PAGE_MAX

ULID = "[0-7][0-9A-HJKMNP-TV-Z]{25}"


def _like(prefix: str) -> Meta:
    return Meta(pattern=f"^{prefix}_{ULID}$", max_length=len(prefix) + 27)


OrganizationId = Annotated[str, _like("org")]
DomainId = Annotated[str, _like("domain")]
UserId = Annotated[str, _like("user")]
GroupId = Annotated[str, _like("group")]
InvitationId = Annotated[str, _like("invitation")]
BlueprintId = Annotated[str, _like("blueprint")]
AgentId = Annotated[str, _like("agent")]
ServiceId = Annotated[str, _like("service")]
McpServerId = Annotated[str, _like("mcp")]
JobId = Annotated[str, _like("job")]
ApplicationId = Annotated[str, _like("app")]
ResourceId = Annotated[str, _like("resource")]
KeyId = Annotated[str, _like("key")]
EntryId = Annotated[str, _like("entry")]
WorkloadId = Annotated[str, Meta(pattern=f"^(service|mcp|job)_{ULID}$", max_length=34)]
AnyId = Annotated[str, Meta(pattern=f"^[a-z]{{2,16}}_{ULID}$", max_length=43)]
"""Of whatever kind: what it names is looked up."""

Name = Annotated[str, Meta(min_length=1, max_length=NAME_MAX_CHARACTERS)]
Reason = Annotated[str, Meta(max_length=TEXT_MAX_CHARACTERS)]
Said = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX_CHARACTERS)]
Time = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""Milliseconds since 1970-01-01 UTC."""


class _Item(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=_Item)


class Pages(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which page of a list: the rows after the id that the page before gave as `next`."""

    after: Annotated[str, Meta(pattern=f"^([a-z]{{2,16}}_{ULID})?$", max_length=43)] = ""
    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = 50

    @property
    def asked(self) -> dict[str, str | int]:
        """What a read is asked for: one row more than the page has, which says whether there is a next one."""
        return {"after": self.after, "most": self.limit + 1}

    def page(self, found: list[T]) -> "Page[T]":
        """The page of the rows that were found."""
        items = found[: self.limit]
        return Page(items, items[-1].id if len(found) > self.limit else None)


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A page of a list, in the order of ids; `next` leads to the one after it, `null` at the end."""

    items: list[T]
    next: str | None


class Because(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why something is done, for the log."""

    reason: Reason = ""


class Naming(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name."""

    name: Name
