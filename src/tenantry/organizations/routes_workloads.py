"""Routes of services, MCP servers and jobs."""

import msgspec

from tenantry.core.clock import Clock
from tenantry.core.ids import IdSource
from tenantry.organizations import jobs, mcp_servers, parties, services
from tenantry.organizations.jobs import Job
from tenantry.organizations.mcp_servers import McpServer
from tenantry.organizations.parties import PartyKind
from tenantry.organizations.permissions import MANAGE_WORKLOADS, READ_WORKLOADS
from tenantry.organizations.resources import NewResource
from tenantry.organizations.services import Service
from tenantry.organizations.wire import (
    AnyId,
    Because,
    JobId,
    McpServerId,
    Name,
    Naming,
    Page,
    Pages,
    ServiceId,
    Time,
)
from tenantry.web import Call, Route, route


class NewService(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A workload to register."""

    name: Name
    ends_at_ms: Time | None = None


class NewJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A background task to begin; without an initiator the organization asks for it. `ends_at_ms` is its deadline."""

    name: Name
    ends_at_ms: Time
    initiator_id: AnyId | None = None


def workload_routes(ids: IdSource, clock: Clock) -> tuple[Route, ...]:
    """The routes of this file."""
    return (
        *_service_routes(ids, clock),
        *_server_routes(ids, clock),
        *_job_routes(ids, clock),
    )


def _service_routes(ids: IdSource, clock: Clock) -> tuple[Route, ...]:
    @route("GET", "/v1/services", READ_WORKLOADS)
    async def list_services(call: Call, query: Pages) -> Page[Service]:
        """Services of the organization."""
        return query.page(await call.reads.all(services.SERVICES_PAGE, **query.asked))

    @route("POST", "/v1/services", MANAGE_WORKLOADS, status=201)
    async def add_service(call: Call, body: NewService) -> Service:
        """Register a service."""
        service = ids.new("service")
        async with call.begin() as w:
            services.add(w, service, body.name, clock.now_ms(), body.ends_at_ms)
        return await call.reads.one(services.SERVICE, id=service)

    @route("GET", "/v1/services/{service_id}", READ_WORKLOADS)
    async def get_service(call: Call, service_id: ServiceId) -> Service:
        """One service."""
        return await call.reads.one(services.SERVICE, id=service_id)

    @route("PATCH", "/v1/services/{service_id}", MANAGE_WORKLOADS)
    async def rename_service(call: Call, service_id: ServiceId, body: Naming) -> Service:
        """Give a service another name."""
        await call.run(services.rename, service_id, body.name)
        return await call.reads.one(services.SERVICE, id=service_id)

    @route("POST", "/v1/services/{service_id}/deactivate", MANAGE_WORKLOADS)
    async def deactivate_service(call: Call, service_id: ServiceId, body: Because) -> Service:
        """End what a service may do."""
        await call.run(parties.deactivate, PartyKind.SERVICE, service_id, body.reason)
        return await call.reads.one(services.SERVICE, id=service_id)

    @route("POST", "/v1/services/{service_id}/reactivate", MANAGE_WORKLOADS)
    async def reactivate_service(call: Call, service_id: ServiceId) -> Service:
        """Let a service act again."""
        await call.run(parties.reactivate, PartyKind.SERVICE, service_id)
        return await call.reads.one(services.SERVICE, id=service_id)

    @route("DELETE", "/v1/services/{service_id}", MANAGE_WORKLOADS, status=204)
    async def remove_service(call: Call, service_id: ServiceId) -> None:
        """Remove a service for good."""
        await call.run(services.remove, service_id)

    return (
        *(list_services, add_service, get_service, rename_service),
        *(deactivate_service, reactivate_service, remove_service),
    )


def _server_routes(ids: IdSource, clock: Clock) -> tuple[Route, ...]:
    @route("GET", "/v1/mcp-servers", READ_WORKLOADS)
    async def list_mcp_servers(call: Call, query: Pages) -> Page[McpServer]:
        """MCP servers of the organization."""
        return query.page(await call.reads.all(mcp_servers.MCP_SERVERS_PAGE, **query.asked))

    @route("POST", "/v1/mcp-servers", MANAGE_WORKLOADS, status=201)
    async def add_mcp_server(call: Call, body: NewResource) -> McpServer:
        """Register an MCP server and the resource that it is."""
        server = ids.new("mcp")
        async with call.begin() as w:
            mcp_servers.add(w, server, ids.new("resource"), body, clock.now_ms())
        return await call.reads.one(mcp_servers.MCP_SERVER, id=server)

    @route("GET", "/v1/mcp-servers/{server_id}", READ_WORKLOADS)
    async def get_mcp_server(call: Call, server_id: McpServerId) -> McpServer:
        """One MCP server."""
        return await call.reads.one(mcp_servers.MCP_SERVER, id=server_id)

    @route("POST", "/v1/mcp-servers/{server_id}/deactivate", MANAGE_WORKLOADS)
    async def deactivate_mcp_server(call: Call, server_id: McpServerId, body: Because) -> McpServer:
        """End what an MCP server may do, and what others may do at it."""
        await call.run(mcp_servers.deactivate, server_id, body.reason)
        return await call.reads.one(mcp_servers.MCP_SERVER, id=server_id)

    @route("POST", "/v1/mcp-servers/{server_id}/reactivate", MANAGE_WORKLOADS)
    async def reactivate_mcp_server(call: Call, server_id: McpServerId) -> McpServer:
        """Let an MCP server act, and be called, again."""
        await call.run(mcp_servers.reactivate, server_id)
        return await call.reads.one(mcp_servers.MCP_SERVER, id=server_id)

    @route("DELETE", "/v1/mcp-servers/{server_id}", MANAGE_WORKLOADS, status=204)
    async def remove_mcp_server(call: Call, server_id: McpServerId) -> None:
        """Remove an MCP server and its resource for good."""
        await call.run(mcp_servers.remove, server_id)

    return (
        *(list_mcp_servers, add_mcp_server, get_mcp_server),
        *(deactivate_mcp_server, reactivate_mcp_server, remove_mcp_server),
    )


def _job_routes(ids: IdSource, clock: Clock) -> tuple[Route, ...]:
    @route("GET", "/v1/jobs", READ_WORKLOADS)
    async def list_jobs(call: Call, query: Pages) -> Page[Job]:
        """Jobs of the organization."""
        return query.page(await call.reads.all(jobs.JOBS_PAGE, **query.asked))

    @route("POST", "/v1/jobs", MANAGE_WORKLOADS, status=201)
    async def add_job(call: Call, body: NewJob) -> Job:
        """Begin a background task."""
        job, now = ids.new("job"), clock.now_ms()
        async with call.begin() as w:
            jobs.add(w, job, ids.new("run"), body.name, body.initiator_id, now_ms=now, ends_at_ms=body.ends_at_ms)
        return await call.reads.one(jobs.JOB, id=job)

    @route("GET", "/v1/jobs/{job_id}", READ_WORKLOADS)
    async def get_job(call: Call, job_id: JobId) -> Job:
        """One job."""
        return await call.reads.one(jobs.JOB, id=job_id)

    @route("POST", "/v1/jobs/{job_id}/end", MANAGE_WORKLOADS)
    async def end_job(call: Call, job_id: JobId, body: Because) -> Job:
        """End a job before its deadline."""
        await call.run(jobs.end, job_id, body.reason)
        return await call.reads.one(jobs.JOB, id=job_id)

    return (list_jobs, add_job, get_job, end_job)
