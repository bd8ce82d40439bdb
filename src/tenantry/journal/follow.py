"""THE way to follow. One reader a node asks what has been committed since its last look and hands it to the followers.

The horizon tells rows by what the last look could see, not by a position: on PostgreSQL a row is new if its transaction was not in the
snapshot of the last read, so a transaction left open for minutes neither loses rows nor holds others back. On SQLite, where one thread
writes, the row's sequence is enough. Every row is seen once by each node, in order of revision within an organization; if one is missing
there, what follows it is held back. Between organizations there is no order.

Each successful look renews the node's lease from the moment it began.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from tenantry.core.clock import Clock
from tenantry.core.errors import TenantryError
from tenantry.core.limits import CLOCK_SKEW_MS, POLL_MS
from tenantry.core.tasks import end
from tenantry.journal.duties import SEQUENCING
from tenantry.journal.lease import Lease
from tenantry.journal.pulse import Pulse
from tenantry.journal.schema import Change
from tenantry.store import Dialects, Engine, Row, Survey

_log = logging.getLogger(__name__)
_SINCE: dict[str, type] = {"seq": int, "xmax": str, "running": list}
_CHANGED = Survey(
    "changed",
    Dialects(
        sqlite="SELECT seq, org, rev, at, touched, cut FROM changelog WHERE seq > :seq ORDER BY seq",
        postgres="WITH new AS (SELECT org, rev, at, touched, cut FROM changelog "
        "WHERE xid >= (:xmax)::xid8 OR xid = ANY ((:running)::xid8[])) "
        "SELECT pg_current_snapshot()::text, new.* FROM (SELECT 1) one LEFT JOIN new ON true ORDER BY org, rev",
    ),
    _SINCE,
)
_RECORDED = Survey(
    "recorded",
    Dialects(
        sqlite="SELECT max(seq), org, max(idx) + 1 FROM leaves WHERE seq > :seq GROUP BY org",
        postgres="WITH new AS (SELECT org, max(idx) + 1 AS leaves FROM leaves "
        "WHERE xid >= (:xmax)::xid8 OR xid = ANY ((:running)::xid8[]) GROUP BY org) "
        "SELECT pg_current_snapshot()::text, new.* FROM (SELECT 1) one LEFT JOIN new ON true",
    ),
    _SINCE,
)
_START = Survey(
    "start",
    Dialects(
        sqlite="SELECT coalesce((SELECT max(seq) FROM changelog), 0), coalesce((SELECT max(seq) FROM leaves), 0)",
        postgres="SELECT pg_current_snapshot()::text, pg_current_snapshot()::text",
    ),
)


_PULSE = Survey(
    "pulse",
    Dialects(
        sqlite="SELECT number, '', confirmed IS NULL, 0, (SELECT until FROM duties WHERE name = :duty) "
        "FROM incarnations ORDER BY number DESC LIMIT 1",
        postgres="SELECT number, substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), confirmed IS NULL, "
        "(extract(epoch FROM clock_timestamp()) * 1000)::bigint, (SELECT until FROM duties WHERE name = :duty) "
        "FROM incarnations ORDER BY number DESC LIMIT 1",
    ),
    {"duty": str},
)


class Follower(Protocol):
    """Whatever keeps up in memory: caches, graphs, tokens. Told at least once, in order of revision within an organization."""

    def apply(self, change: Change) -> None:
        """Take in one change. Quick and without waiting: the node's lease waits for it."""
        ...


class Recorder(Protocol):
    """Whatever keeps up with the leaves: the sequencer, streams. Told the organizations whose logs grew."""

    def grew(self, org: str, leaves: int) -> None:
        """The log of `org` has `leaves` leaves."""
        ...


class _OtherLifeError(Exception):
    """The database lives another life than the one this node checked in to."""


class Horizon:
    """What this node has seen of the database. Owned by the reading task of `Following`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._changes: Any = None
        self._leaves: Any = None

    async def start(self) -> None:
        """Begin at what is committed now."""
        self._changes, self._leaves = (await self._engine.survey(_START))[0]

    async def changes(self) -> list[Change]:
        """The changes committed since the last call, ordered by revision within each organization."""
        rows = await self._engine.survey(_CHANGED, **self._since(self._changes))
        self._changes = self._moved(self._changes, rows)
        return [Change(*row[1:]) for row in rows if row[1] is not None]

    async def recorded(self) -> list[tuple[str, int]]:
        """The organizations whose logs grew since the last call, with their number of leaves."""
        rows = await self._engine.survey(_RECORDED, **self._since(self._leaves))
        self._leaves = self._moved(self._leaves, rows)
        return [(row[1], row[2]) for row in rows if row[1] is not None]

    def _since(self, position: Any) -> dict[str, Any]:
        if self._engine.dialect == "sqlite":
            return {"seq": position}
        _, xmax, running = position.split(":")
        return {"xmax": xmax, "running": [xid for xid in running.split(",") if xid]}

    def _moved(self, position: Any, rows: list[Row]) -> Any:
        if self._engine.dialect == "sqlite":
            return max([position, *(row[0] for row in rows)])
        return rows[0][0]


class Following:
    """The node's reading task: looks at the horizon, renews the lease, tells followers. One per opened store.

    `on_other_life` is called once when the database is seen to live another life than the one this node checked in to (a newer
    incarnation, another timeline), or when a follower fails; from then on nothing renews the lease, and the process should end and
    start again.
    """

    def __init__(
        self, engine: Engine, clock: Clock, lease: Lease, pulse: Pulse, on_other_life: Callable[[], None]
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._lease = lease
        self._pulse = pulse
        self._on_other_life = on_other_life
        self._horizon = Horizon(engine)
        self._followers: list[Follower] = []
        self._recorders: list[Recorder] = []
        self._applied: dict[str, int] = {}
        self._held: dict[str, list[Change]] = {}
        self._life: list[Any] = []
        self._task: asyncio.Task[None] | None = None
        self.looks = 0
        self.failures = 0
        """Looks at the changelog that succeeded, and that failed and were tried again."""

    def add(self, follower: Follower) -> None:
        """Tell this follower of every change from the start on; before `start`."""
        self._followers.append(follower)

    def add_recorder(self, recorder: Recorder) -> None:
        """Tell this one of every log that grows; before `start`."""
        self._recorders.append(recorder)

    async def start(self) -> None:
        """Take the position from which on this node sees everything, then follow."""
        began = self._clock.boottime()
        *self._life, held, _, _ = (await self._engine.survey(_PULSE, duty=SEQUENCING))[0]
        await self._horizon.start()
        self._lease.renew(began)
        self._pulse.since_ms = self._clock.now_ms()
        self._pulse.held = bool(held)
        self._task = asyncio.create_task(self._follow())
        self._task.add_done_callback(self._stopped)

    async def close(self) -> None:
        """Stop following, after a last look at what this node itself has just written."""
        if self._task is None:
            return
        ended = self._task.done()
        await end(self._task)
        if not ended:
            with suppress(TenantryError, _OtherLifeError):
                await self._look()

    def _stopped(self, task: asyncio.Task[None]) -> None:
        """A follower that cannot take a change in ends the node: what it skipped would never come again."""
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("A follower could not take a change in: this node must end.", exc_info=error)
            self._on_other_life()

    def applied(self, org: str) -> int:
        """The last revision of `org` that this node's followers have taken in; 0 if none since the start."""
        return self._applied.get(org, 0)

    async def _follow(self) -> None:
        """Look again at every wake-up, and at least every `POLL_MS`. A look that fails renews nothing: the lease runs out by itself."""
        while True:
            await self._engine.changed(POLL_MS / 1000)
            try:
                await self._look()
            except TenantryError:
                self.failures += 1
            except _OtherLifeError:
                self._lease.lose()
                self._on_other_life()
                return

    async def _look(self) -> None:
        """Take in what was committed since the last look.

        The horizon has moved past what it gives, so that is handed on before anything else is awaited: a read that fails afterwards must
        not take it along. Leaves come after the lease, which promises nothing of them.
        """
        began = self._clock.boottime()
        *life, held, db_ms, self._pulse.sequenced_until_ms = (await self._engine.survey(_PULSE, duty=SEQUENCING))[0]
        if life != self._life:
            raise _OtherLifeError
        self._pulse.held = bool(held)
        self._pulse.skew_ms = abs(db_ms - self._clock.now_ms()) if db_ms else 0
        for change in await self._horizon.changes():
            self._take(change)
        if self._pulse.skew_ms <= CLOCK_SKEW_MS:
            self._lease.renew(began)
        if self._recorders:
            for org, leaves in await self._horizon.recorded():
                for recorder in self._recorders:
                    recorder.grew(org, leaves)
        self.looks += 1

    def _take(self, change: Change) -> None:
        """Apply a change and what it freed, or hold it back if a revision before it is missing or it cannot be read.

        Until it is applied this node says nothing about its organization; about the others it goes on.
        """
        last = self._applied.get(change.org)
        if last is not None and change.rev <= last:
            return
        if (last is not None and change.rev > last + 1) or not change.is_whole():
            self._held.setdefault(change.org, []).append(change)
            self._lease.withheld.add(change.org)
            return
        self._apply(change)
        self._lease.withheld.discard(change.org)
        for held in sorted(self._held.pop(change.org, ()), key=lambda c: c.rev):
            self._take(held)

    def _apply(self, change: Change) -> None:
        for follower in self._followers:
            follower.apply(change)
        self._applied[change.org] = change.rev
