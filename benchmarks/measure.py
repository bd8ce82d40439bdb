"""Measuring in turns: what a row holds, how long a round lasts, what the machine is."""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from math import floor
from pathlib import Path
from statistics import median
from time import perf_counter

import msgspec

TASKS = 32
"""Callers at once."""

Side = Callable[[float], Awaitable[float]]
"""One side of a comparison: works for that many seconds and gives what it did a second."""


class Row(msgspec.Struct, frozen=True):
    """One comparison. `met` is `ratio >= goal`: more is better in every row."""

    name: str
    ours: float
    theirs: float
    ratio: float
    goal: float
    met: bool
    note: str


class Skipped(Exception):
    """A topic cannot be run here; the message says why."""


class Pace(msgspec.Struct, frozen=True):
    """How many rounds each side gets and how many seconds one lasts; `events` is how many the verifier reads,
    `tuples` how many are decided over."""

    rounds: int
    seconds: float
    events: int
    tuples: int


FULL = Pace(rounds=7, seconds=1.0, events=1_000_000, tuples=1_000_000)
QUICK = Pace(rounds=3, seconds=0.4, events=50_000, tuples=100_000)


def compared(name: str, ours: float, theirs: float, ratio: float, goal: float, note: str) -> Row:
    """A row from what was measured."""
    return Row(name, round(ours, 1), round(theirs, 1), floor(ratio * 100) / 100, goal, ratio >= goal, note)


async def in_turns(name: str, ours: Side, theirs: Side, pace: Pace, *, goal: float, note: str) -> Row:
    """Run both sides in turns, after a short round each that does not count, and compare their medians."""
    for side in (ours, theirs):
        await side(min(0.3, pace.seconds))
    done: tuple[list[float], list[float]] = ([], [])
    for _ in range(pace.rounds):
        done[0].append(await ours(pace.seconds))
        done[1].append(await theirs(pace.seconds))
    us, them = median(done[0]), median(done[1])
    return compared(name, us, them, us / them, goal, note)


def by_tasks(one: Callable[[int], Awaitable[object]]) -> Side:
    """`TASKS` tasks that call `one`, each with its number, again and again."""

    async def side(seconds: float) -> float:
        began = perf_counter()

        async def task(number: int) -> int:
            done = 0
            while perf_counter() - began < seconds:
                await one(number)
                done += 1
            return done

        done = sum(await asyncio.gather(*(task(number) for number in range(TASKS))))
        return done / (perf_counter() - began)

    return side


def one_by_one(one: Callable[[], object]) -> Side:
    """One caller that never waits for a task switch."""

    async def side(seconds: float) -> float:
        began, done = perf_counter(), 0
        while perf_counter() - began < seconds:
            one()
            done += 1
        return done / (perf_counter() - began)

    return side


class Machine(msgspec.Struct, frozen=True):
    """What the numbers depend on beside the code."""

    cores: int
    sync_ms: float

    def beside(self, organizations: int, socket: str) -> str:
        """What stands beside each row."""
        many = "1 organization" if organizations == 1 else f"{organizations} organizations"
        return f"{many}, {socket}, sync {self.sync_ms:.2f} ms, {self.cores} cores"


def machine() -> Machine:
    """Look at this machine: its cores, and the median time of an fsync after 8 KiB on the disk of the temporary directory."""
    times: list[float] = []
    with tempfile.TemporaryDirectory(prefix="tenantry-bench-") as folder:
        handle = os.open(Path(folder) / "sync", os.O_WRONLY | os.O_CREAT)
        for _ in range(100):
            began = perf_counter()
            os.write(handle, bytes(8192))
            os.fsync(handle)
            times.append((perf_counter() - began) * 1000)
        os.close(handle)
    return Machine(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, median(times)
    )
