"""Whoever has ended, or descends from what has, gets nothing more, and does not hear why."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx2
import pytest

from tenantry.app.config import Config
from tenantry.core.errors import Ended
from tenantry.organizations import agents, jobs, keys, mcp_servers, organization, parties, services
from tenantry.organizations.parties import PartyKind
from tenantry.sessions.claims import Confirmation
from tenantry.sessions.tokens import AccessTokens
from tests.oauth.keys import KeyPair
from tests.oauth.stand import (
    API,
    CLASSES,
    Bearer,
    Server,
    basic,
    client,
    founded,
    refused,
    registered,
    resource,
    serving,
    with_secret,
)
from tests.stand.clock import ManualClock
from tests.stand.credentials import access_tokens
from tests.stand.nodes import node_of
from tests.stand.organizations import Organization

End = Callable[[Organization, Bearer], Awaitable[None]]
KINDS = {"service": PartyKind.SERVICE, "agent": PartyKind.AGENT, "mcp": PartyKind.MCP_SERVER, "job": PartyKind.JOB}


async def deactivated(org: Organization, bearer: Bearer) -> None:
    """The client lost its access."""
    async with org.begin() as w:
        await parties.deactivate(w, org.reads, KINDS[bearer.id.partition("_")[0]], bearer.id)


async def removed(org: Organization, bearer: Bearer) -> None:
    """The client was removed, or a job ended."""
    async with org.begin() as w:
        match bearer.id.partition("_")[0]:
            case "agent":
                await agents.remove(w, org.reads, bearer.id)
            case "mcp":
                await mcp_servers.remove(w, org.reads, bearer.id)
            case "job":
                await jobs.end(w, org.reads, bearer.id)
            case _:
                await parties.remove(w, org.reads, PartyKind.SERVICE, bearer.id)


async def suspended(org: Organization, bearer: Bearer) -> None:
    """Its organization was suspended."""
    async with org.begin(with_platform=True) as w:
        await organization.suspend(w, org.reads, "unpaid")


async def revoked(org: Organization, bearer: Bearer) -> None:
    """Its key was revoked."""
    async with org.begin() as w:
        await keys.revoke(w, org.reads, bearer.id, bearer.key)


@pytest.mark.parametrize("end", [deactivated, removed, suspended, revoked])
@pytest.mark.parametrize("named", CLASSES)
async def test_a_client_that_ended_gets_nothing_and_hears_what_a_stranger_hears(
    server: Server, acme: Organization, named: str, end: End
) -> None:
    bearer = await client(acme, named)
    assert (await server.token(bearer)).status_code == 200
    await end(acme, bearer)
    before = await acme.holdings()
    answer = await server.token(bearer)
    refused(answer, "invalid_client", 401)
    stranger = Bearer(server.node.ids.new("service"), bearer.key, bearer.pair)
    assert answer.content == (await server.token(stranger)).content
    assert await acme.holdings() == before


@pytest.mark.parametrize("named", CLASSES)
async def test_a_token_dies_with_the_key_that_it_was_got_by(server: Server, acme: Organization, named: str) -> None:
    bearer = await client(acme, named)
    other = Bearer(bearer.id, await registered(acme, bearer.id, pair := KeyPair.generate()), pair)
    tokens = access_tokens(server.node)
    given = [(one, (await server.token(one)).json()["access_token"]) for one in (bearer, other)]
    async with acme.begin() as w:
        await keys.revoke(w, acme.reads, bearer.id, bearer.key)
    await server.node.cuts.lineage(acme.id, (), w.revision)
    outcome = [await ended(tokens, token, one) for one, token in given]
    assert outcome == [True, False]


async def ended(tokens: AccessTokens, token: str, bearer: Bearer) -> bool:
    """Whether a token is dead in its own bearer's hands."""
    try:
        await tokens.verify(token, audience=API, sender=Confirmation(jkt=bearer.pair.thumbprint))
    except Ended:
        return True
    return False


async def test_an_agent_without_a_sponsor_or_whose_blueprint_ended_gets_nothing(
    server: Server, acme: Organization
) -> None:
    orphan, outlived = await client(acme, "agent"), await client(acme, "agent")
    for bearer in (orphan, outlived):
        assert (await server.token(bearer)).status_code == 200
    sponsor = (await agents.agent(acme.reads, orphan.id)).owner_id
    blueprint = (await agents.agent(acme.reads, outlived.id)).blueprint_id
    async with acme.begin() as w:
        await parties.deactivate(w, acme.reads, PartyKind.USER, sponsor)
        await parties.deactivate(w, acme.reads, PartyKind.BLUEPRINT, blueprint)
    for bearer in (orphan, outlived):
        refused(await server.token(bearer), "invalid_client", 401)
    async with acme.begin() as w:
        await parties.reactivate(w, acme.reads, PartyKind.USER, sponsor)
    assert (await server.token(orphan)).status_code == 200


async def test_a_job_whose_initiator_ended_gets_nothing(server: Server, acme: Organization) -> None:
    bearer = await client(acme, "job")
    assert (await server.token(bearer)).status_code == 200
    initiator = (await acme.reads.one(jobs.JOB, id=bearer.id)).initiator_id
    assert initiator is not None
    async with acme.begin() as w:
        await parties.deactivate(w, acme.reads, PartyKind.SERVICE, initiator)
    refused(await server.token(bearer), "invalid_client", 401)


async def test_a_job_whose_run_was_stopped_gets_nothing(server: Server, acme: Organization) -> None:
    bearer = await client(acme, "job")
    assert (await server.token(bearer)).status_code == 200
    await acme.cut((await acme.reads.one(jobs.JOB, id=bearer.id)).run_id)
    refused(await server.token(bearer), "invalid_client", 401)


async def test_a_job_that_an_agent_asked_for_dies_with_the_agents_blueprint(server: Server, acme: Organization) -> None:
    bearer, tokens = await client(acme, "job of an agent"), access_tokens(server.node)
    token = (await server.token(bearer)).json()["access_token"]
    assert not await ended(tokens, token, bearer)
    blueprint = (await acme.reads.one(jobs.JOB, id=bearer.id)).initiator_blueprint_id
    assert blueprint is not None
    async with acme.begin() as w:
        await parties.deactivate(w, acme.reads, PartyKind.BLUEPRINT, blueprint)
    await server.node.cuts.lineage(acme.id, (), w.revision)
    assert await ended(tokens, token, bearer)
    refused(await server.token(bearer), "invalid_client", 401)


async def test_a_client_that_is_active_again_gets_tokens_again(server: Server, acme: Organization) -> None:
    bearer = await client(acme, "service")
    await deactivated(acme, bearer)
    refused(await server.token(bearer), "invalid_client", 401)
    async with acme.begin() as w:
        await parties.reactivate(w, acme.reads, PartyKind.SERVICE, bearer.id)
    assert (await server.token(bearer)).status_code == 200


async def test_a_node_that_has_not_heard_lately_gives_no_token(server: Server, acme: Organization) -> None:
    bearer = await client(acme, "service")
    assert (await server.token(bearer)).status_code == 200
    server.node.lease.withheld.add(acme.id)
    answer = await server.token(bearer)
    server.node.lease.withheld.discard(acme.id)
    refused(answer, "temporarily_unavailable", 503)
    assert int(answer.headers["Retry-After"]) >= 1
    assert (await server.token(bearer)).status_code == 200


async def test_a_client_and_its_key_count_until_the_millisecond_of_their_end(fresh: Config, clock: ManualClock) -> None:
    async with node_of(fresh, clock=clock) as node, serving(node, fresh) as server:
        acme = await founded(node)
        await resource(acme)
        ends_ms = clock.now_ms() + 3_000
        ending, lasting = node.ids.new("service"), await with_secret(acme)
        async with acme.begin() as w:
            services.add(w, ending, "Ending", clock.now_ms(), ends_ms)
        of_ending = await with_secret(acme, ending)
        ending_of_lasting = await with_secret(acme, lasting.id, ends_ms)
        clock.advance(2_000)  # a token lives whole seconds
        for bearer in (of_ending, ending_of_lasting, lasting):
            assert (await heard(server, bearer)).status_code == 200
        clock.advance(1_000)
        for bearer in (of_ending, ending_of_lasting):
            refused(await heard(server, bearer), "invalid_client", 401)
        assert (await heard(server, lasting)).status_code == 200


async def heard(server: Server, bearer: Bearer) -> httpx2.Response:
    """A token by secret, once the node has heard from the changelog at its present time."""
    async with asyncio.timeout(5):
        while not server.node.lease.holds():
            await server.node.engine.changed(0.02)
    return await server.post(server.form(), basic(bearer))
