"""Who writes next on a PostgreSQL node: sets wait in turn by organization for one of a few connections.

Sets of one organization wait for each other's lock anyway, so one organization gets at most half of the places: a set that waits for a
lock somebody holds delays its own organization, and the neighbours go on.
"""

import asyncio
import functools
from collections import Counter
from collections.abc import Awaitable, Callable

from tenantry.core.limits import QUEUE_MAX_SETS
from tenantry.store.lanes import Lanes
from tenantry.store.program import Outcome, Program

Waiting = tuple[Program, asyncio.Future[Outcome]]


class Turns:
    """Runs programs, `places` at once. Owned by the event loop."""

    def __init__(self, run: Callable[[Program], Awaitable[Outcome]], places: int) -> None:
        self._run = run
        self._free = places
        self._share = max(1, places // 2)
        self._waiting: Lanes[Waiting] = Lanes(QUEUE_MAX_SETS)
        self._busy: Counter[str] = Counter()
        self._running: set[asyncio.Future[Outcome]] = set()

    async def run(self, program: Program) -> Outcome:
        """Queue a program and wait for its answer. Once begun it runs to its end, whatever becomes of the caller.

        Raises:
            Throttled: too many wait; nothing was written.
            TenantryError: its refusal.
        """
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.put(program.org, (program, future))
        self._fill()
        return await future

    async def close(self) -> None:
        """Let all that wait run to the end."""
        while self._running:
            await asyncio.wait(self._running)

    def _fill(self) -> None:
        while self._free and (next_one := self._waiting.next(self._may)) is not None:
            program, future = next_one
            if future.cancelled():
                continue
            self._free -= 1
            self._busy[program.org] += 1
            task = asyncio.ensure_future(self._run(program))
            self._running.add(task)
            task.add_done_callback(functools.partial(self._ended, program.org, future))

    def _may(self, org: str) -> bool:
        return self._busy[org] < self._share

    def _ended(self, org: str, future: asyncio.Future[Outcome], task: asyncio.Future[Outcome]) -> None:
        self._running.discard(task)
        self._free += 1
        self._busy[org] -= 1
        if not self._busy[org]:
            del self._busy[org]
        self._fill()
        if task.cancelled():
            future.cancel()
        elif (error := task.exception()) is not None:
            if not future.done():
                future.set_exception(error)
        elif not future.done():
            future.set_result(task.result())
