"""Work that one node at a time does for organizations whose journal moved: deriving tables, sequencing logs, sending.

A kick names an organization; the node that holds the duty does its work and moves on. Kicks may be lost with the node: whoever takes the
duty asks the database for the whole backlog first. An organization whose work failed stays in line and is tried again at the next beat.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from tenantry.core.clock import Clock
from tenantry.core.errors import TenantryError, Upstream
from tenantry.core.tasks import end
from tenantry.journal.duties import DUTY_MS, Duties, Duty, NotOurs
from tenantry.journal.schema import Change

_log = logging.getLogger(__name__)


class Work(Protocol):
    """A kind of work, done under the duty `name`."""

    name: str
    beat_ms: int

    async def ready(self) -> None:
        """Called before the duty is taken.

        Raises:
            Upstream: this node could not do it now, so another should.
        """
        ...

    def backlog(self) -> AsyncIterator[str]:
        """Every organization that has work waiting."""
        ...

    async def do(self, org: str, duty: Duty) -> bool:
        """One bounded step for an organization; every write holds the duty. Says whether there may be more to do.

        Raises:
            NotOurs: the duty was lost.
            Upstream: this node cannot do the duty at all, and lets it lapse for another.
        """
        ...


class Working:
    """Does one kind of work on this node for as long as it holds the duty.

    Add it to `Following`: as a follower if it waits for changes, as a recorder if it waits for leaves. `aside` is called once a beat
    with the duty when nothing waits, for a little of what never ends.
    """

    def __init__(
        self,
        work: Work,
        duties: Duties,
        clock: Clock,
        on_failure: Callable[[], None],
        aside: Callable[[Duty], Awaitable[None]] | None = None,
    ) -> None:
        self._work = work
        self._duties = duties
        self._clock = clock
        self._on_failure = on_failure
        self._aside = aside
        self.name = work.name
        self._kicked: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._taking: asyncio.Future[Duty] | None = None
        self._duty: Duty | None = None
        self._renewed = 0.0
        self.failures: dict[str, TenantryError] = {}

    def apply(self, change: Change) -> None:
        """See `Follower`."""
        self._kick(change.org)

    def grew(self, org: str, leaves: int) -> None:
        """See `Recorder`."""
        del leaves
        self._kick(org)

    def _kick(self, org: str) -> None:
        """Note it only while the duty is held: whoever takes it asks for the backlog first."""
        if self.holds:
            self._kicked.add(org)

    def start(self) -> None:
        """Try to take the duty, and work while it is held."""
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._stopped)

    async def close(self) -> None:
        """Stop, and let the duty go; what was being written commits or does not, whole."""
        if self._task is not None:
            await end(self._task)
        self._duty = None
        if self._taking is not None:
            with suppress(TenantryError):  # not taken, or lost since
                await self._duties.release(await self._taking)

    def _stopped(self, task: asyncio.Task[None]) -> None:
        """Work that failed in a way nobody foresaw ends the node: another takes the duty over."""
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("The work %s failed: this node must end.", self.name, exc_info=error)
            self._on_failure()

    @property
    def holds(self) -> bool:
        """Whether this node has the duty, as far as it knows."""
        return self._duty is not None

    async def _run(self) -> None:
        while True:
            try:
                await self._work.ready()
                self._renewed = self._clock.boottime()
                # Whoever closes this node meanwhile must know what became of it: a taken duty that nobody lets go keeps others waiting.
                self._taking = asyncio.ensure_future(self._duties.take(self._work.name))
                self._duty = duty = await asyncio.shield(self._taking)
                await self._hold(duty)
            except TenantryError:
                self._duty = None
                self._kicked.clear()
            await asyncio.sleep(DUTY_MS / 1000 / 3)

    async def _hold(self, duty: Duty) -> None:
        self._kicked.update([org async for org in self._work.backlog()])
        while True:
            await self._renew(duty)
            await self._renew(duty)
            waiting, self._kicked = self._kicked | self.failures.keys(), set()
            # A step of each in turn: a long backlog of one organization keeps no other waiting.
            more = {org for org in sorted(waiting) if await self._one(org, duty)}
            self._kicked |= more
            if self._aside is not None and not more:
                await self._aside(duty)
            await asyncio.sleep(0 if more else self._work.beat_ms / 1000)

    async def _renew(self, duty: Duty) -> None:
        """Hold the duty on, counted from before it was asked for: an answer may have taken its time."""
        now = self._clock.boottime()
        if (now - self._renewed) * 1000 > DUTY_MS / 3:
            await self._duties.renew(duty)
            self._renewed = now

    async def _one(self, org: str, duty: Duty) -> bool:
        await self._renew(duty)
        try:
            more = await self._work.do(org, duty)
        except (NotOurs, Upstream):
            raise
        except TenantryError as error:
            self.failures[org] = error
            return False
        self.failures.pop(org, None)
        return more
