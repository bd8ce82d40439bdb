"""Agents of an organization: each of a blueprint version, with a purpose, an owner who operates it, sponsors who answer for it, a ceiling
within the blueprint's, an expiry, and those who may delegate to it. An agent never holds a secret.

It is **orphaned** while none of its sponsors is active (`ties`).
"""

from typing import Annotated

import msgspec

from tenantry.access.ceiling import Ceiling, within
from tenantry.core.errors import Conflict, Denied, Invalid, NotFound
from tenantry.core.limits import TEXT_MAX_CHARACTERS
from tenantry.journal import Event, Reads, Target, Text, WriteSet
from tenantry.organizations import blueprints, doors, groups, parties, roles, ties
from tenantry.organizations.blueprints import BlueprintVersion
from tenantry.organizations.doors import DoorKind
from tenantry.organizations.part import PAGE_ARGS, Part, fold, titled, unfold
from tenantry.organizations.parties import PartyKind
from tenantry.organizations.ties import HAS_SPONSOR, SPONSORS_MAX
from tenantry.store import Kind, Read, Statement, Table

Purpose = Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_MAX_CHARACTERS)]
AGENTS = Table("agents", Kind.STATE)


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
    purpose: Purpose
    owner_id: str
    sponsors: tuple[str, ...]
    delegators: tuple[str, ...] = ()
    ceiling: Ceiling | None = None
    ends_at_ms: int


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
PART = Part(
    tables=(AGENTS,),
    statements=(ADD_AGENT, SET_AGENT, DELETE_AGENT),
    reads=(AGENT, AGENTS_PAGE, ORPHANS_PAGE),
    ddl="""
CREATE TABLE agents (
    org text NOT NULL, id text NOT NULL, name text NOT NULL, purpose text NOT NULL, blueprint_id text NOT NULL,
    blueprint_version {int} NOT NULL, owner_id text NOT NULL, ceiling_json text NOT NULL, PRIMARY KEY (org, id),
    FOREIGN KEY (org, id) REFERENCES parties (org, id), FOREIGN KEY (org, owner_id) REFERENCES parties (org, id),
    FOREIGN KEY (org, blueprint_id, blueprint_version) REFERENCES blueprint_versions (org, blueprint_id, version)) {strict};
CREATE INDEX agents_blueprint ON agents (org, blueprint_id);
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


class Wider(Denied):
    """An agent's ceiling is not within that of its blueprint's version."""

    code = "ceiling_too_wide"
    sentence = "The ceiling allows more than the blueprint's."


class NoSponsor(Invalid):
    """An agent needs a sponsor: somebody of the organization who answers for it."""

    code = "no_sponsor"
    sentence = "An agent needs at least one sponsor."


async def agent(reads: Reads, agent_id: str) -> Agent:
    """An agent of the organization.

    Raises:
        NotFound: there is no such one.
    """
    return unfold(await reads.one(AGENT, id=agent_id), Agent)


async def page(reads: Reads, after: str, most: int) -> list[Agent]:
    """The organization's agents in the order of their ids, after one of them."""
    return [unfold(row, Agent) for row in await reads.all(AGENTS_PAGE, after=after, most=most)]


async def orphans(reads: Reads, after: str, most: int) -> list[Agent]:
    """Its orphaned agents."""
    return [unfold(row, Agent) for row in await reads.all(ORPHANS_PAGE, after=after, most=most)]


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
        name=titled(new.name),
        purpose=new.purpose,
        blueprint_id=new.blueprint_id,
        blueprint_version=new.blueprint_version,
        owner_id=new.owner_id,
        ceiling_json=fold(ceiling),
    )
    for relation, tied in ((ties.SPONSOR, new.sponsors), (ties.DELEGATOR, new.delegators)):
        for party_id in dict.fromkeys(tied):
            ties.bind(w, agent_id, relation, party_id)
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
    purpose: Purpose | msgspec.UnsetType = msgspec.UNSET
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
        name=titled(after.name),
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


async def remove(w: WriteSet, reads: Reads, agent_id: str) -> None:
    """Remove an agent for good."""
    await parties.remove(w, reads, PartyKind.AGENT, agent_id)
    doors.close_doors(w, agent_id)
    await groups.leave_all(w, reads, agent_id)
    await roles.take_all(w, reads, agent_id)
    w.write(ties.UNTIE_ALL, agent_id=agent_id)
    w.write(DELETE_AGENT, NotFound, id=agent_id)


def _check(kind: BlueprintVersion, ceiling: Ceiling, now_ms: int, made_at_ms: int, ends_at_ms: int) -> None:
    if not within(ceiling, kind.ceiling):
        raise Wider
    if not now_ms < ends_at_ms <= made_at_ms + kind.agent_life_ms:
        raise Invalid(
            "An agent ends in the future, and no later than its blueprint lets it live.",
            hint=f"This blueprint's agents live at most {kind.agent_life_ms} ms.",
        )
