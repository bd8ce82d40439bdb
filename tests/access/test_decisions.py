"""Decisions: who may not act is refused first, each answer is of one model, what is asked is logged, and nothing fails open."""

import asyncio

import pytest

from tenantry.access.batch import Item
from tenantry.access.ceiling import Allowance, Ceiling
from tenantry.access.chain import Actor, Bound, Chain
from tenantry.access.decision_log import FOREVER_MS, LOSS_MS, Search, search
from tenantry.access.decisions import INACTIVE, NOW, Asking, Decision
from tenantry.access.errors import ConditionFailed
from tenantry.access.language import parse
from tenantry.access.routes import routes
from tenantry.access.stores import pin, store_of, write_model
from tenantry.app.config import Config
from tenantry.core.errors import Unavailable
from tenantry.core.limits import LEASE_MS
from tests.access.stand import DOCUMENTS, Access, Tenant, access_on, caller, service_of, tenant, wire_keys
from tests.access.store import key
from tests.stand.clock import ManualClock
from tests.stand.held import writes_held
from tests.stand.http import served

ANNE, BOB = "user:user_01J00000000000000000000ANN", "user:user_01J00000000000000000000BB0"


class Suspended:
    """Everybody but those here is active."""

    def __init__(self, *suspended: str) -> None:
        self.suspended = set(suspended)

    async def active(self, org: str, principal: str, *, at_least: int = 0) -> bool:
        del org, at_least
        return principal not in self.suspended


async def test_a_principal_that_is_not_active_is_refused_whatever_the_tuples_say(fresh: Config) -> None:
    standing = Suspended()
    async with access_on(fresh, standing=standing) as access:
        atlas = await tenant(access)
        await atlas.write(f"document:1#viewer@{ANNE}", "document:1#viewer@user:anne", "document:1#banned@user:anne")
        assert await atlas.allows(f"document:1#viewer@{ANNE}")
        standing.suspended = {ANNE.removeprefix("user:"), "anne"}
        scope, question = atlas.organization.scope, key(f"document:1#viewer@{ANNE}")
        decision = await access.decisions.check(scope, atlas.store, question)
        assert (decision.allowed, decision.because) == (False, INACTIVE)
        explained = await access.decisions.check(scope, atlas.store, question, explained=True)
        assert (explained.allowed, explained.because) == (False, INACTIVE)
        assert await atlas.allows("document:1#viewer@user:anne")  # the vendor's own subject has no standing


async def test_lists_and_batches_leave_out_whoever_is_not_active(fresh: Config) -> None:
    standing = Suspended(BOB.removeprefix("user:"))
    async with access_on(fresh, standing=standing) as access:
        atlas = await tenant(access)
        scope, store = atlas.organization.scope, atlas.store
        await atlas.write(f"document:1#viewer@{ANNE}", f"document:1#viewer@{BOB}")
        users = await access.decisions.list_users(scope, store, "document:1", "viewer", "user")
        assert users.items == [ANNE]
        for who, objects in ((ANNE, ["document:1"]), (BOB, [])):
            listed = await access.decisions.list_objects(scope, store, who, "viewer", "document")
            assert listed.items == objects
        items = [Item(who[-3:], key(f"document:1#viewer@{who}")) for who in (ANNE, BOB)]
        answers = await access.decisions.batch_check(scope, store, items)
        assert [one.allowed for one in answers.values() if isinstance(one, Decision)] == [True, False]


async def test_whoever_acts_for_a_user_may_what_both_may_and_the_first_that_denies_is_named(fresh: Config) -> None:
    standing, agent = Suspended(), "agent_01J00000000000000000000AGT"
    reading = Ceiling((Allowance("document", "reader"),))
    chain = Chain("user:anne", (Actor(agent, (Bound("actor", agent, reading),)),))
    async with access_on(fresh, standing=standing) as access:
        atlas = await tenant(access)
        await atlas.write("document:1#viewer@user:anne", "document:2#viewer@user:anne", "document:2#banned@user:anne")

        async def asked(question: str) -> Decision:
            return await access.decisions.check(atlas.organization.scope, atlas.store, key(question), chain=chain)

        both = await asked("document:1#reader@user:anne")
        assert (both.allowed, both.because) == (True, "")
        agents = await asked("document:1#viewer@user:anne")
        assert (agents.allowed, agents.because) == (False, f"the ceiling of {agent}")
        users = await asked("document:2#reader@user:anne")
        assert users.verdict is not None
        assert (users.allowed, users.verdict.denials[0].kind) == (False, "subject")
        standing.suspended = {agent}
        suspended = await asked("document:1#reader@user:anne")
        assert (suspended.allowed, suspended.because) == (False, INACTIVE)


async def test_acc_14_an_answer_is_of_the_model_that_it_names_while_models_flip(access: Access, rounds: int) -> None:
    """ACC-14: whoever is asked while a store moves between two models answers by one of them, and says which."""
    open_, closed = (
        DOCUMENTS,
        DOCUMENTS.replace("define reader: viewer but not banned", "define reader: viewer and banned"),
    )
    atlas = await tenant(access, open_)
    organization, clock = atlas.organization, access.node.clock
    await atlas.write("document:1#viewer@user:anne")
    first = (await store_of(organization.reads, atlas.store)).model
    async with organization.begin() as w:
        model = parse(f"model\n  schema 1.1\n{closed}").model
        row = await store_of(organization.reads, atlas.store)
        second = write_model(w, access.node.ids, row, model, clock.now_ms())

    async def flip() -> None:
        for n in range(10 * rounds):
            async with organization.begin() as w:
                pin(w, row, (first, second)[n % 2], clock.now_ms())

    flipping = asyncio.create_task(flip())
    answers: set[tuple[str, bool]] = set()
    while not flipping.done():
        asked = (
            access.decisions.check(organization.scope, atlas.store, key("document:1#reader@user:anne")) for _ in "ab"
        )
        answers |= {(one.model, one.allowed) for one in await asyncio.gather(*asked)}
    await flipping
    assert answers <= {(first, True), (second, False)}
    assert len(answers) == 2


async def test_a_condition_that_cannot_be_decided_permits_nothing_and_is_logged(access: Access) -> None:
    definitions = """
type user
type document
  relations
    define viewer: [user with on_call]
condition on_call(now: int) {
  now < 10
}
"""
    atlas = await tenant(access, definitions)
    scope, question = atlas.organization.scope, key("document:1#viewer@user:anne")
    await atlas.write("document:1#viewer@user:anne with on_call")
    for now, allowed in ((5, True), (15, False)):
        decision = await access.decisions.check(scope, atlas.store, question, context={"now": now})
        assert decision.allowed is allowed
    with pytest.raises(ConditionFailed):
        await access.decisions.check(scope, atlas.store, question)
    explained = await access.decisions.check(scope, atlas.store, question, explained=True)
    assert (explained.allowed, explained.because) == (False, "condition_failed")
    await access.log.flush()
    logged = await search(atlas.organization.reads, Search(), "", 10)
    failed = (0, "condition_failed")
    assert [(one.allowed, one.because) for one in logged] == [failed, failed, (0, ""), (1, "")]


async def test_a_decision_is_in_the_log_within_a_second(access: Access, atlas: Tenant) -> None:
    await atlas.write("document:1#viewer@user:anne")
    scope, asking = atlas.organization.scope, Asking("service_x", "request_y")
    decision = await access.decisions.check(scope, atlas.store, key("document:1#viewer@user:anne"), asking=asking)
    async with asyncio.timeout(LOSS_MS / 1000):
        while not (logged := await search(atlas.organization.reads, Search(subject="user:anne"), "", 10)):
            await access.node.engine.changed(0.05)
    (row,) = logged
    assert (row.store, row.model, row.rev, row.allowed) == (atlas.store, decision.model, decision.revision, 1)
    assert (row.caller, row.request) == ("service_x", "request_y")


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_decisions_are_found_by_their_time(fresh: Config, clock: ManualClock) -> None:
    async with access_on(fresh, clock=clock) as access:
        atlas, times = await tenant(access), list[int]()
        for n in range(3):
            times.append(clock.now_ms())
            await access.decisions.check(atlas.organization.scope, atlas.store, key(f"document:{n}#viewer@user:anne"))
            await access.log.flush()
            clock.advance(300)

        async def found(since: int = 0, until: int = FOREVER_MS) -> list[str]:
            wanted = Search(since=since, until=until)
            return [row.object for row in await search(atlas.organization.reads, wanted, "", 10)]

        assert await found() == ["document:2", "document:1", "document:0"]
        assert await found(since=times[1]) == ["document:2", "document:1"]
        assert await found(until=times[1]) == ["document:0"]
        assert await found(since=times[1], until=times[2]) == ["document:1"]


async def test_decisions_of_another_organization_are_not_found(access: Access, atlas: Tenant, other: Tenant) -> None:
    await atlas.write("document:1#viewer@user:anne")
    assert await atlas.allows("document:1#viewer@user:anne")
    await access.log.flush()
    assert await search(other.organization.reads, Search(subject="user:anne"), "", 10) == []
    assert len(await search(atlas.organization.reads, Search(subject="user:anne"), "", 10)) == 1


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_acc_18_nothing_is_decided_while_the_log_cannot_be_written(fresh: Config, clock: ManualClock) -> None:
    """ACC-18: a decision log that cannot be written closes the node to questions, and opens it again when it can."""
    async with access_on(fresh, clock=clock) as access:
        atlas = await tenant(access)
        await atlas.write("document:1#viewer@user:anne")
        async with writes_held(fresh, atlas.organization):
            assert await atlas.allows("document:1#viewer@user:anne")
            clock.advance(LOSS_MS + 1)
            with pytest.raises(Unavailable):
                await atlas.allows("document:1#viewer@user:anne")
        while access.log.waiting:
            await access.log.flush()
        async with asyncio.timeout(5):
            while not access.node.lease.holds():
                await access.node.engine.changed(0.05)
        assert await atlas.allows("document:1#viewer@user:anne")
        await access.log.flush()
        assert len(await search(atlas.organization.reads, Search(), "", 10)) == 2


async def test_acc_10_a_list_that_nobody_waits_for_keeps_no_writer_waiting(access: Access, atlas: Tenant) -> None:
    """ACC-10: whoever leaves while a list is looked for leaves nothing behind that keeps the graph as it is."""
    for n in range(10):
        await atlas.write(*(f"document:{n}-{m}#viewer@user:anne" for m in range(100)))
    scope = atlas.organization.scope
    lists = [
        asyncio.create_task(
            access.decisions.list_objects(scope, atlas.store, "user:anne", "reader", "document", at=NOW)
        )
        for _ in range(20)
    ]
    await asyncio.sleep(0)
    for one in lists[1:]:
        one.cancel()
    ended = await asyncio.gather(*lists, return_exceptions=True)
    assert sum(isinstance(one, asyncio.CancelledError) for one in ended) == 19
    rev = await atlas.write("document:new#viewer@user:anne")
    async with asyncio.timeout(1):
        assert await atlas.allows("document:new#viewer@user:anne", at_least=rev)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_acc_18_a_node_that_has_not_heard_answers_503_to_every_question(
    fresh: Config, clock: ManualClock
) -> None:
    """ACC-18: whoever asks a node that is cut from the database is told to come back, never yes nor no."""
    async with (
        access_on(fresh, clock=clock) as access,
        served(access.node, fresh, routes=routes(service_of(access))) as server,
    ):
        acme = await caller(access, server)
        path = await acme.store()
        await acme.write(path, "document:1#viewer@user:anne")
        (asked,) = wire_keys("document:1#viewer@user:anne")
        questions: dict[str, dict[str, object]] = {
            "check": {"tuple_key": asked},
            "batch-check": {"checks": [{"tuple_key": asked, "correlation_id": "a"}]},
            "expand": {"tuple_key": {"object": "document:1", "relation": "viewer"}},
            "list-objects": {"user": "user:anne", "relation": "viewer", "type": "document"},
            "streamed-list-objects": {"user": "user:anne", "relation": "viewer", "type": "document"},
        }
        for name, body in questions.items():
            assert (await acme.post(f"{path}/{name}", body)).status_code == 200
        await access.node.following.close()
        clock.advance(LEASE_MS + 1)
        for name, body in questions.items():
            refused = await acme.post(f"{path}/{name}", body)
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            assert int(refused.headers["Retry-After"]) >= 1
