"""Who is tied to an agent: the sponsors who answer for it, those who may delegate to it, and those who may stand behind a visiting one.

**Orphaned** is what an active agent is while none of its sponsors is: a user that is active, or a group with an active user in it. It is
no stored word but worked out by whoever reads, so that the last sponsor's leaving orphans the agent in that same write set, however many
agents there are; the events name the first `ORPHANS_NAMED` of them. An orphaned agent gets no new runs, until it has a sponsor again.
"""

import msgspec

from tenantry.core.errors import AlreadyDone, NotFound
from tenantry.journal import Event, Reads, Target, WriteSet
from tenantry.organizations import parties
from tenantry.organizations.part import PAGE_ARGS, Part
from tenantry.organizations.parties import PartyKind
from tenantry.store import Kind, Read, Statement, Table

AGENT_TIES = Table("agent_ties", Kind.STATE)

SPONSOR = "sponsor"
DELEGATOR = "delegator"
BEHIND = "behind"
_TO = {
    SPONSOR: (PartyKind.USER, PartyKind.GROUP),
    DELEGATOR: (PartyKind.USER, PartyKind.GROUP, PartyKind.AGENT, PartyKind.SERVICE),
    BEHIND: (PartyKind.USER, PartyKind.GROUP),
}
"""By the relation: what an agent, or for `behind` a visiting agent, can be tied to."""
SPONSORS_MAX = 20
ORPHANS_NAMED = 100
"""Agents that a leaving sponsor's set tells of; the read that lists orphaned agents has all."""


class Tied(msgspec.Struct, frozen=True):
    """A sponsor of an agent, who may delegate to it, or who may stand behind a visiting one."""

    id: str


class _Orphan(msgspec.Struct, frozen=True):
    id: str


TIE = Statement(
    "organizations_tie_agent",
    AGENT_TIES,
    "INSERT INTO agent_ties (org, agent_id, relation, party_id) VALUES (:org, :agent_id, :relation, :party_id) ON CONFLICT DO NOTHING",
    {"agent_id": str, "relation": str, "party_id": str},
)
UNTIE = Statement(
    "organizations_untie_agent",
    AGENT_TIES,
    "DELETE FROM agent_ties WHERE org = :org AND agent_id = :agent_id AND relation = :relation AND party_id = :party_id",
    {"agent_id": str, "relation": str, "party_id": str},
)
UNTIE_ALL = Statement(
    "organizations_untie_agents",
    AGENT_TIES,
    "DELETE FROM agent_ties WHERE org = :org AND agent_id = :agent_id",
    {"agent_id": str},
)
STILL_SPONSORED = Statement(
    "organizations_still_sponsored",
    AGENT_TIES,
    "SELECT 1 WHERE EXISTS (SELECT 1 FROM agent_ties WHERE org = :org AND agent_id = :agent_id AND relation = 'sponsor')",
    {"agent_id": str},
)

SPONSORED = (
    "EXISTS (SELECT 1 FROM agent_ties t JOIN parties s ON s.org = t.org AND s.id = t.party_id "
    "WHERE t.org = a.org AND t.agent_id = a.id AND t.relation = 'sponsor' AND s.status = 'active' AND {but} (s.kind = 'user' OR "
    "EXISTS (SELECT 1 FROM group_members m JOIN parties u ON u.org = m.org AND u.id = m.member_id WHERE m.org = t.org "
    "AND m.group_id = t.party_id AND u.kind = 'user' AND u.status = 'active' AND {but_member} true)))"
)
"""Of the agent `a`: it has an active sponsor."""
HAS_SPONSOR = SPONSORED.replace("{but}", "").replace("{but_member}", "")
_HAS_ANOTHER = SPONSORED.replace("{but}", "s.id <> :user_id AND").replace("{but_member}", "u.id <> :user_id AND")

ORPHANED_BY = Read(
    "organizations_orphaned_by",
    _Orphan,
    f"SELECT a.id FROM agents a JOIN parties p ON p.org = a.org AND p.id = a.id WHERE a.org = :org AND p.status = 'active' "  # noqa: S608
    "AND a.id IN (SELECT t.agent_id FROM agent_ties t WHERE t.org = :org AND t.relation = 'sponsor' AND (t.party_id = :user_id "
    "OR t.party_id IN (SELECT m.group_id FROM group_members m WHERE m.org = :org AND m.member_id = :user_id))) "
    f"AND {HAS_SPONSOR} AND NOT {_HAS_ANOTHER} ORDER BY a.id LIMIT :most",
    {"user_id": str, "most": int},
)
TIED = Read(
    "organizations_tied",
    Tied,
    "SELECT party_id FROM agent_ties WHERE org = :org AND agent_id = :agent_id AND relation = :relation AND party_id > :after "
    "ORDER BY party_id LIMIT :most",
    {"agent_id": str, "relation": str, **PAGE_ARGS},
)

PART = Part(
    tables=(AGENT_TIES,),
    statements=(TIE, UNTIE, UNTIE_ALL, STILL_SPONSORED),
    reads=(ORPHANED_BY, TIED),
    ddl="""
CREATE TABLE agent_ties (
    org text NOT NULL, agent_id text NOT NULL, relation text NOT NULL, party_id text NOT NULL,
    PRIMARY KEY (org, agent_id, relation, party_id), FOREIGN KEY (org, agent_id) REFERENCES parties (org, id),
    FOREIGN KEY (org, party_id) REFERENCES parties (org, id)) {strict};
CREATE INDEX agent_ties_party ON agent_ties (org, party_id, relation);
""",
)


class AgentTied(Event, tag="agent.tied", frozen=True):
    """Somebody became a sponsor of an agent, may delegate to it, or may stand behind a visiting one."""

    agent: Target
    party: Target
    relation: str


class AgentUntied(Event, tag="agent.untied", frozen=True):
    """Somebody is a sponsor of an agent no more, may no longer delegate to it, or stand behind a visiting one."""

    agent: Target
    party: Target
    relation: str


class AgentOrphaned(Event, tag="agent.orphaned", frozen=True):
    """The last active sponsor of an agent left: it gets no new runs until it has another."""

    agent: Target
    sponsor: Target


class LastSponsor(AlreadyDone):
    """The only sponsor cannot be taken away."""

    code = "last_sponsor"
    sentence = "This is the agent's only sponsor. Add another first."


class NotTied(NotFound):
    """There is no such tie."""


def tie(w: WriteSet, agent_id: str, relation: str, party_id: str) -> None:
    """Tie somebody to an agent; again changes nothing.

    Raises, when the set is sent:
        NotFound: this organization has no such agent, or none of the kinds that the relation is to.
        NotActive: a sponsor has to be active.
    """
    parties.refer(w, agent_id, PartyKind.VISITING_AGENT if relation == BEHIND else PartyKind.AGENT)
    bind(w, agent_id, relation, party_id)
    w.record(AgentTied(agent_id, party_id, relation))


def untie(w: WriteSet, agent_id: str, relation: str, party_id: str) -> None:
    """Untie somebody. `LastSponsor`, when the set is sent: the agent would have none."""
    w.write(UNTIE, NotTied, agent_id=agent_id, relation=relation, party_id=party_id)
    if relation == SPONSOR:
        w.write_settled(STILL_SPONSORED, LastSponsor, agent_id=agent_id)
    w.record(AgentUntied(agent_id, party_id, relation))


async def note_orphans(w: WriteSet, reads: Reads, user_id: str) -> None:
    """Say, in the set that ends a user's access, which agents have no active sponsor from then on."""
    for orphan in await reads.all(ORPHANED_BY, user_id=user_id, most=ORPHANS_NAMED):
        w.record(AgentOrphaned(orphan.id, user_id))


def bind(w: WriteSet, agent_id: str, relation: str, party_id: str) -> None:
    """As `tie`, of an agent that `w` makes; the event that says so is the caller's."""
    refer = parties.refer_active if relation == SPONSOR else parties.refer
    refer(w, party_id, *_TO[relation])
    w.write(TIE, agent_id=agent_id, relation=relation, party_id=party_id)
