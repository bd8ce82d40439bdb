"""The feed: what was cut, told to verifiers outside as soon as this node hears of it, and with it the newest checkpoint.

The stream (server-sent events) only makes it quick. What lets a verifier say yes is the ping: it answers how old this node's last completed
read is, measured as it answers, and which cuts this node has applied lately. A verifier that was complete up to a moment X asks for the
cuts applied since then, in milliseconds of its own clock: whatever was committed after X was applied after it, on any node, so that the
answer makes it complete up to the moment it asked less that age. No clock is compared, and it need not be the node of the stream.

An organization's own services hear of its cuts and the platform's, the platform's of all. A subscriber gets first what no token can have
outlived, or what came after its `Last-Event-ID`.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator

import msgspec

from tenantry.audit.schema import LAST_CHECKPOINT
from tenantry.core import scopes
from tenantry.core.clock import Clock
from tenantry.core.errors import Ended, Stale
from tenantry.core.ids import PLATFORM
from tenantry.core.limits import PAGE_ROWS
from tenantry.core.principal import Principal
from tenantry.journal import Change, Cuts, Journal, Lease
from tenantry.sessions.claims import FOLLOWED_LIFETIME_MS
from tenantry.sessions.schema import CUTS_SINCE, CUTS_WITHIN
from tenantry.store import Engine

WINDOW_MS = FOLLOWED_LIFETIME_MS + 10 * 60_000
"""Cuts older than this end nothing that still lives: the longest life of a token, and how long a commit may take and clocks may differ."""

RECENT_S = 60
"""How far back a ping may ask."""

RECENT_MAX = 20_000
"""Changes that a node keeps for pings; beyond it they reach less far back."""

QUEUE_MAX = 1_024
"""Changes that wait for one subscriber; with more it is dropped, and told so."""

STREAM_LIVES_S = 300
"""After this a stream ends, and is opened again with a credential that holds then."""

HEARTBEAT_S = 5.0

_POSITION = re.compile(r"(\d{1,16})\.(\d{1,16})")


class Told(msgspec.Struct, frozen=True):
    """A cut: what descends from `id` and was made at a revision below `rev` is dead."""

    org: str
    id: str
    rev: int


class Hello(msgspec.Struct, frozen=True):
    """The first event of a stream."""

    node: str
    incarnation: int
    issuer: str
    organization: str | None
    """Whose cuts are told besides the platform's; of all where there is none."""

    window_ms: int


class Pong(msgspec.Struct, frozen=True):
    """What a node knows as it answers."""

    node: str
    incarnation: int
    age_ms: float
    """Since its last completed read of the changelog began."""

    whole: bool
    """Whether `cuts` are all that this node applied in the time asked for. If not, the stream must be opened again."""

    cuts: list[Told]
    withheld: list[str]
    """Organizations of which this node can say nothing."""


class Note(msgspec.Struct, frozen=True):
    """The newest checkpoint of the organization's log, as it was signed."""

    note: str


class _Subscriber:
    """One open stream. `Feed.apply` fills its queue, the stream's own generator empties it."""

    __slots__ = ("dropped", "organization", "own", "platform", "queue")

    def __init__(self, organization: str | None) -> None:
        self.organization = organization
        self.queue: asyncio.Queue[Change | None] = asyncio.Queue(QUEUE_MAX)
        self.own = self.platform = 0  # the revisions up to which it was told all
        self.dropped = False

    def offer(self, change: Change) -> None:
        """Take a change in, or be dropped where too many wait."""
        if self.dropped or not _concerns(self.organization, change):
            return
        self.dropped = self.queue.full()
        if self.dropped:
            self.queue.get_nowait()
        self.queue.put_nowait(None if self.dropped else change)

    def reach(self, org: str, rev: int) -> None:
        """It was told everything of `org` up to `rev`."""
        if self.organization is None:
            return
        if org == PLATFORM:
            self.platform = max(self.platform, rev)
        else:
            self.own = max(self.own, rev)

    def knows(self, change: Change) -> bool:
        """Whether it was told this before the stream began to follow. Who is told of all organizations may hear a thing twice."""
        return change.rev <= (self.platform if change.org == PLATFORM else self.own)

    def place(self) -> str:
        """What `Last-Event-ID` names. Who is told of all organizations begins with the window instead."""
        return f"{self.own}.{self.platform}" if self.organization else ""


class Feed:
    """A node's feed. A follower: add it to `Following` after `Cuts`, and call `start` once that has started. Owned by the event loop."""

    def __init__(
        self,
        node: str,
        engine: Engine,
        journal: Journal,
        cuts: Cuts,
        lease: Lease,
        clock: Clock,
        *,
        incarnation: int,
        issuer: str,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._node = node
        self._engine = engine
        self._journal = journal
        self._cuts = cuts
        self._lease = lease
        self._clock = clock
        self._incarnation = incarnation
        self._issuer = issuer
        self._heartbeat_s = heartbeat_s
        self._recent: deque[tuple[float, Change]] = deque()
        self._whole_since = float("inf")
        self._subscribers: set[_Subscriber] = set()

    def start(self) -> None:
        """From now on this node hears of everything."""
        self._whole_since = self._clock.boottime()

    def apply(self, change: Change) -> None:
        """See `Follower`."""
        if change.cut == "[]":
            return
        now = self._clock.boottime()
        self._recent.append((now, change))
        while len(self._recent) > RECENT_MAX or self._recent[0][0] < now - RECENT_S:
            applied, _ = self._recent.popleft()
            self._whole_since = max(self._whole_since, applied)
        for subscriber in self._subscribers:
            subscriber.offer(change)

    def pong(self, org: str, within_ms: int) -> Pong:
        """What a verifier of `org` needs that was complete `within_ms` ago.

        Raises:
            Stale: this node may say nothing now.
        """
        organization = _told_of(org)
        self._lease.check(PLATFORM, *([organization] if organization else []))
        since = self._clock.boottime() - within_ms / 1000
        told: list[Told] = []
        for applied, change in reversed(self._recent):
            if applied < since:
                break
            if _concerns(organization, change):
                told += _told(change)
        withheld = [] if organization else sorted(self._lease.withheld)
        whole = since > self._whole_since
        return Pong(self._node, self._incarnation, self._lease.age_ms(), whole, told, withheld)

    async def follow(self, principal: Principal, org: str, last_event_id: str) -> AsyncGenerator[bytes, None]:
        """The stream of a subscriber that acts for `org`. It ends by itself: after `STREAM_LIVES_S`, when the subscriber reads too slowly,
        and with its credential.
        """
        subscriber = _Subscriber(_told_of(org))
        self._subscribers.add(subscriber)
        opened = self._clock.boottime()
        looked, checkpoint = 0.0, 0
        try:
            yield _event(
                "hello", Hello(self._node, self._incarnation, self._issuer, subscriber.organization, WINDOW_MS)
            )
            async for change in self._earlier(subscriber, last_event_id):
                yield _cuts(subscriber, change)
            yield _event("now", {}, subscriber.place())
            while (now := self._clock.boottime()) < opened + STREAM_LIVES_S:
                if await self._has_ended(principal):
                    yield _event("ended", {})
                    return
                if now >= looked + self._heartbeat_s:
                    looked = now
                    for row in await self._journal.reads(scopes.of_job(org)).all(LAST_CHECKPOINT):
                        if row.size > checkpoint:
                            checkpoint = row.size
                            yield _event("checkpoint", Note(row.note.decode()))
                try:
                    async with asyncio.timeout(self._heartbeat_s):
                        change = await subscriber.queue.get()
                except TimeoutError:
                    yield b":\n\n"
                    continue
                if change is None:
                    yield _event("dropped", {})
                    return
                if not subscriber.knows(change):
                    yield _cuts(subscriber, change)
            yield _event("over", {})
        finally:
            self._subscribers.discard(subscriber)

    async def _has_ended(self, principal: Principal) -> bool:
        try:
            await self._cuts.check(principal)
        except Ended:
            return True
        except Stale:
            return False  # what this node says then renews nobody's lease
        return False

    async def _earlier(self, subscriber: _Subscriber, last_event_id: str) -> AsyncIterator[Change]:
        """What was cut before the stream was opened, read from the primary after it was."""
        since_ms = self._clock.now_ms() - WINDOW_MS
        if subscriber.organization is None:
            async for change in self._of_all(since_ms):
                yield change
            return
        known = _POSITION.fullmatch(last_event_id)
        if known:
            since_ms, subscriber.own, subscriber.platform = 0, int(known[1]), int(known[2])
        for org, told in ((subscriber.organization, subscriber.own), (PLATFORM, subscriber.platform)):
            scope, after = scopes.of_job(org), told
            head, reads = await self._journal.head(scope), self._journal.reads(scope)
            while page := await reads.all(CUTS_SINCE, after=after, since=since_ms, most=PAGE_ROWS):
                for change in page:
                    yield change
                after = page[-1].rev
            subscriber.reach(org, head.rev)

    async def _of_all(self, since_ms: int) -> AsyncIterator[Change]:
        org, rev = "", 0
        while rows := await self._engine.survey(
            CUTS_WITHIN, since=since_ms, after_org=org, after_rev=rev, most=PAGE_ROWS
        ):
            for row in rows:
                yield Change(*row)
            org, rev = rows[-1][0], rows[-1][1]


def _told_of(org: str) -> str | None:
    """Whose cuts are told to a subscriber of `org`; of all to the platform's own."""
    return None if org == PLATFORM else org


def _told(change: Change) -> list[Told]:
    return [Told(change.org, branch, change.rev) for branch in change.cut_ids()]


def _concerns(organization: str | None, change: Change) -> bool:
    return organization in (None, change.org) or change.org == PLATFORM


def _cuts(subscriber: _Subscriber, change: Change) -> bytes:
    """An event of cuts, with the place that the subscriber has reached by it."""
    subscriber.reach(change.org, change.rev)
    return _event("cuts", _told(change), subscriber.place())


def _event(name: str, data: object, place: str = "") -> bytes:
    """One event (HTML, 9.2.5). JSON has no line breaks."""
    head = f"id: {place}\n" if place else ""
    return f"event: {name}\n{head}data: ".encode() + msgspec.json.encode(data) + b"\n\n"
