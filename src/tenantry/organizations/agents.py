"""Agents of an organization: each of a blueprint version, with a purpose, an owner who operates it, sponsors who answer for it, a ceiling
within the blueprint's, an expiry, and those who may delegate to it. An agent never holds a secret.

**Orphaned** is what an active agent is while none of its sponsors is: a user that is active, or a group with an active user in it. It is
no stored word but worked out by whoever reads, so that the last sponsor's leaving orphans the agent in that same write set, however many
agents there are; the event names the first `ORPHANS_NAMED` of them. An orphaned agent gets no new runs, until it has a sponsor again.
"""

import msgspec

from tenantry.access.ceiling import Ceiling, within
from tenantry.core.errors import AlreadyDone, Conflict, Denied, Invalid, NotFound
from tenantry.core.text import named
from tenantry.journal import Event, Reads, Target, Text, WriteSet
from tenantry.organizations import blueprints, doors, groups, parties
from tenantry.organizations.blueprints import BlueprintVersion
from tenantry.organizations.doors import DoorKind
from tenantry.organizations.part import PAGE_ARGS, Part, fold, unfold
from tenantry.organizations.parties import PartyKind
from tenantry.store import Kind, Read, Statement, Table

AGENTS = Table("agents", Kind.STATE)
AGENT_TIES = Table("agent_ties", Kind.STATE)

SPONSOR = "sponsor"
DELEGATOR = "delegator"
SPONSORS = (PartyKind.USER, PartyKind.GROUP)
DELEGATORS = (PartyKind.USER, PartyKind.GROUP, PartyKind.AGENT, PartyKind.SERVICE)
SPONSORS_MAX = 20
ORPHANS_NAMED = 100
"""Agents that one event of a leaving sponsor names; the read that lists orphaned agents has all."""


class Agent(msgspec.Struct, frozen=True):
    """An agent. `status` is `active`, `orphaned` or `deactivated`; it acts until `ends_at_ms` at the latest."""

    org: str
    id: str
    status: str
    name: str
    purpose: str
    blueprint_id: str
    blueprint_version: int
    owner_id: str
    ceiling: Ceiling
    made_at_ms: int
    ends_at_ms: int

    def path(self) -> tuple[str, ...]:
        """The branches that its credentials descend from."""
        return (self.org, self.blueprint_id, self.id)


class _AgentRow(msgspec.Struct, frozen=True):
    org: str
    id: str
    status: str
    name: str
    purpose: str
    blueprint_id: str
    blueprint_version: int
    owner_id: str
    ceiling_json: str
    made_at_ms: int
    ends_at_ms: int


class NewAgent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent is made of. Without a ceiling it gets its blueprint's."""

    blueprint_id: str
    blueprint_version: int
    name: str
    purpose: str
    owner_id: str
    sponsors: tuple[str, ...]
    delegators: tuple[str, ...] = ()
    ceiling: Ceiling | None = None
    ends_at_ms: int


class Tied(msgspec.Struct, frozen=True):
    """A sponsor of an agent, or who may delegate to it."""

    id: str


class _Orphan(msgspec.Struct, frozen=True):
    id: str


ADD_AGENT = Statement(
    "organizations_add_agent",
    AGENTS,
    "INSERT INTO agents (org, id, name, purpose, blueprint_id, blueprint_version, owner_id, ceiling_json) "
    "VALUES (:org, :id, :name, :purpose, :blueprint_id, :blueprint_version, :owner_id, :ceiling_json) ON CONFLICT DO NOTHING",
    {
        "id": str,
        "name": str,
        "purpose": str,
        "blueprint_id": str,
        "blueprint_version": int,
        "owner_id": str,
        "ceiling_json": str,
    },
)
SET_AGENT = Statement(
    "organizations_set_agent",
    AGENTS,
    "UPDATE agents SET name = :name, purpose = :purpose, blueprint_version = :blueprint_version, owner_id = :owner_id, "
    "ceiling_json = :ceiling_json WHERE org = :org AND id = :id",
    {"id": str, "name": str, "purpose": str, "blueprint_version": int, "owner_id": str, "ceiling_json": str},
)
DELETE_AGENT = Statement(
    "organizations_delete_agent", AGENTS, "DELETE FROM agents WHERE org = :org AND id = :id", {"id": str}
)
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

_STATUS = f"CASE WHEN p.status = 'active' AND NOT {HAS_SPONSOR} THEN 'orphaned' ELSE p.status END"
_FROM = (
    f"SELECT a.org, a.id, {_STATUS}, a.name, a.purpose, a.blueprint_id, a.blueprint_version, a.owner_id, a.ceiling_json, "  # noqa: S608
    "p.made_at, p.ends_at FROM agents a JOIN parties p ON p.org = a.org AND p.id = a.id WHERE a.org = :org"
)
AGENT = Read("organizations_agent", _AgentRow, f"{_FROM} AND a.id = :id", {"id": str})
AGENTS_PAGE = Read("organizations_agents", _AgentRow, f"{_FROM} AND a.id > :after ORDER BY a.id LIMIT :most", PAGE_ARGS)
ORPHANS_PAGE = Read(
    "organizations_orphans",
    _AgentRow,
    f"{_FROM} AND p.status = 'active' AND NOT {HAS_SPONSOR} AND a.id > :after ORDER BY a.id LIMIT :most",
    PAGE_ARGS,
)
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
    tables=(AGENTS, AGENT_TIES),
    statements=(ADD_AGENT, SET_AGENT, DELETE_AGENT, TIE, UNTIE, UNTIE_ALL, STILL_SPONSORED),
    reads=(AGENT, AGENTS_PAGE, ORPHANS_PAGE, ORPHANED_BY, TIED),
    ddl="""
CREATE TABLE agents (
    org text NOT NULL, id text NOT NULL, name text NOT NULL, purpose text NOT NULL, blueprint_id text NOT NULL,
    blueprint_version {int} NOT NULL, owner_id text NOT NULL, ceiling_json text NOT NULL, PRIMARY KEY (org, id),
    FOREIGN KEY (org, id) REFERENCES parties (org, id), FOREIGN KEY (org, owner_id) REFERENCES parties (org, id),
    FOREIGN KEY (org, blueprint_id, blueprint_version) REFERENCES blueprint_versions (org, blueprint_id, version)) {strict};
CREATE INDEX agents_blueprint ON agents (org, blueprint_id);
CREATE TABLE agent_ties (
    org text NOT NULL, agent_id text NOT NULL, relation text NOT NULL, party_id text NOT NULL,
    PRIMARY KEY (org, agent_id, relation, party_id), FOREIGN KEY (org, agent_id) REFERENCES parties (org, id),
    FOREIGN KEY (org, party_id) REFERENCES parties (org, id)) {strict};
CREATE INDEX agent_ties_party ON agent_ties (org, party_id, relation);
""",
)


class AgentAdded(Event, tag="agent.added", frozen=True):
    """An agent was made of a blueprint version; `ceiling` is the JSON of what it may at most do."""

    agent: Target
    blueprint: Target
    version: int
    name: str
    purpose: Text
    owner: Target
    sponsors: list[str]
    delegators: list[str]
    ceiling: Text
    ends_at_ms: int


class AgentChanged(Event, tag="agent.changed", frozen=True):
    """An agent's name, purpose, owner, blueprint version, ceiling or expiry is another; these are the new ones."""

    agent: Target
    version: int
    name: str
    purpose: Text
    owner: Target
    ceiling: Text
    ends_at_ms: int


class AgentTied(Event, tag="agent.tied", frozen=True):
    """Somebody became a sponsor of an agent, or may delegate to it."""

    agent: Target
    party: Target
    relation: str


class AgentUntied(Event, tag="agent.untied", frozen=True):
    """Somebody is a sponsor of an agent no more, or may no longer delegate to it."""

    agent: Target
    party: Target
    relation: str


class AgentOrphaned(Event, tag="agent.orphaned", frozen=True):
    """The last active sponsor of an agent left: it gets no new runs until it has another."""

    agent: Target
    sponsor: Target


class Wider(Denied):
    """An agent's ceiling is not within that of its blueprint's version."""

    code = "ceiling_too_wide"
    sentence = "The ceiling allows more than the blueprint's."


class NoSponsor(Invalid):
    """An agent needs a sponsor: somebody of the organization who answers for it."""

    code = "no_sponsor"
    sentence = "An agent needs at least one sponsor."


class LastSponsor(AlreadyDone):
    """The only sponsor cannot be taken away."""

    code = "last_sponsor"
    sentence = "This is the agent's only sponsor. Add another first."


class NotTied(NotFound):
    """There is no such sponsor or delegator."""


async def agent(reads: Reads, agent_id: str) -> Agent:
    """An agent of the organization.

    Raises:
        NotFound: there is no such one.
    """
    return unfold(await reads.one(AGENT, id=agent_id), Agent)


async def add(w: WriteSet, reads: Reads, agent_id: str, new: NewAgent, now_ms: int) -> None:
    """Make an agent of a blueprint version.

    Raises:
        NotFound: no such blueprint, version, owner, sponsor or delegator here.
        Wider: its ceiling allows more than the blueprint's.
        Invalid: its end is not in the future or later than the blueprint lets an agent live; it has no sponsor, or too many.
    """
    kind = await blueprints.version(reads, new.blueprint_id, new.blueprint_version)
    ceiling = kind.ceiling if new.ceiling is None else new.ceiling
    _check(kind, ceiling, now_ms, now_ms, new.ends_at_ms)
    if not new.sponsors or len(new.sponsors) > SPONSORS_MAX or len(new.delegators) > SPONSORS_MAX:
        raise NoSponsor(f"An agent has 1 to {SPONSORS_MAX} sponsors, and at most as many who may delegate to it.")
    parties.refer_active(w, new.blueprint_id, PartyKind.BLUEPRINT)
    parties.refer_active(w, new.owner_id, PartyKind.USER)
    parties.add(w, PartyKind.AGENT, agent_id, now_ms, new.ends_at_ms)
    doors.open_door(w, DoorKind.CLIENT, agent_id, agent_id)
    w.write(
        ADD_AGENT,
        Conflict,
        id=agent_id,
        name=named(new.name),
        purpose=new.purpose,
        blueprint_id=new.blueprint_id,
        blueprint_version=new.blueprint_version,
        owner_id=new.owner_id,
        ceiling_json=fold(ceiling),
    )
    for relation, tied in ((SPONSOR, new.sponsors), (DELEGATOR, new.delegators)):
        for party_id in dict.fromkeys(tied):
            _tie(w, agent_id, relation, party_id)
    w.record(
        AgentAdded(
            agent_id,
            new.blueprint_id,
            new.blueprint_version,
            new.name,
            new.purpose,
            new.owner_id,
            [*new.sponsors],
            [*new.delegators],
            fold(ceiling),
            new.ends_at_ms,
        )
    )


class AgentChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of an agent becomes another; what is not given stays."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    purpose: str | msgspec.UnsetType = msgspec.UNSET
    owner_id: str | msgspec.UnsetType = msgspec.UNSET
    blueprint_version: int | msgspec.UnsetType = msgspec.UNSET
    ceiling: Ceiling | msgspec.UnsetType = msgspec.UNSET
    ends_at_ms: int | msgspec.UnsetType = msgspec.UNSET


async def change(w: WriteSet, reads: Reads, agent_id: str, wanted: AgentChange, now_ms: int) -> None:
    """Change an agent; its ceiling stays within its blueprint version's, whichever of the two becomes another.

    Raises: as `add`.
    """
    given = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not msgspec.UNSET}
    known = await parties.party(reads, PartyKind.AGENT, agent_id)
    before = await agent(reads, agent_id)
    after = msgspec.structs.replace(before, **given)
    kind = await blueprints.version(reads, after.blueprint_id, after.blueprint_version)
    _check(kind, after.ceiling, now_ms, after.made_at_ms, after.ends_at_ms)
    if after.owner_id != before.owner_id:
        parties.refer_active(w, after.owner_id, PartyKind.USER)
    parties.change(w, known, ends_at_ms=after.ends_at_ms)
    w.write(
        SET_AGENT,
        Conflict,
        id=agent_id,
        name=named(after.name),
        purpose=after.purpose,
        blueprint_version=after.blueprint_version,
        owner_id=after.owner_id,
        ceiling_json=fold(after.ceiling),
    )
    w.record(
        AgentChanged(
            agent_id,
            after.blueprint_version,
            after.name,
            after.purpose,
            after.owner_id,
            fold(after.ceiling),
            after.ends_at_ms,
        )
    )


def tie(w: WriteSet, agent_id: str, relation: str, party_id: str) -> None:
    """Give an agent a sponsor, or somebody who may delegate to it; again changes nothing.

    Raises, when the set is sent:
        NotFound: this organization has no such agent, or no such user or group (or, to delegate, agent or service).
        NotActive: a sponsor has to be active.
    """
    parties.refer(w, agent_id, PartyKind.AGENT)
    _tie(w, agent_id, relation, party_id)
    w.record(AgentTied(agent_id, party_id, relation))


def untie(w: WriteSet, agent_id: str, relation: str, party_id: str) -> None:
    """Take a sponsor or delegator away. `LastSponsor`, when the set is sent: the agent would have none."""
    w.write(UNTIE, NotTied, agent_id=agent_id, relation=relation, party_id=party_id)
    if relation == SPONSOR:
        w.write(STILL_SPONSORED, LastSponsor, agent_id=agent_id)
    w.record(AgentUntied(agent_id, party_id, relation))


async def note_orphans(w: WriteSet, reads: Reads, user_id: str) -> None:
    """Say, in the set that ends a user's access, which agents have no active sponsor from then on."""
    for orphan in await reads.all(ORPHANED_BY, user_id=user_id, most=ORPHANS_NAMED):
        w.record(AgentOrphaned(orphan.id, user_id))


async def remove(w: WriteSet, reads: Reads, agent_id: str) -> None:
    """Remove an agent for good."""
    await parties.remove(w, reads, PartyKind.AGENT, agent_id)
    doors.close_doors(w, agent_id)
    await groups.leave_all(w, reads, agent_id)
    w.write(UNTIE_ALL, agent_id=agent_id)
    w.write(DELETE_AGENT, NotFound, id=agent_id)


def _tie(w: WriteSet, agent_id: str, relation: str, party_id: str) -> None:
    if relation == SPONSOR:
        parties.refer_active(w, party_id, *SPONSORS)
    else:
        parties.refer(w, party_id, *DELEGATORS)
    w.write(TIE, agent_id=agent_id, relation=relation, party_id=party_id)


def _check(kind: BlueprintVersion, ceiling: Ceiling, now_ms: int, made_at_ms: int, ends_at_ms: int) -> None:
    if not within(ceiling, kind.ceiling):
        raise Wider
    if not now_ms < ends_at_ms <= made_at_ms + kind.agent_life_ms:
        raise Invalid(
            "An agent ends in the future, and no later than its blueprint lets it live.",
            hint=f"This blueprint's agents live at most {kind.agent_life_ms} ms.",
        )
