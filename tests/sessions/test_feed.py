"""The feed tells every cut that can still end something, of the subscriber's organization and the platform, and how old its word is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from tenantry.app.config import Config
from tenantry.core import scopes
from tenantry.core.errors import Stale
from tenantry.core.ids import PLATFORM
from tenantry.core.limits import LEASE_MS
from tenantry.core.principal import Principal
from tenantry.sessions.feed import QUEUE_MAX, STREAM_LIVES_S
from tenantry.sessions.routes import routes
from tests.stand.clock import ManualClock
from tests.stand.http import Served, served
from tests.stand.organizations import Organization, open_organization
from tests.stand.sse import Sent, events
from tests.stand.tree import Forest, forest, made


class Follower:
    """A subscriber over HTTP."""

    def __init__(self, server: Served, response: httpx2.Response) -> None:
        self._server = server
        self._events = events(response)

    async def next(self, *names: str) -> Sent:
        """The next event of one of these names."""
        async with asyncio.timeout(5):
            while True:
                event = await anext(self._events)
                if event.name in names:
                    return event

    async def cuts_until(self, name: str) -> list[str]:
        """The ids cut before an event of this name."""
        found: list[str] = []
        while (event := await self.next("cuts", name)).name == "cuts":
            found += [cut["id"] for cut in event.data]
        return found


class Stand:
    """A served node with two organizations."""

    def __init__(self, woods: Forest, server: Served, acme: Organization, globex: Organization) -> None:
        self.woods = woods
        self.server = server
        self.acme = acme
        self.globex = globex
        self.platform = Organization(woods.node, scopes.of_platform())

    async def caller(self, org: str, *path: str) -> dict[str, str]:
        """The headers of a service of an organization."""
        node = self.woods.node
        service = node.ids.new("service")
        lineage = await node.cuts.lineage(org, (org, *(path or (service,))), 0)
        return self.server.enter(service, Principal(service, org, lineage))

    @asynccontextmanager
    async def follow(self, org: str, *path: str, after: str = "") -> AsyncIterator[Follower]:
        """A subscriber of an organization."""
        headers = await self.caller(org, *path) | ({"Last-Event-ID": after} if after else {})
        async with self.server.client.stream("GET", "/v1/feed", headers=headers) as response:
            assert response.status_code == 200
            assert response.headers["content-type"].startswith("text/event-stream")
            yield Follower(self.server, response)


@pytest.fixture
async def stand(fresh: Config) -> AsyncIterator[Stand]:
    """A served node of a deployment of its own."""
    async with forest(fresh, heartbeat_s=0.1) as woods:
        own = routes(woods.kinds, woods.receipts, woods.feed, woods.node.clock)
        async with served(woods.node, fresh, routes=own) as server:
            yield Stand(woods, server, await open_organization(woods.node), await open_organization(woods.node))


async def test_a_subscriber_hears_what_was_cut_before_and_after_it_came_and_nothing_of_its_neighbour(
    stand: Stand,
) -> None:
    await stand.acme.cut("session_1")
    await stand.globex.cut("session_2")
    await stand.platform.cut("account_1")
    async with stand.follow(stand.acme.id) as follower:
        hello = await follower.next("hello")
        assert hello.data["organization"] == stand.acme.id
        assert hello.data["incarnation"] == 1
        assert sorted(await follower.cuts_until("now")) == ["account_1", "session_1"]
        await stand.globex.cut("session_3")
        await stand.acme.cut("session_4")
        event = await follower.next("cuts")
        assert event.data == [{"org": stand.acme.id, "id": "session_4", "rev": 2}]


async def test_the_platform_hears_of_all(stand: Stand) -> None:
    await stand.acme.cut("session_1")
    await stand.globex.cut("session_2")
    async with stand.follow(PLATFORM) as follower:
        assert sorted(await follower.cuts_until("now")) == ["session_1", "session_2"]
        await stand.globex.cut("session_3")
        while (cut := (await follower.next("cuts")).data[0])["id"] != "session_3":
            pass  # what it was told before may come once more
        assert cut["org"] == stand.globex.id


async def test_whoever_comes_back_hears_what_came_after_its_last_event_and_nothing_twice(stand: Stand) -> None:
    await stand.acme.cut("session_1")
    async with stand.follow(stand.acme.id) as follower:
        place = (await follower.next("now")).id
        await stand.acme.cut("session_2")
        last = (await follower.next("cuts")).id
    await stand.acme.cut("session_3")
    await stand.platform.cut("account_1")
    async with stand.follow(stand.acme.id, after=place) as follower:
        assert sorted(await follower.cuts_until("now")) == ["account_1", "session_2", "session_3"]
    async with stand.follow(stand.acme.id, after=last) as follower:
        assert sorted(await follower.cuts_until("now")) == ["account_1", "session_3"]


async def test_a_subscriber_is_told_the_newest_checkpoint(stand: Stand) -> None:
    async with stand.follow(stand.acme.id) as follower:
        await stand.acme.add_member("Anne")
        checkpoint = await stand.acme.checkpointed()
        while (await follower.next("checkpoint")).data["note"] != checkpoint.note.decode():
            pass


async def test_a_subscriber_whose_credential_is_cut_is_told_and_let_go(stand: Stand) -> None:
    service = stand.woods.node.ids.new("service")
    async with stand.follow(stand.acme.id, service) as follower, stand.follow(stand.acme.id) as other:
        await follower.next("now")
        await other.next("now")
        await stand.acme.cut(service)
        assert (await follower.next("ended", "over", "")).name == "ended"
        await other.next("cuts")
        assert (await other.next("", "ended")).name == ""


async def test_a_stream_ends_by_itself_so_that_its_credential_is_looked_at_again(
    fresh: Config, clock: ManualClock
) -> None:
    async with forest(fresh, clock, heartbeat_s=0.05) as woods:
        acme = await open_organization(woods.node)
        caller = await acme.issue("service_1")
        names: list[bytes] = []
        async for piece in woods.feed.follow(caller, acme.id, ""):
            names.append(piece.partition(b"\n")[0])
            if piece == b":\n\n":
                clock.advance(STREAM_LIVES_S * 1000)
        assert names[-1] == b"event: over"


async def test_a_subscriber_that_reads_too_slowly_is_dropped_and_told_so(fresh: Config) -> None:
    async with forest(fresh) as woods:
        acme = await open_organization(woods.node)
        stream = woods.feed.follow(await acme.issue("service_1"), acme.id, "")
        await anext(stream)
        await asyncio.gather(*(acme.cut(f"session_{number}") for number in range(QUEUE_MAX + 2)))
        await woods.node.cuts.lineage(acme.id, (), QUEUE_MAX + 2)
        names = [piece.partition(b"\n")[0] async for piece in stream]
        assert names[-1] == b"event: dropped"


async def test_a_ping_states_the_age_of_the_nodes_last_read_as_it_answers(fresh: Config, clock: ManualClock) -> None:
    async with forest(fresh, clock) as woods:
        acme = await open_organization(woods.node)
        await woods.node.following.close()
        before = woods.feed.pong(acme.id, 1_000).age_ms
        clock.advance(LEASE_MS - 1 - int(before))
        assert woods.feed.pong(acme.id, 1_000).age_ms == pytest.approx(LEASE_MS - 1, abs=1)
        clock.advance(2)
        with pytest.raises(Stale):
            woods.feed.pong(acme.id, 1_000)


async def test_a_ping_tells_the_cuts_applied_in_the_time_asked_for_whatever_their_own_time(
    fresh: Config, clock: ManualClock
) -> None:
    async with forest(fresh, clock) as woods:
        acme, globex = await open_organization(woods.node), await open_organization(woods.node)
        clock.advance(10)
        for cut in ("session_1", "session_2"):
            await globex.cut("session_3")
            revision = await acme.cut(cut)
            await woods.node.cuts.lineage(acme.id, (), revision)
            clock.advance(100)
        both, last = woods.feed.pong(acme.id, 205), woods.feed.pong(acme.id, 105)
        assert ([cut.id for cut in both.cuts], [cut.id for cut in last.cuts]) == (
            ["session_2", "session_1"],
            ["session_2"],
        )
        assert both.whole
        assert not woods.feed.pong(acme.id, 215).whole
        assert len(woods.feed.pong(PLATFORM, 205).cuts) == 4


async def test_a_ping_says_so_when_it_cannot_reach_as_far_back_as_was_asked(fresh: Config, clock: ManualClock) -> None:
    async with forest(fresh, clock) as woods:
        acme = await open_organization(woods.node)
        clock.advance(2_000)
        await acme.cut("session_1")
        await woods.node.following.close()
        assert woods.feed.pong(acme.id, 1_000).whole
        assert not woods.feed.pong(acme.id, 3_000).whole


async def test_cutting_over_http_answers_at_once_and_the_receipt_follows(stand: Stand) -> None:
    alice = stand.woods.users.add(stand.acme, stand.woods.node.ids.new("user"))
    session = await made(stand.acme, "session", alice)
    caller = await stand.caller(stand.acme.id)
    client = stand.server.client
    answer = await client.post(f"/v1/branches/{alice}/cut", json={"reason": "left"}, headers=caller)
    cut = answer.json()
    assert (answer.status_code, cut["branch"], cut["bound_ms"]) == (200, alice, LEASE_MS)
    async with asyncio.timeout(5):
        while not (page := (await client.get(cut["receipt"], headers=caller)).json())["items"]:
            await stand.woods.node.engine.changed(0.02)
    (receipt,) = page["items"]
    assert (receipt["revision"], page["next"]) == (cut["revision"], None)
    assert session.id in {item["id"] for item in receipt["items"]}
    keys = (await client.get("/v1/receipts/keys")).json()["keys"]
    assert [key["alg"] for key in keys] == ["ES256"]


async def test_a_cut_session_is_ended_once_and_can_be_cut_again(stand: Stand) -> None:
    alice = stand.woods.users.add(stand.acme, stand.woods.node.ids.new("user"))
    session = await made(stand.acme, "session", alice)
    caller = await stand.caller(stand.acme.id)
    answers = [
        await stand.server.client.post(f"/v1/branches/{session.id}/cut", json={}, headers=caller) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [200, 200]


async def test_a_branch_of_another_organization_is_answered_like_one_that_never_was(stand: Stand) -> None:
    alice = stand.woods.users.add(stand.acme, stand.woods.node.ids.new("user"))
    caller, client = await stand.caller(stand.globex.id), stand.server.client
    answers = [
        await client.post(f"/v1/branches/{branch}/cut", json={}, headers=caller)
        for branch in (alice, stand.woods.node.ids.new("user"))
    ]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json() == answers[1].json()
    assert (await client.get(f"/v1/branches/{alice}/receipts", headers=caller)).status_code == 404
