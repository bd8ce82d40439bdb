"""Routes between applications and stores: a store of the organization in an application, and who has a role on one application or store."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tenantry.access.permissions import MANAGE_STORES
from tenantry.access.stores import make_store_in, newest_model, store_of
from tenantry.core import scopes
from tenantry.core.clock import Clock
from tenantry.core.errors import NotFound
from tenantry.core.ids import IdSource
from tenantry.journal import Reads
from tenantry.organizations import applications, parties, roles
from tenantry.organizations.applications import Application
from tenantry.organizations.permissions import MANAGE_ROLES
from tenantry.organizations.wire import AnyId, ApplicationId, Name
from tenantry.web import Call, Route, route

StoreId = Annotated[str, Meta(pattern="^store_[0-7][0-9A-HJKMNP-TV-Z]{25}(?!\n)$", max_length=32)]
ObjectRole = Literal["manager", "writer", "checker"]
"""What somebody may be given on an application or a store: to manage it, to write its tuples, or to ask."""


class NewStore(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A store to make in an application."""

    name: Name


class StoreMade(msgspec.Struct, frozen=True):
    """A store of the organization in an application, decided by this version of its model; empty while it has none."""

    id: str
    application_id: str
    model: str
    name: str


def store_routes(ids: IdSource, clock: Clock) -> tuple[Route, ...]:
    """The routes of this file."""

    @route("POST", "/v1/applications/{application_id}/stores", MANAGE_STORES, status=201)
    async def create_store_in_application(call: Call, application_id: ApplicationId, body: NewStore) -> StoreMade:
        """Make a store of the organization in an application: one of its own, or one that the platform offers to all."""
        known, owner = await _offered(call, application_id)
        newest = await newest_model(owner, known.id)
        async with call.begin() as w:
            made = make_store_in(w, ids, known.org, known.id, newest.id if newest else "", body.name, clock.now_ms())
        return StoreMade(made.id, known.id, made.model, made.name)

    return (create_store_in_application, *_application_role_routes(), *_store_role_routes())


def _application_role_routes() -> tuple[Route, ...]:
    path = "/v1/applications/{application_id}/roles/{role}/holders/{holder_id}"

    @route("PUT", path, MANAGE_ROLES, status=204)
    async def give_role_on_application(
        call: Call, application_id: ApplicationId, role: ObjectRole, holder_id: AnyId
    ) -> None:
        """Give a role on one application of the organization."""
        await applications.application(call.reads, application_id)
        async with call.begin() as w:
            roles.give_on(w, f"application:{application_id}", role, holder_id)

    @route("DELETE", path, MANAGE_ROLES, status=204)
    async def take_role_on_application(
        call: Call, application_id: ApplicationId, role: ObjectRole, holder_id: AnyId
    ) -> None:
        """Take a role on one application of the organization."""
        await applications.application(call.reads, application_id)
        await call.run(roles.take_on, f"application:{application_id}", role, holder_id)

    return (give_role_on_application, take_role_on_application)


def _store_role_routes() -> tuple[Route, ...]:
    path = "/v1/stores/{store_id}/roles/{role}/holders/{holder_id}"

    @route("PUT", path, MANAGE_ROLES, status=204)
    async def give_role_on_store(call: Call, store_id: StoreId, role: ObjectRole, holder_id: AnyId) -> None:
        """Give a role on one store of the organization."""
        await store_of(call.reads, store_id)
        async with call.begin() as w:
            roles.give_on(w, f"store:{store_id}", role, holder_id)

    @route("DELETE", path, MANAGE_ROLES, status=204)
    async def take_role_on_store(call: Call, store_id: StoreId, role: ObjectRole, holder_id: AnyId) -> None:
        """Take a role on one store of the organization."""
        await store_of(call.reads, store_id)
        await call.run(roles.take_on, f"store:{store_id}", role, holder_id)

    return (give_role_on_store, take_role_on_store)


async def _offered(call: Call, application_id: str) -> tuple[Application, Reads]:
    """An active application of the organization or the platform, and the reads of its owner.

    Raises:
        NotFound: neither has such a one.
    """
    for reads in (call.reads, call.journal.reads(scopes.of_platform())):
        try:
            known = await applications.application(reads, application_id)
        except NotFound:
            continue
        if known.status == parties.ACTIVE:
            return known, reads
    raise NotFound
