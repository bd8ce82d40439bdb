"""What a cut costs with much below it, and how soon it is felt: at one node, and by a verifier that another node tells.

A cut is one fact about a branch, whatever descends from it. The first row measures from the beginning of the set until this node
refuses a credential of the branch, with 100,000 users below an organization against one; the receipt, which names them all, is made
afterwards by a duty and is not part of it. The second counts from the cut's answer on one node to the last time that the SDK's
verifier, which follows another node, took a token of the branch.
"""

import asyncio
from contextlib import AsyncExitStack
from statistics import median, quantiles
from time import perf_counter

from benchmarks.ground import Ground
from benchmarks.measure import Row, compared
from tenantry.app.node import Node
from tenantry.cli.demo import ledger
from tenantry.core import scopes
from tenantry.core.errors import Ended
from tenantry.core.principal import SYSTEM, Principal
from tenantry.organizations import users
from tenantry_sdk.errors import Ended as Refused
from tests.stand.credentials import holders, minted
from tests.stand.nodes import looked, node_of, node_process
from tests.stand.organizations import Organization, open_organization
from tests.stand.verifiers import place

GROWTH_MAX = 1.2
BELOW_SHARE = 10
"""One descendant for so many tuples of the pace: 100,000 for a million."""

CUTS = 30
"""Of one round."""

SET_USERS = 50
BOUND_MS = 1_000.0
WITHIN_S = 5.0
LOOK_S = 0.000_5
"""Between two looks: whoever never waits keeps the threads of the database from their work."""


async def rows(ground: Ground) -> list[Row]:
    """A cut by itself, then as it spreads."""
    return [await _grown(ground), await _spread(ground)]


async def _grown(ground: Ground) -> Row:
    config, below = await ground.deployment("sqlite"), ground.pace.tuples // BELOW_SHARE
    async with node_of(config) as node:
        large, small = await _peopled(node, below), await _peopled(node, 1)
        took: tuple[list[float], list[float]] = ([], [])
        await looked(node)  # filling took longer than its lease
        for number in range(CUTS * ground.pace.rounds):
            sides = [(large, took[0]), (small, took[1])]
            for where, times in sides if number % 2 else reversed(sides):
                ms = await _cut(where)
                if number:
                    times.append(ms)
    many, one = median(took[0]), median(took[1])
    note = (
        f"ms from the set's beginning to this node's refusal, median of {len(took[0])}, {below:,} users below the organization; "
        f"theirs is {GROWTH_MAX} x the same with one, ratio = bound / ours; {ground.machine.beside(2, 'SQLite, in one process')}"
    )
    return compared("Cut: with many below", many, one * GROWTH_MAX, one * GROWTH_MAX / many, 1, note)


async def _peopled(node: Node, count: int) -> Organization:
    made = await open_organization(node)
    ids = [node.ids.new("user") for _ in range(count)]
    for first in range(0, count, SET_USERS):
        async with made.begin() as w:
            for one in ids[first : first + SET_USERS]:
                users.add(w, one, users.Profile(f"{one}@example.com", "Somebody"), node.clock.now_ms())
    return made


async def _cut(where: Organization) -> float:
    """Cut the organization; the milliseconds until a credential of one of its users is refused."""
    node, user = where.node, where.node.ids.new("user")
    lineage = await node.cuts.lineage(where.id, (where.id, user), (await node.journal.head(where.scope)).rev)
    bearer = Principal(id=user, org=where.id, lineage=lineage)
    began = perf_counter()
    async with node.journal.begin(scopes.of_job(where.id), SYSTEM) as w:
        ledger.cut(w, where.id)
    while True:
        try:
            await node.cuts.check(bearer)
        except Ended:
            return (perf_counter() - began) * 1000
        await asyncio.sleep(0)


async def _spread(ground: Ground) -> Row:
    config = await ground.deployment("postgres")
    async with AsyncExitStack() as stack:
        folder = ground.folder / "cutter"
        folder.mkdir()
        other = await stack.enter_async_context(node_process(config, folder))
        here = await stack.enter_async_context(place(config))
        await other.ready
        verifier = await stack.enter_async_context(here.verifier())
        await verifier.feed.ready()
        acme = await open_organization(here.woods.node)
        clock, late = here.woods.node.clock, list[float]()
        for _ in range(CUTS * ground.pace.rounds):
            holder = holders(acme.node, acme.id)["user"]
            token = (await minted(here.tokens, acme.id, holder)).token
            await verifier.verify(token)
            answered = (await other.do("cut", org=acme.id, branch=holder.subject))["at"]
            last = answered
            async with asyncio.timeout(WITHIN_S):
                while True:
                    try:
                        await verifier.verify(token)
                    except Refused:
                        break
                    last = clock.boottime()
                    await asyncio.sleep(LOOK_S)
            late.append((last - answered) * 1000)
    p99 = quantiles(late, n=100)[98]
    note = (
        f"ms from the answer of one node to the last time that an SDK verifier behind another takes the token, p99 of {len(late)} "
        f"(median {median(late):.1f}); theirs is the bound, ratio = bound / p99; {ground.machine.beside(1, 'Unix socket, loopback')}"
    )
    return compared("Cut: answered to refused everywhere", p99, BOUND_MS, BOUND_MS / max(p99, 0.01), 1, note)
