"""The graphs of a node's stores: each read once, in pieces, then kept true to the changelog, and forgotten when memory runs short.

A graph is exactly at a revision. It is read while writers go on: what it read may be newer than where it began, so the changes from
there on are taken in once more, up to a head that was read after the last piece; taking one in twice changes nothing. From then on a
change that this node has heard of and that touches the store makes whoever asks after it wait until the graph has it. A change is never
taken in while somebody walks.

The derived tuples of a `TupleSource` are never older than the graph's revision; one that changes while it is read may be newer.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import ExitStack, suppress

from tenantry.access.graph import Graph
from tenantry.access.models import Models
from tenantry.access.schema import CHANGES_OF, TUPLES_OF, ChangeRow, Store, TupleRow
from tenantry.access.sources import TupleSource
from tenantry.access.stores import StoreNotFound, store_of
from tenantry.access.tuples import TupleKey, read_subject
from tenantry.access.writing import key_of
from tenantry.core import scopes
from tenantry.core.clock import Clock
from tenantry.core.errors import Invalid, Stale, TenantryError, Unavailable
from tenantry.core.ids import LENGTH, is_ulid
from tenantry.core.limits import LEASE_MS, PAGE_ROWS
from tenantry.journal import Change, Journal, Lease, Reads
from tenantry.journal.schema import CHANGES, HEAD

KEPT_TUPLES = 3_000_000
"""Tuples in memory, about 100 bytes each; beyond it the stores asked for longest ago are forgotten and read again."""

STORE_WEIGHS = 100
"""What a store counts for besides its tuples."""

LOAD_S = 15.0
"""How long a question waits for a store that is being read; the reading goes on."""

_OF_STORES = ("model_", "app_")
"""What a change names when a store was moved to a model, or removed."""


class StoreGraph:
    """One store in memory. Owned by the event loop; walk its `graph` at once, or between `enter` and `leave`."""

    def __init__(self, store: Store, graph: Graph) -> None:
        self.store = store
        self.graph = graph
        self.at = 0
        """The revision that the graph is at."""
        self.due = 0
        """The newest revision heard of that touched the store; above `at` while the graph lacks it."""
        self.heard = 0
        """The newest revision heard of the organization."""
        self.touched: dict[str, int] = {}
        """What else has to be read again since which revision: objects of sources, and the store's own row."""
        self.moved = asyncio.Event()
        self.following: asyncio.Task[None] | None = None
        self.failure: TenantryError | None = None
        """Why the last try to take something in failed."""
        self._walkers = 0
        self._left = asyncio.Event()

    @property
    def current(self) -> bool:
        """Whether it has everything that this node has heard of."""
        return self.due <= self.at and not self.touched

    @property
    def revision(self) -> int:
        """The revision that an answer is given at: of what was heard since, nothing touches a store that is current."""
        return max(self.at, self.heard) if self.current else self.at

    def lacks(self, rev: int) -> bool:
        """Whether it lacks anything up to a revision, or this node has not heard of that yet."""
        unheard = max(self.at, self.heard) < rev
        return unheard or self.at < min(self.due, rev) or any(since <= rev for since in self.touched.values())

    def enter(self) -> None:
        """Keep the graph as it is until `leave`, although the walker waits."""
        self._walkers += 1

    def leave(self) -> None:
        """Let the graph change again once nobody walks it."""
        self._walkers -= 1
        self._left.set()

    async def still(self) -> None:
        """Wait until nobody walks it. New walkers wait for what is due, so that they do not keep it from changing."""
        while self._walkers:
            self._left.clear()
            await self._left.wait()

    def wake(self) -> None:
        """Tell whoever waits that it has moved."""
        moved, self.moved = self.moved, asyncio.Event()
        moved.set()


class Graphs:
    """A node's graphs. A follower: add it to `Following` before that starts. Owned by the event loop."""

    def __init__(
        self,
        journal: Journal,
        models: Models,
        lease: Lease,
        clock: Clock,
        sources: Iterable[TupleSource] = (),
        *,
        kept_tuples: int = KEPT_TUPLES,
    ) -> None:
        self._journal = journal
        self._models = models
        self._lease = lease
        self._clock = clock
        self._sources = tuple(sources)
        self._prefixes = (*_OF_STORES, *(f"{source.prefix}_" for source in self._sources))
        self._most = kept_tuples
        self._kept: OrderedDict[tuple[str, str], StoreGraph] = OrderedDict()
        self._of_org: dict[str, dict[str, StoreGraph]] = {}
        self._loading: dict[tuple[str, str], asyncio.Task[StoreGraph]] = {}

    @property
    def tuples(self) -> int:
        """How many tuples are in memory."""
        return sum(known.graph.size for known in self._kept.values())

    def apply(self, change: Change) -> None:
        """See `Follower`."""
        stores = self._of_org.get(change.org)
        if not stores:
            return
        touched = change.touched_ids()
        again = self._to_read_again(touched)
        for store, known in stores.items():
            known.heard = change.rev
            if store in touched or again:
                known.due = change.rev
                known.touched |= dict.fromkeys(again, change.rev)
                self._follow(known, change.org)
            known.wake()

    async def open(self, org: str, store: str, *, at_least: int = 0) -> StoreGraph:
        """A store's graph that has everything this node had heard of when it was asked, and `at_least`. Walk it at once.

        Raises:
            StoreNotFound: the organization has no such store.
            Invalid: it has no such revision.
            Stale: this node has not heard recently enough, or did not catch up within the lease.
            Unavailable: the store cannot be read, is still being read, or is too large for this node.
        """
        until = self._clock.boottime() + LEASE_MS / 1000
        known = await self._known(org, store)
        if known.revision < at_least:
            head = await self._journal.head(scopes.of_job(org))
            if head.rev < at_least:
                raise Invalid(f"There is no revision {at_least} yet.", hint="Use one that an answer named.")
        needed = max(known.heard, at_least)  # and not what is heard while waiting: under steady writing that has no end
        while known.lacks(needed):
            self._follow(known, org)
            left = until - self._clock.boottime()
            if left <= 0:
                raise Stale(hint="This node is behind; ask again in a second.", retry_after_ms=LEASE_MS)
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await known.moved.wait()
            if known.failure is not None:
                raise Unavailable("What changed in the store cannot be read.") from known.failure
            known = await self._known(org, store)
        self._lease.check(org)
        return known

    async def close(self) -> None:
        """Stop reading."""
        tasks = [*self._loading.values(), *(k.following for k in self._kept.values() if k.following is not None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _known(self, org: str, store: str) -> StoreGraph:
        """The store's graph, read once and shared by all who wait for it."""
        place = (org, store)
        known = self._kept.get(place)
        if known is not None:
            self._kept.move_to_end(place)
            return known
        if place not in self._loading:
            self._loading[place] = asyncio.create_task(self._load(org, store))
        try:
            async with asyncio.timeout(LOAD_S):
                return await asyncio.shield(self._loading[place])
        except TimeoutError as error:
            raise Unavailable("The store is being read.", hint="Ask again in some seconds.") from error

    async def _load(self, org: str, store: str) -> StoreGraph:
        reads = self._journal.reads(scopes.of_job(org))
        with ExitStack() as undone:
            undone.callback(self._loading.pop, (org, store))
            row = await store_of(reads, store)
            known = StoreGraph(row, Graph(self._models.names(row.application)))
            self._of_org.setdefault(org, {})[store] = known  # from here on it is told of what changes
            undone.callback(self._forget, org, store)
            await self._read(known, reads)
            undone.pop_all()
        del self._loading[org, store]
        self._keep(org, store, known)
        return known

    async def _read(self, known: StoreGraph, reads: Reads) -> None:
        known.at = (await reads.one(HEAD)).rev
        await self._read_tuples(known, reads)
        for source in self._sources:
            async for keys in source.load(reads):
                self._add(known, keys)
                await asyncio.sleep(0)
        head = (await reads.one(HEAD)).rev
        again = await self._touched(reads, known.at, head)
        known.touched |= dict.fromkeys((*again, known.store.application), head)
        known.due = max(known.due, head)
        await self._settle(known, reads)

    async def _touched(self, reads: Reads, after: int, upto: int) -> set[str]:
        """What changed in sources while a store was read, of which this node need not have heard yet."""
        touched: set[str] = set()
        while after < upto and (changes := await reads.all(CHANGES, after=after, most=PAGE_ROWS)):
            for change in changes:
                touched |= self._to_read_again(change.touched_ids())
            after = changes[-1].rev
        return touched

    def _to_read_again(self, touched: list[str]) -> set[str]:
        return {one for one in touched if one.startswith(self._prefixes)}

    async def _read_tuples(self, known: StoreGraph, reads: Reads) -> None:
        last = TupleRow("", "", "", "", "", "", 0)
        while rows := await reads.all(
            TUPLES_OF,
            store=known.store.id,
            after_type=last.type,
            after_id=last.id,
            after_relation=last.relation,
            after_subject=last.subject,
            most=PAGE_ROWS,
        ):
            await asyncio.sleep(0)  # a read of SQLite is done on the loop, and so is this: others come between
            self._add(known, [key_of(row) for row in rows if not self._derived(row)])
            last = rows[-1]
            await asyncio.sleep(0)

    def _add(self, known: StoreGraph, keys: list[TupleKey]) -> None:
        for key in keys:
            known.graph.add(key)
        if known.graph.size > self._most:
            raise Unavailable("The store holds more tuples than this node keeps in memory.")

    async def _settle(self, known: StoreGraph, reads: Reads) -> None:
        """Take in everything that it was told of, whole revisions at a time."""
        while not known.current:
            due, touched = known.due, sorted(known.touched)
            if any(one.startswith(_OF_STORES) for one in touched):
                known.store = await store_of(reads, known.store.id)
            await self._take_in_sources(known, reads, touched)
            await self._take_in(known, reads, due)
            known.touched = {one: rev for one, rev in known.touched.items() if rev > due}
            known.wake()

    async def _take_in(self, known: StoreGraph, reads: Reads, upto: int) -> None:
        waiting: list[ChangeRow] = []
        rev, place = known.at + 1, -1
        while rev <= upto:
            rows = await reads.all(CHANGES_OF, store=known.store.id, rev=rev, place=place, most=PAGE_ROWS)
            waiting += (row for row in rows if row.rev <= upto)
            if len(rows) < PAGE_ROWS:
                break
            rev, place = rows[-1].rev, rows[-1].place
            whole = [row for row in waiting if row.rev < rev]
            waiting = waiting[len(whole) :]
            await self._change(known, whole)
            await asyncio.sleep(0)
        await self._change(known, waiting)
        known.at = max(known.at, upto)

    async def _change(self, known: StoreGraph, rows: list[ChangeRow]) -> None:
        if not rows:
            return
        await known.still()
        for row in rows:
            if self._derived(row):
                continue
            if row.added:
                known.graph.add(key_of(row))
            else:
                known.graph.remove(key_of(row))
        known.at = rows[-1].rev

    def _follow(self, known: StoreGraph, org: str) -> None:
        """Take in what is due, unless that is under way; a store that is being read does so by itself."""
        if known.current or (org, known.store.id) in self._loading or known.following is not None:
            return
        known.failure = None
        known.following = asyncio.create_task(self._catch_up(known, org))

    async def _catch_up(self, known: StoreGraph, org: str) -> None:
        """What fails is tried again by the next who asks; until then nobody is answered."""
        try:
            await self._settle(known, self._journal.reads(scopes.of_job(org)))
        except StoreNotFound:
            self._forget(org, known.store.id)
        except TenantryError as error:
            known.failure = error
        finally:
            known.following = None
            known.wake()

    async def _take_in_sources(self, known: StoreGraph, reads: Reads, touched: list[str]) -> None:
        for source in self._sources:
            for one in touched:
                if one.startswith(f"{source.prefix}_"):
                    await self._take_in_source(known, reads, source, one)

    async def _take_in_source(self, known: StoreGraph, reads: Reads, source: TupleSource, touched: str) -> None:
        """Read the tuples of one object again; only what differs is changed, in one go."""
        graph, object_ = known.graph, f"{source.type}:{touched}"
        node = _node(graph, object_, source.relation)
        kept, fresh = set[int](), list[TupleKey]()
        async for keys in source.of(reads, touched):
            for key in keys:
                subject = read_subject(key.user)
                user = _node(graph, subject.object, subject.relation)
                if node and user and graph.has(node, user):
                    kept.add(user)
                else:
                    fresh.append(key)
            await asyncio.sleep(0)
        await known.still()
        for user in (*graph.objects(node), *graph.usersets(node)):
            if user not in kept:
                graph.remove(TupleKey(graph.text(user), source.relation, object_))
        self._add(known, fresh)

    def _derived(self, row: TupleRow | ChangeRow) -> bool:
        """Whether the tuple is a source's to say."""
        return any(
            (source.type, source.relation) == (row.type, row.relation)
            and row.id.startswith(f"{source.prefix}_")
            and is_ulid(row.id[-LENGTH:])
            for source in self._sources
        )

    def _keep(self, org: str, store: str, known: StoreGraph) -> None:
        self._kept[org, store] = known
        size = self.tuples + STORE_WEIGHS * len(self._kept)
        while size > self._most and len(self._kept) > 1:
            (other, forgotten), least = next(iter(self._kept.items()))
            size -= least.graph.size + STORE_WEIGHS
            self._forget(other, forgotten)

    def _forget(self, org: str, store: str) -> None:
        self._kept.pop((org, store), None)
        stores = self._of_org.get(org, {})
        stores.pop(store, None)
        if not stores:
            self._of_org.pop(org, None)


def _node(graph: Graph, object_: str, relation: str) -> int:
    """The number of an object with a relation; zero, which is nobody's, if no tuple has named the object."""
    node = graph.node(object_)
    return node | graph.names.relation(relation) if node else 0
