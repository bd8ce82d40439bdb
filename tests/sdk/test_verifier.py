"""A verifier outside says yes only to what holds now, and never later than one budget after a cut."""

import asyncio

import httpx2
import pytest

import tenantry_sdk as sdk
from tenantry.app.config import Config
from tenantry.core import scopes
from tenantry.core.limits import LEASE_MS
from tenantry_sdk import Verifier
from tenantry_sdk.feed import LEASE_S
from tests.stand.clock import ManualClock
from tests.stand.credentials import KEY, Holder, holders, minted
from tests.stand.organizations import Organization, open_organization
from tests.stand.verifiers import Place, place

CLASSES = ("user", "agent", "agent for a user", "service", "mcp server", "job", "entry")


def thumbprint(holder: Holder) -> str | None:
    """What the holder's sender proves."""
    return holder.confirmation.jkt or None


async def refused(verifier: Verifier, token: str, holder: Holder, *, within_s: float = 1.0) -> sdk.TenantryError:
    """Wait, at most a second, for a verifier to refuse."""
    async with asyncio.timeout(within_s):
        while True:
            try:
                await verifier.verify(token, thumbprint=thumbprint(holder))
            except (sdk.Ended, sdk.Stale) as error:
                return error
            await asyncio.sleep(0)  # let the verifier's own tasks run


@pytest.mark.parametrize("named", CLASSES)
async def test_a_token_of_each_class_is_taken_and_refused_within_a_second_after_a_cut(
    here: Place, verifier: Verifier, named: str
) -> None:
    acme = await open_organization(here.woods.node)
    holder, other = (holders(acme.node, acme.id)[named] for _ in range(2))
    token, others = [(await minted(here.tokens, acme.id, one)).token for one in (holder, other)]
    verified = await verifier.verify(token, thumbprint=thumbprint(holder))
    assert verified.chain == (*holder.actors, holder.subject)
    assert verified.organization == acme.id
    assert verified.identity == named.removesuffix(" for a user").replace(" ", "_")
    assert verified.lineage.path == holder.path
    await acme.cut(holder.path[-1])
    assert type(await refused(verifier, token, holder)) is sdk.Ended
    await verifier.verify(others, thumbprint=thumbprint(other))


async def test_a_cut_of_the_signing_key_ends_what_it_signed(here: Place, verifier: Verifier) -> None:
    acme = await open_organization(here.woods.node)
    holder = holders(acme.node, acme.id)["user"]
    made = await minted(here.tokens, acme.id, holder)
    await verifier.verify(made.token)
    assert made.verified.principal.lineage is not None
    await Organization(acme.node, scopes.of_platform()).cut(made.verified.principal.lineage.platform_path[-1])
    assert type(await refused(verifier, made.token, holder)) is sdk.Ended


async def test_what_was_cut_before_the_verifier_came_is_refused(here: Place) -> None:
    acme = await open_organization(here.woods.node)
    holder = holders(acme.node, acme.id)["user"]
    token = (await minted(here.tokens, acme.id, holder)).token
    await acme.cut(holder.path[1])
    late = here.verifier()
    with pytest.raises(sdk.Stale):
        await late.verify(token)
    async with late:
        await late.feed.ready()
        with pytest.raises(sdk.Ended):
            await late.verify(token)


async def test_an_organizations_own_verifier_takes_its_tokens_and_no_others(here: Place) -> None:
    acme, globex = [await open_organization(here.woods.node) for _ in range(2)]
    tokens = [(await minted(here.tokens, org.id, holders(org.node, org.id)["user"])).token for org in (acme, globex)]
    async with here.verifier(acme.id) as own:
        await own.feed.ready()
        assert (await own.verify(tokens[0])).organization == acme.id
        with pytest.raises(sdk.WrongOrganization):
            await own.verify(tokens[1])
        here.towards.lost = "/"
        async with asyncio.timeout(2):
            while own.feed.holds():
                await here.woods.node.engine.changed(0.02)
        with pytest.raises(sdk.WrongOrganization):  # whatever the server would say of the token
            await own.verify(tokens[1])


async def test_ops_09_a_verifier_that_is_cut_off_stops_saying_yes_and_says_yes_again(
    here: Place, verifier: Verifier
) -> None:
    """OPS-09: within one budget of the last word the SDK says nothing, never a cached yes; after healing it says yes again."""
    acme = await open_organization(here.woods.node)
    holder = holders(acme.node, acme.id)["user"]
    token = (await minted(here.tokens, acme.id, holder)).token
    await verifier.verify(token)
    here.towards.lost = "/"
    assert type(await refused(verifier, token, holder, within_s=LEASE_S + 0.3)) is sdk.Stale
    here.towards.lost = None
    async with asyncio.timeout(2):
        while not verifier.feed.holds():
            await here.woods.node.engine.changed(0.02)
    await verifier.verify(token)


async def test_a_node_that_is_699_ms_behind_leaves_a_verifier_one_more(fresh: Config, clock: ManualClock) -> None:
    async with place(fresh, clock) as here:
        acme = await open_organization(here.woods.node)
        token = (await minted(here.tokens, acme.id, holders(acme.node, acme.id)["user"])).token
        async with here.verifier(clock=clock) as verifier:
            await verifier.feed.ready()
            await verifier.verify(token)
            await here.woods.node.following.close()
            clock.advance(LEASE_MS - 1 - int(here.woods.node.lease.age_ms()))
            await verifier.feed.ping()
            await verifier.verify(token)
            clock.advance(2)
            with pytest.raises(sdk.Unreachable):
                await verifier.feed.ping()
            with pytest.raises(sdk.Stale):
                await verifier.verify(token)


async def test_a_ping_that_takes_long_renews_from_when_it_was_sent(fresh: Config, clock: ManualClock) -> None:
    sdk_clock = ManualClock()
    async with place(fresh, clock) as here, here.verifier(clock=sdk_clock) as verifier:
        await verifier.feed.ready()
        await here.woods.node.following.close()

        async def slow(request: httpx2.Request) -> httpx2.Response:
            answer = await type(here.towards).handle_async_request(here.towards, request)
            sdk_clock.advance(LEASE_MS - 1)
            return answer

        here.towards.__dict__["handle_async_request"] = slow
        await verifier.feed.ping()
        assert verifier.feed.holds()
        sdk_clock.advance(2)
        assert not verifier.feed.holds()


async def test_a_stream_alone_renews_nothing(fresh: Config, clock: ManualClock) -> None:
    async with place(fresh, clock) as here, here.verifier(clock=clock) as verifier:
        acme = await open_organization(here.woods.node)
        holder, other = (holders(acme.node, acme.id)["user"] for _ in range(2))
        token, others = [(await minted(here.tokens, acme.id, one)).token for one in (holder, other)]
        await verifier.feed.ready()
        await verifier.verify(others)
        here.towards.lost = "/v1/feed/ping"
        clock.advance(LEASE_MS + 1)
        assert type(await refused(verifier, token, holder)) is sdk.Stale
        await acme.cut(holder.path[1])
        async with asyncio.timeout(2):
            while type(await refused(verifier, token, holder)) is not sdk.Ended:
                await here.woods.node.engine.changed(0.02)
        assert type(await refused(verifier, others, other)) is sdk.Stale


async def test_a_bound_token_is_taken_from_whoever_proves_its_key_alone(here: Place, verifier: Verifier) -> None:
    acme = await open_organization(here.woods.node)
    token = (await minted(here.tokens, acme.id, holders(acme.node, acme.id)["agent"])).token
    await verifier.verify(token, thumbprint=KEY.jkt or None)
    for other in (None, "x" * 43):
        with pytest.raises(sdk.WrongSender):
            await verifier.verify(token, thumbprint=other)
    unbound = (await minted(here.tokens, acme.id, holders(acme.node, acme.id)["user"])).token
    with pytest.raises(sdk.WrongSender):
        await verifier.verify(unbound, thumbprint=KEY.jkt or None)


async def test_a_token_ends_at_its_second_and_for_its_resource_alone(fresh: Config, clock: ManualClock) -> None:
    async with place(fresh, clock) as here:
        acme = await open_organization(here.woods.node)
        made = await minted(here.tokens, acme.id, holders(acme.node, acme.id)["user"])
        async with here.verifier(clock=clock) as verifier, here.verifier(clock=clock, audience="https://b/") as other:
            await verifier.feed.ready()
            await verifier.verify(made.token)
            with pytest.raises(sdk.WrongAudience):
                await other.verify(made.token)
            clock.advance(made.verified.expires_at_ms - clock.now_ms() - 1)
            with pytest.raises(sdk.Stale):
                await verifier.verify(made.token)
            clock.advance(1)
            with pytest.raises(sdk.Expired):
                await verifier.verify(made.token)


async def test_the_newest_checkpoint_reaches_a_verifier(here: Place) -> None:
    acme = await open_organization(here.woods.node)
    await acme.add_member("Anne")
    checkpoint = await acme.checkpointed()
    async with here.verifier(acme.id) as verifier:
        await verifier.feed.ready()
        async with asyncio.timeout(2):
            while not verifier.feed.checkpoint:
                await here.woods.node.engine.changed(0.02)
        assert verifier.feed.checkpoint == checkpoint.note.decode()


async def test_keys_are_read_once_and_unknown_ones_cause_no_flood(here: Place, verifier: Verifier) -> None:
    acme = await open_organization(here.woods.node)
    for _ in range(3):
        await verifier.verify((await minted(here.tokens, acme.id, holders(acme.node, acme.id)["user"])).token)
    for kid in ("a", "b", "c"):
        assert await verifier.server.key(kid) is None
    assert here.towards.asked.count("/keys-of-a-test") == 1


@pytest.mark.parametrize("active", [True, False])
async def test_where_it_is_not_known_a_verifier_may_ask_the_server_each_time(here: Place, active: bool) -> None:
    acme = await open_organization(here.woods.node)
    holder = holders(acme.node, acme.id)["user"]
    token = (await minted(here.tokens, acme.id, holder)).token
    here.active[token] = active
    asking, silent = here.verifier(introspect=True), here.verifier()
    with pytest.raises(sdk.Stale):
        await silent.verify(token)
    for _ in range(2):
        if active:
            assert (await asking.verify(token)).subject == holder.subject
        else:
            with pytest.raises(sdk.Ended):
                await asking.verify(token)
    assert here.towards.asked.count("/introspection-of-a-test") == 2
    here.towards.lost = "/introspection-of-a-test"
    with pytest.raises(sdk.Unreachable):
        await asking.verify(token)
