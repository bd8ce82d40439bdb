"""Three servers on PostgreSQL, seen from outside: when the last of them says yes to what was cut, also stopped, cut off, or restored."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import msgspec
import pytest

import tenantry_sdk as sdk
from tenantry.cli.demo.cluster import Cluster
from tests.faults.places import Place
from tests.faults.storage import until
from tests.stand.assembled import Headers, Home, assembled, founded, secret_token
from tests.stand.credentials import ISSUER
from tests.stand.databases import postgres_database
from tests.stand.living import PATH, signed_in
from tests.stand.nodes import deployed
from tests.stand.processes import ServerProcess, server_process
from tests.stand.verifiers import Towards
from tests.stand.wire import Wire

BOUND_S = 1.0
LIVE = 100
"""Credentials of one user."""

_numbers = itertools.count(1)


class Town(msgspec.Struct, frozen=True, eq=False):
    """Three servers, and an organization with a user of many live credentials."""

    servers: list[ServerProcess]
    acme: Home
    user: str
    tokens: list[str]

    def headers(self, number: int) -> Headers:
        """Those of one of the credentials, round and round."""
        return {"Authorization": f"Bearer {self.tokens[number % len(self.tokens)]}"}

    async def cut(self, server: ServerProcess) -> float:
        """Cut the user; when that was answered."""
        path = f"/v1/branches/{self.user}/cut"
        answer = await server.client.post(path, json={"reason": "Gone."}, headers=self.acme.admin)
        assert answer.is_success, answer.text
        return time.monotonic()

    async def last_yes(self, server: ServerProcess) -> float:
        """Ask a server with one credential after the other, until all were refused; when the last was taken that was asked."""
        last, refused = 0.0, 0
        for number in itertools.count():
            began = time.monotonic()
            answer = await server.client.get(PATH, headers=self.headers(number))
            if answer.status_code == 200:
                last, refused = began, 0
            else:
                assert answer.status_code in (401, 503), answer.text
                refused += 1
            if refused == LIVE:
                return last
        raise AssertionError


class Street(msgspec.Struct, frozen=True, eq=False):
    """Three servers, and an organization that a node of this process made."""

    servers: list[ServerProcess]
    acme: Home


@pytest.fixture(scope="module")
async def street(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Street]:
    """The module's servers."""
    folder = tmp_path_factory.mktemp("served")
    database = postgres_database(cluster, f"served_{next(_numbers)}")
    async with AsyncExitStack() as opened:
        configs = [await deployed(database, folder / f"state{number}") for number in range(4)]
        house = await opened.enter_async_context(assembled(configs[3]))
        folders = [folder / f"server{number}" for number in range(3)]
        for one in folders:
            one.mkdir()
        starting = [server_process(config, one) for config, one in zip(configs, folders, strict=False)]
        servers = [await opened.enter_async_context(one) for one in starting]
        yield Street(servers, await founded(house, "acme"))


@pytest.fixture
async def town(street: Street) -> Town:
    """A user of this test alone, whose every credential every server takes."""
    acme = street.acme
    user = (await acme.made("POST", "/v1/users", {"email": "many@acme.example"}))["id"]
    await acme.made("PUT", f"/v1/roles/member/holders/{user}")
    tokens = [(await signed_in(acme, user)).token for _ in range(LIVE)]
    town = Town(street.servers, acme, user, tokens)
    for server in street.servers:
        asked = [server.client.get(PATH, headers=town.headers(number)) for number in range(LIVE)]
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
    return town


async def test_the_last_yes_to_a_hundred_cut_credentials_is_within_a_second_on_every_node_and_outside(
    town: Town,
) -> None:
    port = town.servers[1].client.base_url.port
    assert port is not None
    credential = sdk.Token(town.acme.admin["Authorization"].removeprefix("Bearer "))
    async with Towards(port) as towards:
        http = httpx2.AsyncClient(transport=towards)
        async with sdk.Verifier(ISSUER, audience=ISSUER, credential=credential, http=http) as verifier:
            await verifier.feed.ready()
            for token in town.tokens:
                await verifier.verify(token)

            async def outside() -> float:
                last, left = 0.0, set(town.tokens)
                while left:
                    for token in tuple(left):
                        began = time.monotonic()
                        try:
                            await verifier.verify(token)
                            last = began
                        except (sdk.Ended, sdk.Stale):
                            left.discard(token)
                    await asyncio.wait({asyncio.ensure_future(town.acme.house.node.engine.changed(0.005))})
                return last

            asking = [asyncio.ensure_future(one) for one in (*map(town.last_yes, town.servers), outside())]
            cut = await town.cut(town.servers[0])
            last = await asyncio.gather(*asking)
            assert max(last) - cut <= BOUND_S, [round(one - cut, 3) for one in last]


async def test_a_node_that_was_stopped_during_the_cut_wakes_up_refusing(town: Town) -> None:
    *running, stopped = town.servers
    stopped.stop()
    cut = await town.cut(running[0])
    waiting = [asyncio.ensure_future(stopped.client.get(PATH, headers=town.headers(number))) for number in range(8)]
    for server in running:
        assert await town.last_yes(server) - cut <= BOUND_S

    async def over() -> bool:
        return time.monotonic() > cut + BOUND_S

    await until(over, 3, "the bound")
    assert not any(one.done() for one in waiting)
    stopped.resume()
    answers = [answer.status_code for answer in await asyncio.gather(*waiting)]
    assert set(answers) <= {401, 503}, answers
    assert await town.last_yes(stopped) == 0


async def test_no_token_that_was_minted_in_a_race_with_the_end_of_its_service_outlives_it(town: Town) -> None:
    acme = town.acme
    service = acme.have["service_id"]
    secret = (await acme.made("POST", f"/v1/workloads/{service}/secrets", {}))["secret"]
    await acme.made("PUT", f"/v1/roles/member/holders/{service}")
    got: list[str] = []

    async def mint(server: ServerProcess) -> None:
        form = {"grant_type": "client_credentials", "resource": ISSUER}
        while True:
            answer = await server.client.post("/oauth/token", data=form, auth=(service, secret))
            if not answer.is_success:
                return
            got.append(answer.json()["access_token"])

    minting = [asyncio.ensure_future(mint(server)) for server in town.servers for _ in range(2)]

    async def some() -> bool:
        return len(got) > 12

    await until(some, 10, "tokens are minted")
    path = f"/v1/services/{service}/deactivate"
    assert (await town.servers[0].client.post(path, json={}, headers=acme.admin)).is_success
    ended = time.monotonic()
    await asyncio.gather(*minting)
    for server in town.servers:

        async def all_refused(server: ServerProcess = server) -> bool:
            asked = [server.client.get(PATH, headers={"Authorization": f"Bearer {one}"}) for one in got]
            return all(answer.status_code == 401 for answer in await asyncio.gather(*asked))

        await until(all_refused, 3, "every token is refused")
    assert time.monotonic() - ended < 5


@pytest.mark.long
async def test_ops_09_a_server_cut_from_its_database_says_stale_and_after_healing_refuses_what_was_cut(
    cluster: Cluster, tmp_path: Path
) -> None:
    """OPS-09: over HTTP: 503 while the line is silent, then 401 for what was cut meanwhile and 200 for what was not."""
    database = postgres_database(cluster, f"served_{next(_numbers)}")
    config, beside = [await deployed(database, tmp_path / name) for name in ("behind", "beside")]
    async with (
        Wire(cluster.directory, tmp_path / "line") as wire,
        assembled(beside) as other,
        assembled(wire.through(config)) as house,
    ):
        acme = await founded(other, "acme")
        dead = {"Authorization": f"Bearer {(await signed_in(acme, acme.have['user_id'])).token}"}

        async def said(headers: Headers) -> int:
            try:
                path = "/v1/feed/ping?within_ms=1000"
                return (await house.client.get(path, headers=headers, timeout=1)).status_code
            except httpx2.TimeoutException:
                return 0  # it waits for an answer that got lost

        async def says(headers: Headers, status: int) -> bool:
            return await said(headers) == status

        await until(lambda: says(dead, 200), 2, "both are taken")
        assert await said(acme.admin) == 200
        wire.silence()
        await acme.made("POST", f"/v1/branches/{acme.have['user_id']}/cut", {})
        await until(lambda: says(dead, 503), BOUND_S, "a server that hears nothing says so")
        assert (await house.client.get(PATH, headers=acme.admin)).status_code == 503
        wire.heal()
        await until(lambda: says(acme.admin, 200), 15, "it answers again")
        assert await said(dead) == 401
        wire.tear()


async def test_ops_12_a_restored_database_takes_no_token_that_was_got_before(place: Place, tmp_path: Path) -> None:
    """OPS-12: over HTTP: the tokens of the life before are refused, and the client gets one of the new life by its secret."""
    config = await deployed(place.database, tmp_path / "state")
    async with assembled(config) as house:
        acme = await founded(house, "acme")
        user = await signed_in(acme, acme.have["user_id"])
    place.back_up()
    async with assembled(config) as house:
        assert (await house.client.get(PATH, headers=acme.admin)).status_code == 200
        await msgspec.structs.replace(acme, house=house).made("POST", "/v1/groups", {"name": "After"})
    place.restore()
    async with assembled(config) as house:
        for headers in (acme.admin, user.headers(house)):
            assert (await house.client.get(PATH, headers=headers)).status_code == 401
        token = await secret_token(house, acme.have["admin_id"], acme.have["admin_secret"])
        assert (await house.client.get(PATH, headers={"Authorization": f"Bearer {token}"})).status_code == 200
