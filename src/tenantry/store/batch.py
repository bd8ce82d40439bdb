"""The batcher of a PostgreSQL node: one transaction for many sets that only record or touch ephemeral rows.

While one batch is under way the next one gathers. Programs that touch the same row never share a batch, so that each is decided by
itself. A batch that one program spoils is taken apart and its programs run one by one.
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
from tenantry.store.schema import Compiled
from tenantry.store.sqlstate import RETRIED, RETRIES, UNSENDABLE, refusal

BATCH = 512
"""Sets of one transaction."""

Transaction = Callable[[list[tuple[Compiled, list[Any]]]], Awaitable[list[list[Row]]]]
Waiting = tuple[Program, asyncio.Future[Outcome]]


class Batcher:
    """Collects programs and runs them together. Owned by the event loop."""

    def __init__(self, transaction: Transaction, alone: Callable[[Program], Awaitable[Outcome]]) -> None:
        self._transaction = transaction
        self._alone = alone
        self._waiting: Lanes[Waiting] = Lanes(QUEUE_MAX_SETS)
        self._held_back: list[Waiting] = []
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
        while not (self._closing and not self._held_back and not len(self._waiting)):
            await self._some.wait()
            self._some.clear()
            while self._held_back or len(self._waiting):
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
        """What runs together next: of each key one program, the others wait for the next batch in their order."""
        candidates = self._held_back + self._waiting.take(BATCH - len(self._held_back))
        taken: list[Waiting] = []
        self._held_back = []
        keys: set[Any] = set()
        for program, future in candidates:
            if future.cancelled():
                continue
            if keys.isdisjoint(program.keys):
                taken.append((program, future))
            else:
                self._held_back.append((program, future))
            keys |= program.keys
        return taken

    async def _settled(self, programs: list[Program]) -> list[Outcome | TenantryError]:
        many = programs[0].many
        assert many is not None
        try:
            return await self._together(many, programs)
        except (*UNSENDABLE, psycopg.IntegrityError):
            return [await self._by_itself(program) for program in programs]
        except Unavailable as error:
            return [Unavailable(error.message, hint=error.hint) for _ in programs]
        except psycopg.Error as error:
            return [refusal(error) for _ in programs]

    async def _together(self, many: Many, programs: list[Program]) -> list[Outcome | TenantryError]:
        statements = many.compose(programs)
        for attempt in range(RETRIES):
            try:
                return many.answers(programs, await self._transaction(statements))
            except RETRIED:
                await asyncio.sleep(random.uniform(0.001, 0.01) * 2**attempt)  # noqa: S311
        return many.answers(programs, await self._transaction(statements))

    async def _by_itself(self, program: Program) -> Outcome | TenantryError:
        try:
            return await self._alone(program)
        except TenantryError as error:
            return error
