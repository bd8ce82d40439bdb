"""Routes of the keys by which services, agents, MCP servers and jobs prove themselves.

Whoever may register an agent's key could act as it, so those of agents ask for what managing agents does, and the others' for what managing
workloads does.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from tenantry.core.clock import Clock
from tenantry.core.ids import IdSource
from tenantry.organizations import directory, keys, roles
from tenantry.organizations.keys import OVERLAP_MAX_MS, PrincipalKey, PublicJwk
from tenantry.organizations.permissions import MANAGE_AGENTS, MANAGE_WORKLOADS, READ_AGENTS, READ_WORKLOADS
from tenantry.organizations.wire import AgentId, Because, KeyId, Page, Pages, Time, WorkloadId
from tenantry.web import Call, Route, route


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A public key to register."""

    jwk: PublicJwk
    ends_at_ms: Time | None = None


class NewSecret(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Until when a secret is to be of use."""

    ends_at_ms: Time | None = None


class Issued(msgspec.Struct, frozen=True):
    """A secret, which is shown this once."""

    key: PrincipalKey
    secret: str


class Retiring(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many milliseconds a key stays in use beside its successor."""

    overlap_ms: Annotated[int, Meta(ge=0, le=OVERLAP_MAX_MS)]


def key_routes(ids: IdSource, clock: Clock) -> tuple[Route, ...]:
    """The routes of this file."""
    use = _Keys(ids, clock)
    return (*_workload_key_routes(use), *_agent_key_routes(use))


class _Keys:
    """What a route does with a principal's keys, whichever kind the principal is."""

    def __init__(self, ids: IdSource, clock: Clock) -> None:
        self._ids = ids
        self._clock = clock

    async def page(self, call: Call, principal_id: str, query: Pages) -> Page[PrincipalKey]:
        await directory.record(call.reads, principal_id)
        return query.page(await call.reads.all(keys.KEYS_OF, principal_id=principal_id, **query.asked))

    async def register(self, call: Call, principal_id: str, body: NewKey) -> PrincipalKey:
        key = self._ids.new("key")
        async with call.begin() as w:
            roles.refuse_to_rise(w, call.principal, principal_id)
            keys.register(w, key, principal_id, body.jwk, now_ms=self._clock.now_ms(), ends_at_ms=body.ends_at_ms)
        return await call.reads.one(keys.KEY, principal_id=principal_id, id=key)

    async def issue(self, call: Call, principal_id: str, body: NewSecret) -> Issued:
        key = self._ids.new("key")
        async with call.begin() as w:
            roles.refuse_to_rise(w, call.principal, principal_id)
            secret = keys.issue_secret(w, key, principal_id, now_ms=self._clock.now_ms(), ends_at_ms=body.ends_at_ms)
        return Issued(await call.reads.one(keys.KEY, principal_id=principal_id, id=key), secret.reveal())

    async def retire(self, call: Call, principal_id: str, key_id: str, body: Retiring) -> PrincipalKey:
        now = self._clock.now_ms()
        await call.run(keys.retire, principal_id, key_id, now_ms=now, overlap_ms=body.overlap_ms)
        return await call.reads.one(keys.KEY, principal_id=principal_id, id=key_id)

    async def revoke(self, call: Call, principal_id: str, key_id: str, body: Because) -> PrincipalKey:
        await call.run(keys.revoke, principal_id, key_id, body.reason)
        return await call.reads.one(keys.KEY, principal_id=principal_id, id=key_id)


def _workload_key_routes(use: _Keys) -> tuple[Route, ...]:
    @route("GET", "/v1/workloads/{principal_id}/keys", READ_WORKLOADS)
    async def list_workload_keys(call: Call, principal_id: WorkloadId, query: Pages) -> Page[PrincipalKey]:
        """Keys of a service, MCP server or job; of a secret, its digest."""
        return await use.page(call, principal_id, query)

    @route("POST", "/v1/workloads/{principal_id}/keys", MANAGE_WORKLOADS, status=201)
    async def register_workload_key(call: Call, principal_id: WorkloadId, body: NewKey) -> PrincipalKey:
        """Register a public key of a service, MCP server or job."""
        return await use.register(call, principal_id, body)

    @route("POST", "/v1/workloads/{principal_id}/secrets", MANAGE_WORKLOADS, status=201)
    async def issue_secret(call: Call, principal_id: WorkloadId, body: NewSecret) -> Issued:
        """Make a secret of a service or MCP server, the last resort; it is shown this once."""
        return await use.issue(call, principal_id, body)

    @route("POST", "/v1/workloads/{principal_id}/keys/{key_id}/retire", MANAGE_WORKLOADS)
    async def retire_workload_key(call: Call, principal_id: WorkloadId, key_id: KeyId, body: Retiring) -> PrincipalKey:
        """Let a key end after an overlap with its successor."""
        return await use.retire(call, principal_id, key_id, body)

    @route("POST", "/v1/workloads/{principal_id}/keys/{key_id}/revoke", MANAGE_WORKLOADS)
    async def revoke_workload_key(call: Call, principal_id: WorkloadId, key_id: KeyId, body: Because) -> PrincipalKey:
        """End a key and all that it obtained, at once."""
        return await use.revoke(call, principal_id, key_id, body)

    return (list_workload_keys, register_workload_key, issue_secret, retire_workload_key, revoke_workload_key)


def _agent_key_routes(use: _Keys) -> tuple[Route, ...]:
    @route("GET", "/v1/agents/{agent_id}/keys", READ_AGENTS)
    async def list_agent_keys(call: Call, agent_id: AgentId, query: Pages) -> Page[PrincipalKey]:
        """Keys of an agent."""
        return await use.page(call, agent_id, query)

    @route("POST", "/v1/agents/{agent_id}/keys", MANAGE_AGENTS, status=201)
    async def register_agent_key(call: Call, agent_id: AgentId, body: NewKey) -> PrincipalKey:
        """Register a public key of an agent, which never has a secret."""
        return await use.register(call, agent_id, body)

    @route("POST", "/v1/agents/{agent_id}/keys/{key_id}/retire", MANAGE_AGENTS)
    async def retire_agent_key(call: Call, agent_id: AgentId, key_id: KeyId, body: Retiring) -> PrincipalKey:
        """Let a key end after an overlap with its successor."""
        return await use.retire(call, agent_id, key_id, body)

    @route("POST", "/v1/agents/{agent_id}/keys/{key_id}/revoke", MANAGE_AGENTS)
    async def revoke_agent_key(call: Call, agent_id: AgentId, key_id: KeyId, body: Because) -> PrincipalKey:
        """End a key and all that it obtained, at once."""
        return await use.revoke(call, agent_id, key_id, body)

    return (list_agent_keys, register_agent_key, retire_agent_key, revoke_agent_key)
