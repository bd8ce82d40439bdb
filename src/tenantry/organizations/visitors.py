"""Visiting agents: built and run by others, known by the address of their client-id metadata document. An organization lets one in by
keeping it here, with a ceiling and the users or groups that may stand behind it; an empty list is nobody. It has no rights of its own and
no key: whatever it does, a user of the list is behind it. Each organization decides for itself, so the address is no door.
"""

import msgspec

from tenantry.access.ceiling import Ceiling
from tenantry.core.errors import AlreadyDone, Conflict, NotFound
from tenantry.core.text import named
from tenantry.journal import Event, Reads, Target, Text, WriteSet
from tenantry.organizations import agents, parties
from tenantry.organizations.addresses import client_metadata_url
from tenantry.organizations.part import PAGE_ARGS, Part, fold, unfold
from tenantry.organizations.parties import PartyKind
from tenantry.store import Kind, Read, Statement, Table

VISITORS = Table("visiting_agents", Kind.STATE)

BEHIND = "behind"
"""The tie between a visiting agent and who may stand behind it."""
STAND_BEHIND = (PartyKind.USER, PartyKind.GROUP)


class VisitingAgent(msgspec.Struct, frozen=True):
    """An agent of others that the organization lets in."""

    org: str
    id: str
    status: str
    name: str
    client_id: str
    ceiling: Ceiling
    made_at_ms: int
    ends_at_ms: int | None

    def path(self) -> tuple[str, ...]:
        """The branches that its credentials descend from, beside those of the user behind it."""
        return (self.org, self.id)


class _VisitorRow(msgspec.Struct, frozen=True):
    org: str
    id: str
    status: str
    name: str
    client_id: str
    ceiling_json: str
    made_at_ms: int
    ends_at_ms: int | None


ADD_VISITOR = Statement(
    "organizations_add_visitor",
    VISITORS,
    "INSERT INTO visiting_agents (org, id, name, client_id, ceiling_json) VALUES (:org, :id, :name, :client_id, :ceiling_json) "
    "ON CONFLICT DO NOTHING",
    {"id": str, "name": str, "client_id": str, "ceiling_json": str},
)
SET_VISITOR = Statement(
    "organizations_set_visitor",
    VISITORS,
    "UPDATE visiting_agents SET ceiling_json = :ceiling_json WHERE org = :org AND id = :id",
    {"id": str, "ceiling_json": str},
)
DELETE_VISITOR = Statement(
    "organizations_delete_visitor", VISITORS, "DELETE FROM visiting_agents WHERE org = :org AND id = :id", {"id": str}
)
_FROM = (
    "SELECT v.org, v.id, p.status, v.name, v.client_id, v.ceiling_json, p.made_at, p.ends_at FROM visiting_agents v "
    "JOIN parties p ON p.org = v.org AND p.id = v.id WHERE v.org = :org"
)
VISITOR = Read("organizations_visitor", _VisitorRow, f"{_FROM} AND v.id = :id", {"id": str})
VISITOR_OF_CLIENT = Read(
    "organizations_visitor_of_client", _VisitorRow, f"{_FROM} AND v.client_id = :client_id", {"client_id": str}
)
VISITORS_PAGE = Read(
    "organizations_visitors", _VisitorRow, f"{_FROM} AND v.id > :after ORDER BY v.id LIMIT :most", PAGE_ARGS
)

PART = Part(
    tables=(VISITORS,),
    statements=(ADD_VISITOR, SET_VISITOR, DELETE_VISITOR),
    reads=(VISITOR, VISITOR_OF_CLIENT, VISITORS_PAGE),
    ddl="""
CREATE TABLE visiting_agents (
    org text NOT NULL, id text NOT NULL, name text NOT NULL, client_id text NOT NULL, ceiling_json text NOT NULL,
    PRIMARY KEY (org, id), UNIQUE (org, client_id), FOREIGN KEY (org, id) REFERENCES parties (org, id)) {strict};
""",
)


class VisitorLetIn(Event, tag="visiting_agent.let_in", frozen=True):
    """An agent of others may come in, with a user of the list behind it; `ceiling` is the JSON of what it may at most do."""

    agent: Target
    name: str
    client: Text
    ceiling: Text
    behind: list[str]


class VisitorLimited(Event, tag="visiting_agent.limited", frozen=True):
    """A visiting agent's ceiling is another."""

    agent: Target
    ceiling: Text


class AlreadyIn(AlreadyDone):
    """The organization lets this agent in already."""

    code = "already_in"
    sentence = "This visiting agent is let in already."


async def visitor(reads: Reads, agent_id: str) -> VisitingAgent:
    """A visiting agent of the organization.

    Raises:
        NotFound: there is no such one.
    """
    return unfold(await reads.one(VISITOR, id=agent_id), VisitingAgent)


async def of_client(reads: Reads, client_id: str) -> VisitingAgent:
    """The visiting agent of a metadata document.

    Raises:
        NotFound: the organization does not let it in.
    """
    return unfold(await reads.one(VISITOR_OF_CLIENT, client_id=client_id), VisitingAgent)


def let_in(
    w: WriteSet,
    agent_id: str,
    name: str,
    client_id: str,
    ceiling: Ceiling,
    behind: tuple[str, ...],
    *,
    now_ms: int,
    ends_at_ms: int | None = None,
) -> None:
    """Let an agent of others in.

    Raises:
        Invalid: this is no address of a metadata document, or the end is not in the future.

    Raises, when the set is sent:
        AlreadyIn: the organization does so already.
        NotFound: no such user or group here.
    """
    parties.check_end(ends_at_ms, now_ms)
    parties.add(w, PartyKind.VISITING_AGENT, agent_id, now_ms, ends_at_ms)
    folded, address = fold(ceiling), client_metadata_url(client_id)
    w.write(ADD_VISITOR, AlreadyIn, id=agent_id, name=named(name), client_id=address, ceiling_json=folded)
    for party_id in dict.fromkeys(behind):
        stand_behind(w, agent_id, party_id)
    w.record(VisitorLetIn(agent_id, name, address, folded, [*behind]))


async def limit(w: WriteSet, reads: Reads, agent_id: str, ceiling: Ceiling) -> None:
    """Give a visiting agent another ceiling."""
    known = await parties.party(reads, PartyKind.VISITING_AGENT, agent_id)
    parties.change(w, known, ends_at_ms=known.ends_at_ms)
    w.write(SET_VISITOR, NotFound, id=agent_id, ceiling_json=fold(ceiling))
    w.record(VisitorLimited(agent_id, fold(ceiling)))


def stand_behind(w: WriteSet, agent_id: str, party_id: str) -> None:
    """Let a user or a group's users stand behind a visiting agent; the event that says so is the caller's."""
    parties.refer(w, agent_id, PartyKind.VISITING_AGENT)
    parties.refer(w, party_id, *STAND_BEHIND)
    w.write(agents.TIE, agent_id=agent_id, relation=BEHIND, party_id=party_id)


async def remove(w: WriteSet, reads: Reads, agent_id: str) -> None:
    """Let a visiting agent in no more."""
    await parties.remove(w, reads, PartyKind.VISITING_AGENT, agent_id)
    w.write(agents.UNTIE_ALL, agent_id=agent_id)
    w.write(DELETE_VISITOR, Conflict, id=agent_id)
