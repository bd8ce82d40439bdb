"""How soon a server answers, and what it holds in memory: `tenantry serve` over SQLite, looked at from outside.

Time counts from the start of the process to the first 200 of `/health/ready`; memory is what of the process is in RAM (VmRSS).
`theirs` is the bound, ratio = bound / ours.
"""

import sys
from statistics import median

from benchmarks.corpus import RELATION, Corpus, Fact
from benchmarks.ground import Ground
from benchmarks.house import House, Server, furnished, serving
from benchmarks.http_check import QUESTIONS, batch_body, check_body
from benchmarks.load import Load, generator
from benchmarks.measure import Row, Skipped, compared

START_S = 1.0
IDLE_MB = 150
FULL_MB = 400
PEOPLE_A_TUPLE = 10
"""One user for so many tuples: 100,000 beside a million."""

BATCH = 50
ASKING_S = 60.0
"""How long that may take."""


async def rows(ground: Ground) -> list[Row]:
    """Start and idle over an empty deployment, then one with everything in memory."""
    if sys.platform != "linux":
        raise Skipped("memory is read from /proc, which is not here")
    corpus = Corpus(ground.pace.tuples)
    empty = await furnished(ground.folder / "start", Corpus(1_000))
    started, idle = [], []
    for _ in range(ground.pace.rounds):
        async with serving(empty.config) as server:
            started.append(server.started_s)
            idle.append(server.resident_mb())
    full = await furnished(ground.folder / "memory", corpus, people=corpus.tuples // PEOPLE_A_TUPLE)
    async with serving(full.config) as server:
        await _everything(server, full)
        held = server.resident_mb()
    begun = median(started)
    machine = ground.machine.beside(1, "SQLite, loopback")
    return [
        compared(
            "Start: until the first 200", begun, START_S, START_S / begun, 1, f"s, median of {len(started)}; {machine}"
        ),
        compared("Memory: idle", median(idle), IDLE_MB, IDLE_MB / median(idle), 1, f"MB, just started; {machine}"),
        compared(
            "Memory: tuples and users",
            held,
            FULL_MB,
            FULL_MB / held,
            1,
            f"MB, with a store of {corpus.tuples:,} tuples and the standing of {len(full.users):,} users of the organization, "
            f"each asked about once; {machine}",
        ),
    ]


async def _everything(server: Server, house: House) -> None:
    """Ask about tuples, which takes the store into memory, and once about every user."""
    headers = await house.headers(server)
    questions = [check_body(one) for one in house.corpus.questions(QUESTIONS)]
    asked = [Fact(f"user:{one}", RELATION, "document:0-0-0") for one in house.users]
    bodies = [batch_body(asked[first : first + BATCH]) for first in range(0, len(asked), BATCH)]
    async with generator() as load:
        await load.run(Load(server.port, f"/stores/{house.store}/check", headers, questions, 0, connections=1))
        path = f"/stores/{house.store}/batch-check"
        done = await load.run(Load(server.port, path, headers, bodies, ASKING_S, connections=4, once=True))
    if done.answers != len(bodies):
        raise AssertionError(f"{done.answers} of {len(bodies)} batches were answered")
