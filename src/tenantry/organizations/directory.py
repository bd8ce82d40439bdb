"""Any principal by its id: its record, with the branches that its credentials descend from."""

from collections.abc import Awaitable, Callable

from tenantry.core.errors import NotFound
from tenantry.journal import Reads
from tenantry.organizations import agents, jobs, mcp_servers, services, users, visitors
from tenantry.organizations.agents import Agent
from tenantry.organizations.jobs import Job
from tenantry.organizations.mcp_servers import McpServer
from tenantry.organizations.services import Service
from tenantry.organizations.users import User
from tenantry.organizations.visitors import VisitingAgent

PrincipalRecord = User | Agent | VisitingAgent | Service | McpServer | Job


async def record(reads: Reads, principal_id: str) -> PrincipalRecord:
    """The record of a principal of the organization. Not checked here: that it is active (`standing`).

    Raises:
        NotFound: the organization has no such principal.
    """
    find = _FINDERS.get(principal_id.partition("_")[0])
    if find is None:
        raise NotFound
    return await find(reads, principal_id)


async def _agent(reads: Reads, agent_id: str) -> Agent | VisitingAgent:
    try:
        return await agents.agent(reads, agent_id)
    except NotFound:
        return await visitors.visitor(reads, agent_id)


async def _user(reads: Reads, user_id: str) -> User:
    return await reads.one(users.USER, id=user_id)


async def _service(reads: Reads, service_id: str) -> Service:
    return await reads.one(services.SERVICE, id=service_id)


async def _mcp_server(reads: Reads, server_id: str) -> McpServer:
    return await reads.one(mcp_servers.MCP_SERVER, id=server_id)


async def _job(reads: Reads, job_id: str) -> Job:
    return await reads.one(jobs.JOB, id=job_id)


_FINDERS: dict[str, Callable[[Reads, str], Awaitable[PrincipalRecord]]] = {
    "user": _user,
    "agent": _agent,
    "service": _service,
    "mcp": _mcp_server,
    "job": _job,
}
