"""Answers that are sent as they come: open as long as they need, in nobody's way, ended with the client or the server."""

import asyncio
import signal

import pytest

from tenantry.app import edge
from tenantry.protection import places
from tests.app.conftest import Caller
from tests.stand.http import Served
from tests.stand.organizations import Organization

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


async def test_each_piece_is_sent_as_it_comes_until_the_stream_ends(server: Served, ann: Caller) -> None:
    async with server.client.stream("GET", "/v1/ticks", headers=ann.headers) as answer:
        pieces = answer.aiter_bytes()
        assert await anext(pieces) == b"data: tick\n\n"
        assert not server.gate.left.is_set()
        server.gate.opened.set()
        assert b"".join([piece async for piece in pieces]) == b"data: tock\n\n"
    assert server.gate.left.is_set()


async def test_a_stream_carries_its_media_and_the_headers_that_its_operation_gave(server: Served, ann: Caller) -> None:
    for method in ("GET", "HEAD"):
        async with server.client.stream(method, "/v1/ticks", headers=ann.headers) as answer:
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            assert answer.headers["X-Accel-Buffering"] == "no"
            assert answer.headers["Cache-Control"] == "no-store"


async def test_an_open_stream_takes_no_place_of_what_is_under_way_and_has_places_of_its_own(
    server: Served, ann: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "UNDER_WAY_MAX", 1)
    monkeypatch.setattr(edge, "STREAMS_MAX", 1)
    async with server.client.stream("GET", "/v1/ticks", headers=ann.headers) as answer:
        pieces = answer.aiter_bytes()
        await anext(pieces)
        assert (await server.client.get("/v1/entries", headers=ann.headers)).status_code == 200
        assert (await server.client.get("/v1/ticks", headers=ann.headers)).status_code == 503
    server.gate.opened.set()
    async with asyncio.timeout(5):
        while (await server.client.get("/v1/ticks", headers=ann.headers)).status_code != 200:
            pass


@pytest.mark.parametrize("limit", ["STREAMS_CALLER_MAX", "STREAMS_ORGANIZATION_MAX"])
async def test_one_that_has_all_its_streams_open_leaves_everybody_else_theirs(
    server: Served, ann: Caller, globex: Organization, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(places, limit, 1)
    gus = server.enter("tok-gus", await globex.issue("user_gus"))
    async with server.client.stream("GET", "/v1/ticks", headers=ann.headers) as answer:
        await anext(answer.aiter_bytes())
        refused = await server.client.get("/v1/ticks", headers=ann.headers)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_at_once")
        async with server.client.stream("GET", "/v1/ticks", headers=gus) as other:
            assert other.status_code == 200
    server.gate.opened.set()
    async with asyncio.timeout(5):
        while (await server.client.get("/v1/ticks", headers=ann.headers)).status_code != 200:
            pass


async def test_a_stream_ends_when_its_client_goes(server: Served, ann: Caller) -> None:
    async with server.client.stream("GET", "/v1/ticks", headers=ann.headers) as answer:
        await anext(answer.aiter_bytes())
    async with asyncio.timeout(5):
        await server.gate.left.wait()


async def test_a_stream_ends_whole_when_the_server_stops(server: Served, ann: Caller) -> None:
    async with server.client.stream("GET", "/v1/ticks", headers=ann.headers) as answer:
        pieces = answer.aiter_bytes()
        await anext(pieces)
        server.ending.tell(signal.SIGINT)
        assert [piece async for piece in pieces] == []
    assert server.gate.left.is_set()
