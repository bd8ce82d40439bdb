"""Routes of applications and resources."""

from typing import Annotated

import msgspec
from msgspec import Meta

from tenantry.core.clock import Clock
from tenantry.core.ids import IdSource
from tenantry.organizations import applications, parties, resources
from tenantry.organizations.addresses import ADDRESS_MAX_CHARACTERS
from tenantry.organizations.applications import REDIRECTS_MAX, Application, NewApplication
from tenantry.organizations.parties import PartyKind
from tenantry.organizations.permissions import MANAGE_APPLICATIONS, READ_APPLICATIONS
from tenantry.organizations.resources import SCOPES_MAX, NewResource, Resource
from tenantry.organizations.wire import ApplicationId, Because, Name, Page, Pages, ResourceId
from tenantry.web import Call, Route, route

Address = Annotated[str, Meta(max_length=ADDRESS_MAX_CHARACTERS)]
Scope = Annotated[str, Meta(min_length=1, max_length=128)]


class ApplicationChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An application's name and redirect URIs from now on."""

    name: Name
    redirect_uris: Annotated[tuple[Address, ...], Meta(max_length=REDIRECTS_MAX)]


class ResourceChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A resource's name, scopes and following from now on."""

    name: Name
    scopes: Annotated[tuple[Scope, ...], Meta(max_length=SCOPES_MAX)]
    follows_feed: bool


def application_routes(ids: IdSource, clock: Clock) -> tuple[Route, ...]:
    """The routes of this file."""
    return (*_application_routes(ids, clock), *_resource_routes(ids, clock))


def _application_routes(ids: IdSource, clock: Clock) -> tuple[Route, ...]:
    @route("GET", "/v1/applications", READ_APPLICATIONS)
    async def list_applications(call: Call, query: Pages) -> Page[Application]:
        """Applications of the organization."""
        return query.page(await applications.page(call.reads, query.after, query.limit + 1))

    @route("POST", "/v1/applications", MANAGE_APPLICATIONS, status=201)
    async def add_application(call: Call, body: NewApplication) -> Application:
        """Register an application."""
        application = ids.new("app")
        async with call.begin() as w:
            applications.add(w, application, body, clock.now_ms())
        return await applications.application(call.reads, application)

    @route("GET", "/v1/applications/{application_id}", READ_APPLICATIONS)
    async def get_application(call: Call, application_id: ApplicationId) -> Application:
        """One application."""
        return await applications.application(call.reads, application_id)

    @route("PUT", "/v1/applications/{application_id}", MANAGE_APPLICATIONS)
    async def change_application(call: Call, application_id: ApplicationId, body: ApplicationChange) -> Application:
        """Give an application another name and other redirect URIs."""
        await call.run(applications.change, application_id, body.name, body.redirect_uris)
        return await applications.application(call.reads, application_id)

    @route("POST", "/v1/applications/{application_id}/deactivate", MANAGE_APPLICATIONS)
    async def deactivate_application(call: Call, application_id: ApplicationId, body: Because) -> Application:
        """End whatever anybody allowed an application."""
        await call.run(parties.deactivate, PartyKind.APPLICATION, application_id, body.reason)
        return await applications.application(call.reads, application_id)

    @route("POST", "/v1/applications/{application_id}/reactivate", MANAGE_APPLICATIONS)
    async def reactivate_application(call: Call, application_id: ApplicationId) -> Application:
        """Let an application be used again."""
        await call.run(parties.reactivate, PartyKind.APPLICATION, application_id)
        return await applications.application(call.reads, application_id)

    @route("DELETE", "/v1/applications/{application_id}", MANAGE_APPLICATIONS, status=204)
    async def remove_application(call: Call, application_id: ApplicationId) -> None:
        """Remove an application for good."""
        await call.run(applications.remove, application_id)

    return (
        *(list_applications, add_application, get_application, change_application),
        *(deactivate_application, reactivate_application, remove_application),
    )


def _resource_routes(ids: IdSource, clock: Clock) -> tuple[Route, ...]:
    @route("GET", "/v1/resources", READ_APPLICATIONS)
    async def list_resources(call: Call, query: Pages) -> Page[Resource]:
        """Resources of the organization."""
        return query.page(await resources.page(call.reads, query.after, query.limit + 1))

    @route("POST", "/v1/resources", MANAGE_APPLICATIONS, status=201)
    async def add_resource(call: Call, body: NewResource) -> Resource:
        """Register a resource."""
        resource = ids.new("resource")
        async with call.begin() as w:
            resources.add(w, resource, body, clock.now_ms())
        return await resources.resource(call.reads, resource)

    @route("GET", "/v1/resources/{resource_id}", READ_APPLICATIONS)
    async def get_resource(call: Call, resource_id: ResourceId) -> Resource:
        """One resource."""
        return await resources.resource(call.reads, resource_id)

    @route("PUT", "/v1/resources/{resource_id}", MANAGE_APPLICATIONS)
    async def change_resource(call: Call, resource_id: ResourceId, body: ResourceChange) -> Resource:
        """Give a resource another name, other scopes, or another way to hear of cuts."""
        await call.run(resources.change, resource_id, body.name, body.scopes, follows_feed=body.follows_feed)
        return await resources.resource(call.reads, resource_id)

    @route("POST", "/v1/resources/{resource_id}/deactivate", MANAGE_APPLICATIONS)
    async def deactivate_resource(call: Call, resource_id: ResourceId, body: Because) -> Resource:
        """End whatever anybody may do at a resource."""
        await call.run(parties.deactivate, PartyKind.RESOURCE, resource_id, body.reason)
        return await resources.resource(call.reads, resource_id)

    @route("POST", "/v1/resources/{resource_id}/reactivate", MANAGE_APPLICATIONS)
    async def reactivate_resource(call: Call, resource_id: ResourceId) -> Resource:
        """Let a resource be used again."""
        await call.run(parties.reactivate, PartyKind.RESOURCE, resource_id)
        return await resources.resource(call.reads, resource_id)

    @route("DELETE", "/v1/resources/{resource_id}", MANAGE_APPLICATIONS, status=204)
    async def remove_resource(call: Call, resource_id: ResourceId) -> None:
        """Remove a resource for good; that of an MCP server goes with the server."""
        await call.run(resources.remove, resource_id)

    return (
        *(list_resources, add_resource, get_resource, change_resource),
        *(deactivate_resource, reactivate_resource, remove_resource),
    )
