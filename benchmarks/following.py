"""How long until other nodes know: from a commit's answer on one node to the change's application on two others, three processes."""

import asyncio
from contextlib import AsyncExitStack
from statistics import quantiles

from benchmarks.ground import Ground
from benchmarks.measure import Row, compared
from tests.stand.nodes import NodeProcess, node_process

ORGANIZATIONS = 4
BOUND_MS = 100.0
SETS_PER_ROUND = 60
"""Of each organization; one after the other, so that the number is latency and not a queue."""


async def rows(ground: Ground) -> list[Row]:
    """The 99th percentile, against its bound."""
    config = await ground.deployment("postgres")
    async with AsyncExitStack() as stack:
        nodes = []
        for number in range(3):
            folder = ground.folder / f"node-{number}"
            folder.mkdir()
            nodes.append(await stack.enter_async_context(node_process(config, folder)))
        for node in nodes:
            await node.ready
        late = await _latencies(nodes, SETS_PER_ROUND * ground.pace.rounds)
    p99 = quantiles(late, n=100)[98]
    note = (
        f"ms, p99 of {len(late)} (median {quantiles(late, n=2)[0]:.1f}); theirs is the bound itself, ratio = bound / p99; "
        f"three processes, {ground.machine.beside(ORGANIZATIONS, 'Unix socket')}"
    )
    return [compared("Following: commit to applied on other nodes", p99, BOUND_MS, BOUND_MS / p99, 1, note)]


async def _latencies(nodes: list[NodeProcess], sets: int) -> list[float]:
    """In milliseconds; a change applied before the writer's own answer counts as 0."""
    writer, *others = nodes
    orgs = [(await writer.do("open"))["org"] for _ in range(ORGANIZATIONS)]

    async def write(org: str) -> list[tuple[int, float]]:
        answers = [await writer.do("add_entry", org=org, account="cash", amount=1) for _ in range(sets)]
        return [(answer["revision"], answer["at"]) for answer in answers]

    written = await asyncio.gather(*(write(org) for org in orgs))
    late: list[float] = []
    for node in others:
        for org, done in zip(orgs, written, strict=True):
            heard = await _all_heard(node, org, done[-1][0])
            late += [max(0.0, (heard[rev] - at) * 1000) for rev, at in done]
    return late


async def _all_heard(node: NodeProcess, org: str, last: int) -> dict[int, float]:
    while True:
        heard: dict[int, float] = dict((await node.do("heard", org=org))["changes"])
        if last in heard:
            return heard
        await asyncio.sleep(0.05)
