"""MCP servers: a protected resource that speaks MCP, and a principal of its own when it calls on. Both are made and removed together."""

import msgspec

from tenantry.core.errors import NotFound
from tenantry.journal import Event, Reads, Target, WriteSet
from tenantry.organizations import doors, parties, resources
from tenantry.organizations.doors import DoorKind
from tenantry.organizations.part import PAGE_ARGS, Part
from tenantry.organizations.parties import PartyKind
from tenantry.organizations.resources import NewResource
from tenantry.store import Kind, Read, Statement, Table

MCP_SERVERS = Table("mcp_servers", Kind.STATE)


class McpServer(msgspec.Struct, frozen=True):
    """An MCP server of the organization; `indicator` names it as a resource."""

    org: str
    id: str
    status: str
    name: str
    resource_id: str
    indicator: str
    made_at_ms: int

    def path(self) -> tuple[str, ...]:
        """The branches that its credentials descend from."""
        return (self.org, self.id)


ADD_MCP_SERVER = Statement(
    "organizations_add_mcp_server",
    MCP_SERVERS,
    "INSERT INTO mcp_servers (org, id, resource_id) VALUES (:org, :id, :resource_id) ON CONFLICT DO NOTHING",
    {"id": str, "resource_id": str},
)
DELETE_MCP_SERVER = Statement(
    "organizations_delete_mcp_server", MCP_SERVERS, "DELETE FROM mcp_servers WHERE org = :org AND id = :id", {"id": str}
)
_FROM = (
    "SELECT m.org, m.id, p.status, r.name, m.resource_id, r.indicator, p.made_at FROM mcp_servers m "
    "JOIN parties p ON p.org = m.org AND p.id = m.id JOIN resources r ON r.org = m.org AND r.id = m.resource_id WHERE m.org = :org"
)
MCP_SERVER = Read("organizations_mcp_server", McpServer, f"{_FROM} AND m.id = :id", {"id": str})
MCP_SERVERS_PAGE = Read(
    "organizations_mcp_servers", McpServer, f"{_FROM} AND m.id > :after ORDER BY m.id LIMIT :most", PAGE_ARGS
)

PART = Part(
    tables=(MCP_SERVERS,),
    statements=(ADD_MCP_SERVER, DELETE_MCP_SERVER),
    reads=(MCP_SERVER, MCP_SERVERS_PAGE),
    ddl="""
CREATE TABLE mcp_servers (
    org text NOT NULL, id text NOT NULL, resource_id text NOT NULL, PRIMARY KEY (org, id), UNIQUE (org, resource_id),
    FOREIGN KEY (org, id) REFERENCES parties (org, id), FOREIGN KEY (org, resource_id) REFERENCES resources (org, id)) {strict};
""",
)


class McpServerAdded(Event, tag="mcp_server.added", frozen=True):
    """An MCP server was registered: a resource, and the principal that it is when it calls on."""

    server: Target
    resource: Target


def add(w: WriteSet, server_id: str, resource_id: str, new: NewResource, now_ms: int) -> None:
    """Register an MCP server and its resource.

    Raises, when the set is sent:
        IndicatorTaken: the organization has a resource of this indicator.
    """
    resources.add(w, resource_id, new, now_ms)
    parties.add(w, PartyKind.MCP_SERVER, server_id, now_ms)
    doors.open_door(w, DoorKind.CLIENT, server_id, server_id)
    w.write(ADD_MCP_SERVER, id=server_id, resource_id=resource_id)
    w.record(McpServerAdded(server_id, resource_id))


async def deactivate(w: WriteSet, reads: Reads, server_id: str, reason: str = "") -> None:
    """End what an MCP server may do, and what others may do at it."""
    server = await reads.one(MCP_SERVER, id=server_id)
    await parties.deactivate(w, reads, PartyKind.MCP_SERVER, server_id, reason)
    await parties.deactivate(w, reads, PartyKind.RESOURCE, server.resource_id, reason)


async def reactivate(w: WriteSet, reads: Reads, server_id: str) -> None:
    """Let an MCP server act, and be called, again."""
    server = await reads.one(MCP_SERVER, id=server_id)
    await parties.reactivate(w, reads, PartyKind.MCP_SERVER, server_id)
    await parties.reactivate(w, reads, PartyKind.RESOURCE, server.resource_id)


async def remove(w: WriteSet, reads: Reads, server_id: str) -> None:
    """Remove an MCP server and its resource for good."""
    server = await reads.one(MCP_SERVER, id=server_id)
    await parties.remove(w, reads, PartyKind.MCP_SERVER, server_id)
    doors.close_doors(w, server_id)
    w.write(DELETE_MCP_SERVER, NotFound, id=server_id)
    await resources.remove(w, reads, server.resource_id)
