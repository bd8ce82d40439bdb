"""What a client may present once: the `jti` of an assertion or proof, seen by whichever node came first and by all from then on.

A record outlives what it guards by the difference that two clocks may have, so that no node still takes what another has forgotten.
Forgetting is the work of one node at a time (`Forgetting`); an old record that is still there refuses more than it must, never less.
"""

import hashlib
from collections.abc import AsyncIterator

import msgspec

from tenantry.core import scopes
from tenantry.core.clock import Clock
from tenantry.core.errors import AlreadyDone
from tenantry.core.limits import CLOCK_SKEW_MS, PAGE_ROWS
from tenantry.journal import Duty, Journal, WriteSet
from tenantry.keys.aead import bind
from tenantry.store import Engine, Kind, Migration, Refusal, Schema, Statement, Survey, Table, each_organization

KEPT_LONGER_MS = 2 * CLOCK_SKEW_MS
"""Two nodes, each of them as far from the database's clock as a node that is ready can be."""

FORGET_EVERY_MS = 1_000
ORGANIZATIONS_A_TURN = 16

SEEN = Table("oauth_seen", Kind.EPHEMERAL, worker_sees_all=True)

REMEMBER = Statement(
    "oauth_remember",
    SEEN,
    "INSERT INTO oauth_seen (org, digest, ends_at) VALUES (:org, :digest, :ends_at) ON CONFLICT DO NOTHING",
    {"digest": bytes, "ends_at": int},
    key=("digest",),
    many="INSERT INTO oauth_seen (org, digest, ends_at) SELECT org, digest, ends_at FROM alive "
    "ON CONFLICT DO NOTHING RETURNING org, digest",
)
FORGET = Statement(
    "oauth_forget",
    SEEN,
    "DELETE FROM oauth_seen WHERE org = :org AND digest IN "
    "(SELECT digest FROM oauth_seen WHERE org = :org AND ends_at < :before ORDER BY ends_at LIMIT :most)",
    {"before": int, "most": int},
)
_WITH_SOME_OVER = Survey(
    "oauth_with_some_over",
    "SELECT DISTINCT org FROM oauth_seen WHERE org > :after AND ends_at < :before ORDER BY org LIMIT :most",
    {"after": str, "before": int, "most": int},
    role="worker",
)

SCHEMA = Schema(
    room="oauth",
    tables=(SEEN,),
    statements=(REMEMBER, FORGET),
    reads=(),
    migrations=(
        Migration(
            1,
            "expand",
            "what was presented once",
            """
CREATE TABLE oauth_seen (org text NOT NULL, digest {bytes} NOT NULL, ends_at {int} NOT NULL, PRIMARY KEY (org, digest)) {strict};
CREATE INDEX oauth_seen_ends ON oauth_seen (org, ends_at);
""",
        ),
    ),
)


class Once(msgspec.Struct, frozen=True):
    """A thing that may be presented once, and until when it could be."""

    digest: bytes
    until_ms: int

    @classmethod
    def of(cls, kind: str, whose: str, jti: str, until_ms: int) -> "Once":
        """`jti` of this kind of thing by this client or key: two clients may use the same text, and whole texts are compared."""
        return cls(hashlib.sha256(bind(kind, whose, jti)).digest(), until_ms)


def once(w: WriteSet, thing: Once, otherwise: Refusal = AlreadyDone) -> None:
    """Refuse the set with `otherwise` if any node has seen this thing in this organization before.

    One of them in a set that changes no state shares a transaction with its like; a second one does not.
    """
    w.write(REMEMBER, otherwise=otherwise, digest=thing.digest, ends_at=thing.until_ms + KEPT_LONGER_MS)


class Forgetting:
    """The work of forgetting what could not be presented again anyway. Call `turn` as a `Working`'s aside."""

    name = "oauth_forget"
    beat_ms = FORGET_EVERY_MS

    def __init__(self, engine: Engine, journal: Journal, clock: Clock) -> None:
        self._engine = engine
        self._journal = journal
        self._clock = clock
        self._round = self.backlog()

    async def ready(self) -> None:
        """See `Work`: any node can."""

    def backlog(self) -> AsyncIterator[str]:
        """See `Work`."""
        return each_organization(self._engine, _WITH_SOME_OVER, before=self._clock.now_ms())

    async def do(self, org: str, duty: Duty) -> bool:
        """See `Work`: one page of what is over; the rest is for the next round."""
        async with self._journal.begin_duty(scopes.of_job(org), duty) as w:
            w.write(FORGET, before=self._clock.now_ms(), most=PAGE_ROWS)
        return False

    async def turn(self, duty: Duty) -> None:
        """A page of each of the next few organizations, in rounds without an end.

        Raises:
            NotOurs: the duty was lost.
        """
        for _ in range(ORGANIZATIONS_A_TURN):
            org = await anext(self._round, "")
            if not org:
                self._round = self.backlog()
                return
            await self.do(org, duty)
