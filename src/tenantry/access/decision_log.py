"""What was decided: who asked what in which store, at which revision and model, and what was answered. Searchable, not chained.

Answers do not wait for it: rows are written in batches every quarter of a second, so that a node that dies loses at most a second of them.
While they cannot be written nothing more is decided.
"""

import asyncio
import itertools
from collections import deque

import msgspec

from tenantry.access.schema import DECISIONS_OF, LOG_DECISIONS, DecisionRow
from tenantry.core import scopes
from tenantry.core.clock import Clock
from tenantry.core.errors import NotFound, TenantryError, Unavailable
from tenantry.core.ids import ALPHABET, IdSource
from tenantry.core.limits import VALUE_MAX
from tenantry.core.principal import SYSTEM
from tenantry.core.tasks import end
from tenantry.journal import Journal, Reads

FLUSH_S = 0.25
LOSS_MS = 1_000
"""How much of the log a node may lose when it dies: past it, nothing is decided until what waits is written."""

WAITING_MAX = 50_000
"""Rows that wait on one node."""

SET_BYTES = VALUE_MAX - 65_536
"""What one set takes of them; no row is nearly as large as the difference."""

BATCH_MS = 60_000
"""An id tells the time to its batch, which is far shorter than this."""

FOREVER_MS = 2**48 - 1

_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
_NUMBERS = len(_PAIRS) ** 2


class Search(msgspec.Struct, frozen=True):
    """Which decisions; what is empty does not matter. `since` and `until` are milliseconds since 1970, the second exclusive."""

    store: str = ""
    subject: str = ""
    relation: str = ""
    object: str = ""
    allowed: bool | None = None
    since: int = 0
    until: int = FOREVER_MS


class DecisionLog:
    """A node's part of the log. Owned by the event loop."""

    def __init__(self, journal: Journal, clock: Clock, ids: IdSource) -> None:
        self._journal = journal
        self._clock = clock
        self._ids = ids
        self._rows: dict[str, deque[tuple[str, bytes]]] = {}
        self.waiting = 0
        """Rows that are not written yet."""
        self._since: float | None = None
        self._base, self._number = "", _NUMBERS
        self._flushing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def check(self) -> None:
        """Refuse while what was decided cannot be written. Ask before deciding.

        Raises:
            Unavailable: too much waits, or for too long.
        """
        late = self._since is not None and (self._clock.boottime() - self._since) * 1000 > LOSS_MS
        if late or self.waiting >= WAITING_MAX:
            raise Unavailable("The decision log cannot be written.", hint="Ask again in a second.")

    def note(self, org: str, *decided: object) -> None:
        """Remember one decision: the columns of a `DecisionRow` after its time."""
        row = self._next()
        self._rows.setdefault(org, deque()).append((row, msgspec.json.encode((row, self._clock.now_ms(), *decided))))
        self.waiting += 1
        if self._since is None:
            self._since = self._clock.boottime()

    def _next(self) -> str:
        """An id that sorts after the last: a fresh one for every batch, and numbers in its last places (making each anew costs more than
        many a decision)."""
        if self._number == _NUMBERS:
            self._base, self._number = self._ids.new("decision")[:-4], 0
        number, self._number = self._number, self._number + 1
        return f"{self._base}{_PAIRS[number >> 10]}{_PAIRS[number & 1023]}"

    def start(self) -> None:
        """Write what is noted, every `FLUSH_S`."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Write what waits, and stop."""
        if self._task is not None:
            await end(self._task)
        await self.flush()

    async def flush(self) -> None:
        """Write what waits now. What cannot be written goes on waiting."""
        async with self._flushing:
            self._number = _NUMBERS  # so that ids tell the time to a batch
            began = self._clock.boottime()
            if all(await asyncio.gather(*(self._flush(org) for org in list(self._rows)))):
                self._since = began if self.waiting else None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            await self.flush()

    async def _flush(self, org: str) -> bool:
        rows = self._rows[org]
        left = len(rows)  # what is noted meanwhile has a second of its own
        while left:
            batch = _batch(rows, left)
            try:
                async with self._journal.begin(scopes.of_job(org), SYSTEM) as w:
                    encoded = b"[" + b",".join(row for _, row in batch) + b"]"
                    w.write(LOG_DECISIONS, id=batch[0][0], rows=encoded.decode())
            except NotFound:
                pass  # the organization is gone, and with it whoever could read of it
            except TenantryError:
                return False
            for _ in batch:
                rows.popleft()
            self.waiting -= len(batch)
            left -= len(batch)
        if not rows:
            del self._rows[org]
        return True


def _batch(rows: deque[tuple[str, bytes]], most: int) -> list[tuple[str, bytes]]:
    """The oldest rows, as many as one set takes, at the most `most`."""
    size, batch = 0, list[tuple[str, bytes]]()
    for row in itertools.islice(rows, most):
        size += len(row[1]) + 1
        if size > SET_BYTES and batch:
            break
        batch.append(row)
    return batch


def _first_id(at_ms: int) -> str:
    """What every id of a batch that began at this time, or later, is not before: an id begins with 48 bits of its time."""
    bounded = min(max(at_ms, 0), 2**48 - 1)
    return "decision_" + "".join(ALPHABET[bounded >> shift & 31] for shift in range(45, -1, -5))


async def search(reads: Reads, wanted: Search, before: str, most: int) -> list[DecisionRow]:
    """Decisions of the organization, the newest first, from the one before the id `before` on (empty: from the newest)."""
    return await reads.all(
        DECISIONS_OF,
        first=_first_id(wanted.since - BATCH_MS),
        before=min(before or _first_id(FOREVER_MS), _first_id(wanted.until)),
        since=wanted.since,
        until=wanted.until,
        store=wanted.store,
        subject=wanted.subject,
        object=wanted.object,
        relation=wanted.relation,
        allowed=-1 if wanted.allowed is None else int(wanted.allowed),
        most=most,
    )
