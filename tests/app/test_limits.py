"""Floods: whoever comes too often, or takes too many places, is told so, and nobody else notices."""

import asyncio

import msgspec
import pytest

from tenantry.app.config import Config, HttpConfig
from tenantry.app.node import Node
from tenantry.protection import places
from tests.app.conftest import Caller
from tests.stand.http import Served, served
from tests.stand.organizations import Organization

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


async def test_a_caller_that_comes_too_often_is_told_when_to_come_back_and_another_is_served(
    server: Served, ann: Caller, globex: Organization
) -> None:
    bob = server.enter("tok-bob", await globex.issue("user_bob"))
    for _ in range(2):
        assert (await server.client.get("/v1/seldom", headers=ann.headers)).status_code == 200
    refused = await server.client.get("/v1/seldom", headers=ann.headers)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_often")
    assert int(refused.headers["Retry-After"]) >= 60
    assert (await server.client.get("/v1/entries", headers=ann.headers)).status_code == 200
    assert (await server.client.get("/v1/seldom", headers=bob)).status_code == 200


@pytest.mark.parametrize("limit", ["CALLER_MAX", "ORGANIZATION_MAX"])
async def test_one_that_takes_all_its_places_leaves_everybody_else_theirs(
    server: Served, ann: Caller, globex: Organization, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(places, limit, 1)
    gus = server.enter("tok-gus", await globex.issue("user_gus"))
    slow = asyncio.create_task(server.client.get("/v1/slow", headers=ann.headers))
    await server.gate.entered.wait()
    refused = await server.client.get("/v1/entries", headers=ann.headers)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_at_once")
    assert (await server.client.get("/v1/entries", headers=gus)).status_code == 200
    server.gate.opened.set()
    assert (await slow).status_code == 200
    assert (await server.client.get("/v1/entries", headers=ann.headers)).status_code == 200


@pytest.mark.parametrize(("proxies", "address"), [(["127.0.0.0/8"], "203.0.113.7"), ([], "127.0.0.1")])
async def test_pro_01_a_forwarded_address_counts_from_a_named_proxy_alone(
    node: Node, deployment: Config, proxies: list[str], address: str
) -> None:
    """PRO-01: the rightmost unnamed hop behind a named proxy; the connection's own without one. No other header is looked at."""
    config = msgspec.structs.replace(deployment, http=HttpConfig(proxies=proxies))
    lies = {"Forwarded": "for=198.51.100.9", "X-Real-IP": "198.51.100.9", "X_Forwarded_For": "198.51.100.9"}
    async with served(node, config) as server:
        said = {**lies, "X-Forwarded-For": "198.51.100.1, 203.0.113.7"}
        await server.client.get("/health/live", headers=said)
        assert server.log()[-1]["address"] == address
