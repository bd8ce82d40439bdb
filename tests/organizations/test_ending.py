"""Each way to end somebody's access, held against a credential that descends from whom it ends, and one of a neighbour's that lives on."""

from collections.abc import Awaitable, Callable

import msgspec
import pytest

from tenantry.core.errors import Ended
from tenantry.core.principal import SYSTEM
from tenantry.organizations import (
    agents,
    applications,
    blueprints,
    directory,
    entries,
    jobs,
    keys,
    lifecycle,
    mcp_servers,
    organization,
    parties,
    resources,
    services,
    users,
    visitors,
)
from tenantry.organizations.entries import ENTRY
from tenantry.organizations.parties import PartyKind
from tests.organizations.stock import stocked
from tests.organizations.tenants import Tenant

Have = dict[str, str]
PRINCIPALS = ("user_id", "agent_id", "visitor_id", "service_id", "server_id", "job_id")
EVERYBODY = (*PRINCIPALS, "application_id", "resource_id", "entry_id", "key_id", "agent_key_id")


class Way(msgspec.Struct, frozen=True):
    """A way to end access, and whose credentials die of it."""

    end: Callable[[Tenant, Have], Awaitable[object]]
    dead: tuple[str, ...]


def cut(kind: PartyKind, name: str) -> Callable[[Tenant, Have], Awaitable[object]]:
    return lambda tenant, have: tenant.run(parties.deactivate, kind, have[name], "Because.")


async def delete(tenant: Tenant, _: Have) -> None:
    async with tenant.begin(with_platform=True) as w:
        await lifecycle.kill(w, tenant.reads, tenant.node.keyring, "They left.")


async def leave(tenant: Tenant, have: Have) -> None:
    entry = await tenant.reads.one(ENTRY, id=have["entry_id"])
    async with tenant.begin(with_platform=True) as w:
        entries.end(w, entry, tenant.now, vetoed=True)


async def erased_again(tenant: Tenant, have: Have) -> None:
    await tenant.run(users.remove, have["user_id"])
    await lifecycle.erase_user(tenant.node.journal, tenant.scope, SYSTEM, have["user_id"])


WAYS = {
    "organization suspended": Way(lambda t, _: t.run(organization.suspend, "Unpaid."), EVERYBODY),
    "organization deleted": Way(delete, EVERYBODY),
    "user deactivated": Way(lambda t, h: t.run(users.deactivate, h["user_id"]), ("user_id", "job_id")),
    "user removed": Way(erased_again, ("user_id", "job_id")),
    "blueprint deactivated": Way(cut(PartyKind.BLUEPRINT, "blueprint_id"), ("agent_id", "agent_key_id")),
    "blueprint removed": Way(lambda t, h: t.run(blueprints.remove, h["blueprint_id"]), ("agent_id", "agent_key_id")),
    "agent deactivated": Way(cut(PartyKind.AGENT, "agent_id"), ("agent_id", "agent_key_id")),
    "agent removed": Way(lambda t, h: t.run(agents.remove, h["agent_id"]), ("agent_id", "agent_key_id")),
    "visiting agent deactivated": Way(cut(PartyKind.VISITING_AGENT, "visitor_id"), ("visitor_id",)),
    "visiting agent removed": Way(lambda t, h: t.run(visitors.remove, h["visitor_id"]), ("visitor_id",)),
    "service deactivated": Way(cut(PartyKind.SERVICE, "service_id"), ("service_id", "key_id")),
    "service removed": Way(lambda t, h: t.run(services.remove, h["service_id"]), ("service_id", "key_id")),
    "mcp server deactivated": Way(lambda t, h: t.run(mcp_servers.deactivate, h["server_id"]), ("server_id",)),
    "mcp server removed": Way(lambda t, h: t.run(mcp_servers.remove, h["server_id"]), ("server_id",)),
    "job ended": Way(lambda t, h: t.run(jobs.end, h["job_id"]), ("job_id",)),
    "application deactivated": Way(cut(PartyKind.APPLICATION, "application_id"), ("application_id",)),
    "application removed": Way(lambda t, h: t.run(applications.remove, h["application_id"]), ("application_id",)),
    "resource deactivated": Way(cut(PartyKind.RESOURCE, "resource_id"), ("resource_id",)),
    "resource removed": Way(lambda t, h: t.run(resources.remove, h["resource_id"]), ("resource_id",)),
    "key revoked": Way(lambda t, h: t.run(keys.revoke, h["service_id"], h["key_id"]), ("key_id",)),
    "operator sent out": Way(leave, ("entry_id",)),
}


async def paths(tenant: Tenant, have: Have) -> dict[str, tuple[str, ...]]:
    """What a credential of each descends from, as its record says; a key's comes below its principal's."""
    found = {name: (await directory.record(tenant.reads, have[name])).path() for name in PRINCIPALS}
    found["application_id"] = (await applications.application(tenant.reads, have["application_id"])).path()
    found["resource_id"] = (await resources.resource(tenant.reads, have["resource_id"])).path()
    found["entry_id"] = (await tenant.reads.one(ENTRY, id=have["entry_id"])).path()
    found["key_id"] = (*found["service_id"], have["key_id"])
    found["agent_key_id"] = (*found["agent_id"], have["agent_key_id"])
    return found


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_ended_is_refused_and_nothing_else_is(acme: Tenant, way: str) -> None:
    have = await stocked(acme)
    issued = {name: await acme.ledger.issue(*path) for name, path in (await paths(acme, have)).items()}
    for principal in issued.values():
        await acme.node.cuts.check(principal)
    await WAYS[way].end(acme, have)
    head = await acme.node.journal.head(acme.scope)
    await acme.node.cuts.lineage(acme.id, (), head.rev)  # the node has heard of it
    refused = []
    for name, principal in issued.items():
        try:
            await acme.node.cuts.check(principal)
        except Ended:
            refused.append(name)
    assert sorted(refused) == sorted(WAYS[way].dead)


def test_every_kind_of_party_that_has_credentials_has_a_way_to_end() -> None:
    assert {name for way in WAYS.values() for name in way.dead} == set(EVERYBODY)
