"""Routes of blueprints, agents and visiting agents."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tenantry.access.ceiling import Ceiling
from tenantry.core.clock import Clock
from tenantry.core.ids import IdSource
from tenantry.organizations import agents, blueprints, parties, ties, visitors
from tenantry.organizations.addresses import ADDRESS_MAX_CHARACTERS
from tenantry.organizations.agents import Agent, AgentChange, NewAgent
from tenantry.organizations.blueprints import Blueprint, Declaration
from tenantry.organizations.parties import PartyKind
from tenantry.organizations.permissions import MANAGE_AGENTS, READ_AGENTS
from tenantry.organizations.ties import Tied
from tenantry.organizations.visitors import VisitingAgent
from tenantry.organizations.wire import (
    AgentId,
    AnyId,
    Because,
    BlueprintId,
    Name,
    Page,
    Pages,
    Time,
)
from tenantry.web import Call, Limits, Route, route

CEILINGS = Limits(body_bytes=1_048_576)
"""A ceiling may name many objects."""

Tie = Literal["sponsors", "delegators"]
_RELATIONS = {"sponsors": ties.SPONSOR, "delegators": ties.DELEGATOR}
Number = Annotated[int, Meta(ge=1, le=2**31)]


class NewBlueprint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind of agent to declare."""

    name: Name
    declaration: Declaration


class VersionOf(msgspec.Struct, frozen=True):
    """A version of a blueprint, and who may invoke its agents."""

    version: blueprints.BlueprintVersion
    invokers: list[str]


class AgentPages(Pages, frozen=True, forbid_unknown_fields=True):
    """Which page of agents; `orphaned` gives those without an active sponsor alone."""

    orphaned: bool = False


class NewVisitor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An agent of others to let in. Nobody but `behind` (users, groups) may stand behind it."""

    name: Name
    client_id: Annotated[str, Meta(max_length=ADDRESS_MAX_CHARACTERS)]
    ceiling: Ceiling
    behind: Annotated[tuple[AnyId, ...], Meta(max_length=50)] = ()
    ends_at_ms: Time | None = None


class Limiting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another ceiling."""

    ceiling: Ceiling


def agent_routes(ids: IdSource, clock: Clock) -> tuple[Route, ...]:
    """The routes of this file."""
    return (*_blueprint_routes(ids, clock), *_agent_routes(ids, clock), *_tie_routes(), *_visitor_routes(ids, clock))


def _blueprint_routes(ids: IdSource, clock: Clock) -> tuple[Route, ...]:
    @route("GET", "/v1/blueprints", READ_AGENTS)
    async def list_blueprints(call: Call, query: Pages) -> Page[Blueprint]:
        """Blueprints of the organization, at their newest versions."""
        return query.page(await call.reads.all(blueprints.BLUEPRINTS_PAGE, **query.asked))

    @route("POST", "/v1/blueprints", MANAGE_AGENTS, status=201, limits=CEILINGS)
    async def add_blueprint(call: Call, body: NewBlueprint) -> Blueprint:
        """Declare a kind of agent, at version 1."""
        blueprint = ids.new("blueprint")
        async with call.begin() as w:
            blueprints.add(w, blueprint, body.name, body.declaration, clock.now_ms())
        return await call.reads.one(blueprints.BLUEPRINT, id=blueprint)

    @route("GET", "/v1/blueprints/{blueprint_id}", READ_AGENTS)
    async def get_blueprint(call: Call, blueprint_id: BlueprintId) -> Blueprint:
        """One blueprint."""
        return await call.reads.one(blueprints.BLUEPRINT, id=blueprint_id)

    @route("GET", "/v1/blueprints/{blueprint_id}/versions/{number}", READ_AGENTS)
    async def get_blueprint_version(call: Call, blueprint_id: BlueprintId, number: Number) -> VersionOf:
        """What a version of a blueprint declares."""
        version = await blueprints.version(call.reads, blueprint_id, number)
        invokers = await call.reads.all(blueprints.INVOKERS_OF, id=blueprint_id, version=number)
        return VersionOf(version, [invoker.id for invoker in invokers])

    @route("POST", "/v1/blueprints/{blueprint_id}/versions", MANAGE_AGENTS, status=201, limits=CEILINGS)
    async def add_blueprint_version(call: Call, blueprint_id: BlueprintId, body: Declaration) -> Blueprint:
        """Declare a blueprint's next version; agents stay on theirs."""
        await call.run(blueprints.add_version, blueprint_id, body, clock.now_ms())
        return await call.reads.one(blueprints.BLUEPRINT, id=blueprint_id)

    @route("POST", "/v1/blueprints/{blueprint_id}/deactivate", MANAGE_AGENTS)
    async def deactivate_blueprint(call: Call, blueprint_id: BlueprintId, body: Because) -> Blueprint:
        """End what every agent of a blueprint may do."""
        await call.run(parties.deactivate, PartyKind.BLUEPRINT, blueprint_id, body.reason)
        return await call.reads.one(blueprints.BLUEPRINT, id=blueprint_id)

    @route("POST", "/v1/blueprints/{blueprint_id}/reactivate", MANAGE_AGENTS)
    async def reactivate_blueprint(call: Call, blueprint_id: BlueprintId) -> Blueprint:
        """Let a blueprint's agents act again."""
        await call.run(parties.reactivate, PartyKind.BLUEPRINT, blueprint_id)
        return await call.reads.one(blueprints.BLUEPRINT, id=blueprint_id)

    @route("DELETE", "/v1/blueprints/{blueprint_id}", MANAGE_AGENTS, status=204)
    async def remove_blueprint(call: Call, blueprint_id: BlueprintId) -> None:
        """Remove a blueprint for good: its agents die."""
        await call.run(blueprints.remove, blueprint_id)

    return (
        *(list_blueprints, add_blueprint, get_blueprint, get_blueprint_version, add_blueprint_version),
        *(deactivate_blueprint, reactivate_blueprint, remove_blueprint),
    )


def _agent_routes(ids: IdSource, clock: Clock) -> tuple[Route, ...]:
    @route("GET", "/v1/agents", READ_AGENTS)
    async def list_agents(call: Call, query: AgentPages) -> Page[Agent]:
        """Agents of the organization."""
        listed = agents.orphans if query.orphaned else agents.page
        return query.page(await listed(call.reads, query.after, query.limit + 1))

    @route("POST", "/v1/agents", MANAGE_AGENTS, status=201, limits=CEILINGS)
    async def add_agent(call: Call, body: NewAgent) -> Agent:
        """Make an agent of a blueprint version."""
        agent = ids.new("agent")
        await call.run(agents.add, agent, body, clock.now_ms())
        return await agents.agent(call.reads, agent)

    @route("GET", "/v1/agents/{agent_id}", READ_AGENTS)
    async def get_agent(call: Call, agent_id: AgentId) -> Agent:
        """One agent."""
        return await agents.agent(call.reads, agent_id)

    @route("PATCH", "/v1/agents/{agent_id}", MANAGE_AGENTS, limits=CEILINGS)
    async def change_agent(call: Call, agent_id: AgentId, body: AgentChange) -> Agent:
        """Change an agent's name, purpose, owner, blueprint version, ceiling or expiry."""
        await call.run(agents.change, agent_id, body, clock.now_ms())
        return await agents.agent(call.reads, agent_id)

    @route("POST", "/v1/agents/{agent_id}/deactivate", MANAGE_AGENTS)
    async def deactivate_agent(call: Call, agent_id: AgentId, body: Because) -> Agent:
        """End what an agent may do."""
        await call.run(parties.deactivate, PartyKind.AGENT, agent_id, body.reason)
        return await agents.agent(call.reads, agent_id)

    @route("POST", "/v1/agents/{agent_id}/reactivate", MANAGE_AGENTS)
    async def reactivate_agent(call: Call, agent_id: AgentId) -> Agent:
        """Let an agent act again."""
        await call.run(parties.reactivate, PartyKind.AGENT, agent_id)
        return await agents.agent(call.reads, agent_id)

    @route("DELETE", "/v1/agents/{agent_id}", MANAGE_AGENTS, status=204)
    async def remove_agent(call: Call, agent_id: AgentId) -> None:
        """Remove an agent for good."""
        await call.run(agents.remove, agent_id)

    return (list_agents, add_agent, get_agent, change_agent, deactivate_agent, reactivate_agent, remove_agent)


def _tie_routes() -> tuple[Route, ...]:
    @route("GET", "/v1/agents/{agent_id}/{tie}", READ_AGENTS)
    async def list_ties(call: Call, agent_id: AgentId, tie: Tie, query: Pages) -> Page[Tied]:
        """Who answers for an agent, or who may delegate to it."""
        await agents.agent(call.reads, agent_id)
        relation = _RELATIONS[tie]
        return query.page(await call.reads.all(ties.TIED, agent_id=agent_id, relation=relation, **query.asked))

    @route("PUT", "/v1/agents/{agent_id}/{tie}/{party_id}", MANAGE_AGENTS, status=204)
    async def tie_agent(call: Call, agent_id: AgentId, tie: Tie, party_id: AnyId) -> None:
        """Let somebody answer for an agent, or delegate to it."""
        async with call.begin() as w:
            ties.tie(w, agent_id, _RELATIONS[tie], party_id)

    @route("DELETE", "/v1/agents/{agent_id}/{tie}/{party_id}", MANAGE_AGENTS, status=204)
    async def untie_agent(call: Call, agent_id: AgentId, tie: Tie, party_id: AnyId) -> None:
        """Let somebody answer for an agent, or delegate to it, no more."""
        async with call.begin() as w:
            ties.untie(w, agent_id, _RELATIONS[tie], party_id)

    return (list_ties, tie_agent, untie_agent)


def _visitor_routes(ids: IdSource, clock: Clock) -> tuple[Route, ...]:
    @route("GET", "/v1/visiting-agents", READ_AGENTS)
    async def list_visiting_agents(call: Call, query: Pages) -> Page[VisitingAgent]:
        """Agents of others that the organization lets in."""
        return query.page(await visitors.page(call.reads, query.after, query.limit + 1))

    @route("POST", "/v1/visiting-agents", MANAGE_AGENTS, status=201, limits=CEILINGS)
    async def let_in_visiting_agent(call: Call, body: NewVisitor) -> VisitingAgent:
        """Let an agent of others in."""
        agent = ids.new("agent")
        async with call.begin() as w:
            visitors.let_in(
                w,
                agent,
                body.name,
                body.client_id,
                body.ceiling,
                body.behind,
                now_ms=clock.now_ms(),
                ends_at_ms=body.ends_at_ms,
            )
        return await visitors.visitor(call.reads, agent)

    @route("GET", "/v1/visiting-agents/{agent_id}", READ_AGENTS)
    async def get_visiting_agent(call: Call, agent_id: AgentId) -> VisitingAgent:
        """One visiting agent."""
        return await visitors.visitor(call.reads, agent_id)

    @route("PATCH", "/v1/visiting-agents/{agent_id}", MANAGE_AGENTS, limits=CEILINGS)
    async def limit_visiting_agent(call: Call, agent_id: AgentId, body: Limiting) -> VisitingAgent:
        """Give a visiting agent another ceiling."""
        await call.run(visitors.limit, agent_id, body.ceiling)
        return await visitors.visitor(call.reads, agent_id)

    @route("POST", "/v1/visiting-agents/{agent_id}/deactivate", MANAGE_AGENTS)
    async def deactivate_visiting_agent(call: Call, agent_id: AgentId, body: Because) -> VisitingAgent:
        """End what a visiting agent may do."""
        await call.run(parties.deactivate, PartyKind.VISITING_AGENT, agent_id, body.reason)
        return await visitors.visitor(call.reads, agent_id)

    @route("POST", "/v1/visiting-agents/{agent_id}/reactivate", MANAGE_AGENTS)
    async def reactivate_visiting_agent(call: Call, agent_id: AgentId) -> VisitingAgent:
        """Let a visiting agent act again."""
        await call.run(parties.reactivate, PartyKind.VISITING_AGENT, agent_id)
        return await visitors.visitor(call.reads, agent_id)

    @route("DELETE", "/v1/visiting-agents/{agent_id}", MANAGE_AGENTS, status=204)
    async def remove_visiting_agent(call: Call, agent_id: AgentId) -> None:
        """Let a visiting agent in no more."""
        await call.run(visitors.remove, agent_id)

    @route("GET", "/v1/visiting-agents/{agent_id}/behind", READ_AGENTS)
    async def list_behind(call: Call, agent_id: AgentId, query: Pages) -> Page[Tied]:
        """Who may stand behind a visiting agent."""
        await visitors.visitor(call.reads, agent_id)
        found = await call.reads.all(ties.TIED, agent_id=agent_id, relation=ties.BEHIND, **query.asked)
        return query.page(found)

    @route("PUT", "/v1/visiting-agents/{agent_id}/behind/{party_id}", MANAGE_AGENTS, status=204)
    async def stand_behind(call: Call, agent_id: AgentId, party_id: AnyId) -> None:
        """Let a user, or a group's users, stand behind a visiting agent."""
        async with call.begin() as w:
            ties.tie(w, agent_id, ties.BEHIND, party_id)

    @route("DELETE", "/v1/visiting-agents/{agent_id}/behind/{party_id}", MANAGE_AGENTS, status=204)
    async def stand_back(call: Call, agent_id: AgentId, party_id: AnyId) -> None:
        """Let somebody stand behind a visiting agent no more."""
        async with call.begin() as w:
            ties.untie(w, agent_id, ties.BEHIND, party_id)

    return (
        *(list_visiting_agents, let_in_visiting_agent, get_visiting_agent, limit_visiting_agent),
        *(deactivate_visiting_agent, reactivate_visiting_agent, remove_visiting_agent),
        *(list_behind, stand_behind, stand_back),
    )
