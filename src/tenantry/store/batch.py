"""The batcher of a PostgreSQL node: one transaction for many sets that only record or touch ephemeral rows.

While one batch is under way the next one gathers; it takes half of what waits, so that those who are answered prepare their next while
the other half runs. Programs that touch the same row never share a batch, so that each is decided by itself. A batch that one program
spoils is taken apart and its programs run by themselves.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg

from tenantry.core.errors import TenantryError, Unavailable
from tenantry.core.limits import QUEUE_MAX_SETS
from tenantry.store.lanes import Lanes
from tenantry.store.program import Many, Outcome, Program, Row
from tenantry.store.sqlstate import RETRIED, RETRIES, of_the_database, refusal

BATCH = 512
"""Sets of one transaction."""

FEW = 16
"""Sets that are not worth dividing: what a transaction costs by itself would be paid too often."""

Transaction = Callable[[bytes, list[Any]], Awaitable[Row]]
Waiting = tuple[Program, asyncio.Future[Outcome]]


class Batcher:
    """Collects programs and runs them together. Owned by the event loop."""

    def __init__(self, transaction: Transaction, alone: Callable[[Program], Awaitable[Outcome]]) -> None:
        self._transaction = transaction
        self._alone = alone
        self._waiting: Lanes[Waiting] = Lanes(QUEUE_MAX_SETS)
        self._some = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to take programs."""
        self._task = asyncio.create_task(self._run_for_ever())

    async def run(self, program: Program) -> Outcome:
        """Queue a program and wait for its own answer; see `Engine.run`."""
        if self._closing:
            raise Unavailable("The database is closed.")
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.put(program.org, (program, future))
        self._some.set()
        return await future

    async def close(self) -> None:
        """Run what waits, then stop."""
        self._closing = True
        self._some.set()
        if self._task is not None:
            await self._task

    async def _run_for_ever(self) -> None:
        while not (self._closing and not len(self._waiting)):
            await self._some.wait()
            self._some.clear()
            while len(self._waiting):
                batch = self._next()
                if not batch:
                    continue
                answers = await self._settled([program for program, _ in batch])
                for (_, future), answer in zip(batch, answers, strict=True):
                    if future.done():
                        continue
                    if isinstance(answer, Outcome):
                        future.set_result(answer)
                    else:
                        future.set_exception(answer)

    def _next(self) -> list[Waiting]:
        """What runs together next, in turn by organization: of each key one program. The others go back to the front of their lanes."""
        most = max(FEW, min(BATCH, len(self._waiting) // 2))
        taken: list[Waiting] = []
        held_back: dict[str, list[Waiting]] = {}
        keys: set[Any] = set()
        for program, future in self._waiting.take(2 * most):
            if future.cancelled():
                continue
            if len(taken) < most and program.org not in held_back and keys.isdisjoint(program.keys):
                taken.append((program, future))
                keys |= program.keys
            else:
                held_back.setdefault(program.org, []).append((program, future))
        for org, items in held_back.items():
            self._waiting.put_back(org, items)
        return taken

    async def _settled(self, programs: list[Program]) -> list[Outcome | TenantryError]:
        many = programs[0].many
        assert many is not None
        try:
            return await self._together(many, programs)
        except Unavailable as error:
            return [Unavailable(error.message, hint=error.hint) for _ in programs]
        except (psycopg.Error, UnicodeEncodeError) as error:
            if isinstance(error, RETRIED) or of_the_database(error):
                return [refusal(error) for _ in programs]
        return list(await asyncio.gather(*(self._by_itself(program) for program in programs)))

    async def _together(self, many: Many, programs: list[Program]) -> list[Outcome | TenantryError]:
        text, values = many.compose(programs)
        for attempt in range(RETRIES):
            try:
                return many.answers(programs, await self._transaction(text, values))
            except RETRIED:
                await asyncio.sleep(random.uniform(0.001, 0.01) * 2**attempt)  # noqa: S311 - a pause, not a secret
        return many.answers(programs, await self._transaction(text, values))

    async def _by_itself(self, program: Program) -> Outcome | TenantryError:
        try:
            return await self._alone(program)
        except TenantryError as error:
            return error
