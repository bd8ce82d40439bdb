"""Signals: what somebody watching an organization should see. They are counted, not listed, so that a million of them are a few rows.

A node counts by kind and subject for a minute and then writes what it counted. Per organization and kind the first `SUBJECTS_MAX`
subjects are told apart; all others are one. A node that dies loses its last minute: what must not be lost is an event of the log.
"""

import asyncio
import enum
from collections import Counter

import msgspec

from tenantry.core import scopes
from tenantry.core.clock import Clock
from tenantry.core.errors import NotFound, TenantryError
from tenantry.core.ids import IdSource
from tenantry.core.principal import SYSTEM
from tenantry.core.tasks import end
from tenantry.journal import Journal, Reads
from tenantry.store import Kind, Migration, Read, Schema, Statement, Table

WINDOW_S = 60.0
SUBJECTS_MAX = 20
ORGANIZATIONS_MAX = 10_000
"""Organizations of which a node counts something in one window; of more it counts nothing."""

KEPT_MS = 30 * 24 * 3_600_000
FORGOTTEN_A_TIME = 200
OTHERS = "others"
"""The subject of all that were not told apart."""


class SignalKind(enum.StrEnum):
    """What was seen."""

    UNKNOWN_ID = "unknown_id"
    """A caller named something that this organization does not have, whoever may have it."""

    FORBIDDEN = "forbidden"
    """A caller asked for what it may not do."""

    TOO_OFTEN = "too_often"
    """A caller came more often, or with more at once, than a limit admits."""


class Signal(msgspec.Struct, frozen=True):
    """How often something was seen of a subject (a principal's id) in a time, by one node."""

    id: str
    kind: str
    subject: str
    count: int
    since_ms: int
    until_ms: int


SIGNALS = Table("protection_signals", Kind.EPHEMERAL)
ADD_SIGNAL = Statement(
    "protection_add_signal",
    SIGNALS,
    "INSERT INTO protection_signals (org, id, kind, subject, count, since, until) "
    "VALUES (:org, :id, :kind, :subject, :count, :since, :until) ON CONFLICT DO NOTHING",
    {"id": str, "kind": str, "subject": str, "count": int, "since": int, "until": int},
)
FORGET_SIGNALS = Statement(
    "protection_forget_signals",
    SIGNALS,
    "DELETE FROM protection_signals WHERE org = :org AND id IN "
    "(SELECT id FROM protection_signals WHERE org = :org AND until < :before ORDER BY id LIMIT :most)",
    {"before": int, "most": int},
)
SIGNALS_PAGE = Read(
    "protection_signals",
    Signal,
    "SELECT id, kind, subject, count, since, until FROM protection_signals WHERE org = :org "
    "AND (:before = '' OR id < :before) AND (:kind = '' OR kind = :kind) ORDER BY id DESC LIMIT :most",
    {"before": str, "kind": str, "most": int},
)
SCHEMA = Schema(
    room="protection",
    tables=(SIGNALS,),
    statements=(ADD_SIGNAL, FORGET_SIGNALS),
    reads=(SIGNALS_PAGE,),
    migrations=(
        Migration(
            1,
            "expand",
            "signals",
            """
CREATE TABLE protection_signals (
    org text NOT NULL, id text NOT NULL, kind text NOT NULL, subject text NOT NULL, count {int} NOT NULL, since {int} NOT NULL,
    until {int} NOT NULL, PRIMARY KEY (org, id)) {strict};
""",
        ),
    ),
)


class Signals:
    """What a node has seen and not written yet. Owned by the event loop."""

    def __init__(self, journal: Journal, clock: Clock, ids: IdSource) -> None:
        self._journal = journal
        self._clock = clock
        self._ids = ids
        self._since_ms = clock.now_ms()
        self._seen: dict[str, dict[SignalKind, Counter[str]]] = {}
        self._task: asyncio.Task[None] | None = None

    def note(self, org: str, kind: SignalKind, subject: str) -> None:
        """Count something once."""
        if org not in self._seen and len(self._seen) >= ORGANIZATIONS_MAX:
            return
        counted = self._seen.setdefault(org, {}).setdefault(kind, Counter())
        counted[subject if subject in counted or len(counted) < SUBJECTS_MAX else OTHERS] += 1

    def start(self) -> None:
        """Write what was counted, each `WINDOW_S`."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Write what was counted, and stop."""
        if self._task is not None:
            await end(self._task)
        await self.flush()

    async def flush(self) -> None:
        """Write what was counted since the last time. What cannot be written now is lost: it is no event."""
        seen, self._seen = self._seen, {}
        since, self._since_ms = self._since_ms, self._clock.now_ms()
        for org, kinds in seen.items():
            try:
                await self._write(org, kinds, since)
            except NotFound:
                continue  # the organization is gone
            except TenantryError:
                return

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(WINDOW_S)
            await self.flush()

    async def _write(self, org: str, kinds: dict[SignalKind, Counter[str]], since: int) -> None:
        until = self._since_ms
        async with self._journal.begin(scopes.of_job(org), SYSTEM) as w:
            w.write(FORGET_SIGNALS, before=until - KEPT_MS, most=FORGOTTEN_A_TIME)
            for kind, counted in kinds.items():
                for subject, count in counted.items():
                    fields = {"kind": kind.value, "subject": subject, "count": count, "since": since, "until": until}
                    w.write(ADD_SIGNAL, id=self._ids.new("signal"), **fields)


async def signals(reads: Reads, kind: str, before: str, most: int) -> list[Signal]:
    """What was seen of an organization, the newest first, from the one before the id `before` on; of one kind, or of all."""
    return await reads.all(SIGNALS_PAGE, kind=kind, before=before, most=most)
