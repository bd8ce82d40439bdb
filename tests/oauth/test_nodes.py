"""Three nodes on one database, and one before and after a restart: what one has seen all refuse, and all take the nonces of each."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest

from tenantry.app.config import Config
from tenantry.core.ids import PLATFORM
from tenantry.core.principal import SYSTEM
from tenantry.organizations import keys
from tests.oauth.keys import KeyPair
from tests.oauth.stand import Server, client, founded, posted, refused, resource, serving, with_secret
from tests.stand.nodes import deployed, node_of
from tests.stand.organizations import Organization

on_postgres = pytest.mark.parametrize("dialect", ["postgres"], indirect=True)  # on SQLite one process owns the file
Nodes = tuple[list[Server], Organization]


@pytest.fixture
async def nodes(fresh: Config, tmp_path: Path) -> AsyncIterator[Nodes]:
    """Three servers of one deployment, and an organization in it."""
    async with AsyncExitStack() as opened:
        configs = [fresh, *[await deployed(fresh.where(), tmp_path / f"state {name}") for name in "bc"]]
        running = [await opened.enter_async_context(node_of(config)) for config in configs]
        acme = await founded(running[0])
        await resource(acme)
        pairs = zip(running, configs, strict=True)
        yield [await opened.enter_async_context(serving(node, config)) for node, config in pairs], acme


async def raced(servers: list[Server], form: dict[str, str], headers: dict[str, str]) -> list[httpx2.Response]:
    """One request, released to all nodes together."""
    return list(await asyncio.gather(*(servers[n % len(servers)].post(form, headers) for n in range(12))))


def counted_once(answers: list[httpx2.Response], refused_as: int) -> None:
    """One token; the others were refused, or told to come back where a busy machine kept a node from hearing in time."""
    said = sorted(answer.status_code for answer in answers)
    assert said.count(200) == 1, said
    assert set(said) <= {200, refused_as, 503}, said


@on_postgres
async def test_oauth_13_an_assertion_raced_over_three_nodes_gives_one_token(nodes: Nodes, rounds: int) -> None:
    """OAUTH-13: its `jti` counts once whichever node sees it, and never again."""
    servers, acme = nodes
    for _ in range(rounds):
        bearer = await client(acme, "service")
        form = servers[0].form(**servers[0].by_assertion(bearer))
        before = await acme.holdings()
        answers = await raced(servers, form, {})
        counted_once(answers, 401)
        assert len((await acme.holdings()).leaves) == len(before.leaves) + 1
        for server in servers:
            refused(await server.post(form), "invalid_client", 401)


@on_postgres
async def test_oauth_21_a_proof_raced_over_three_nodes_gives_one_token(nodes: Nodes, rounds: int) -> None:
    """OAUTH-21: its `jti` counts once whichever node sees it, with a nonce of any of them, and never again."""
    servers, acme = nodes
    bearer = await with_secret(acme)
    form = servers[0].form(**posted(bearer))
    for number in range(rounds):
        proof = await servers[number % 3].proof(KeyPair.generate())
        answers = await raced(servers, form, proof)
        counted_once(answers, 400)
        for server in servers:
            refused(await server.post(form, proof), "invalid_dpop_proof")


@on_postgres
async def test_nonces_of_all_nodes_are_one_and_change_with_the_data_key(nodes: Nodes) -> None:
    servers, acme = nodes
    bearer = await with_secret(acme)
    form, pair = servers[0].form(**posted(bearer)), KeyPair.generate()
    old = await servers[1].proof(pair)
    await servers[0].node.keyring.rotate_data_key(PLATFORM, SYSTEM)
    for server in servers:
        refused(await server.post(form, old), "use_dpop_nonce")
    fresh = await servers[2].proof(pair)
    assert (await servers[0].post(form, fresh)).status_code == 200


@on_postgres
async def test_a_key_revoked_on_one_node_proves_nothing_on_the_others_from_then_on(nodes: Nodes) -> None:
    servers, acme = nodes
    bearer = await client(acme, "agent")
    for server in servers:
        assert (await server.token(bearer)).status_code == 200
    async with acme.begin() as w:
        await keys.revoke(w, acme.reads, bearer.id, bearer.key)
    for server in servers:
        refused(await server.token(bearer), "invalid_client", 401)


async def test_what_was_presented_stays_presented_over_a_restart(fresh: Config) -> None:
    async with node_of(fresh) as node:
        acme = await founded(node)
        await resource(acme)
        bearer = await client(acme, "service")
        async with serving(node, fresh) as server:
            proof = await server.proof(bearer.pair)
            form = server.form(**server.by_assertion(bearer))
            assert (await server.post(form, proof)).status_code == 200
    async with node_of(fresh) as node, serving(node, fresh) as server:
        refused(await server.post(form), "invalid_client", 401)
        refused(await server.post(server.form(**server.by_assertion(bearer)), proof), "invalid_dpop_proof")
        assert (await server.token(bearer)).status_code == 200
