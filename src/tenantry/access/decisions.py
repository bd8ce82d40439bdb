"""Deciding over stored tuples: the one entry for the server's own routes and for the interface alike.

An answer is given at one revision and one model, and names both. A principal that may not act is refused before anything is walked. What
takes long (lists, explanations) is walked on a thread of a small pool while the graph stands still; a list is complete, or an error.
"""

import asyncio
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias, TypeVar

import msgspec

from tenantry.access.batch import Item, check_all
from tenantry.access.chain import Chain, Verdict, bounded
from tenantry.access.check import check
from tenantry.access.closure import Outcome
from tenantry.access.decision_log import DecisionLog
from tenantry.access.errors import AccessError, ConditionFailed, DepthExceeded, LimitExceeded, TooComplex
from tenantry.access.expand import Node, expand
from tenantry.access.explain import Explanation, explain
from tenantry.access.graphs import Graphs, StoreGraph
from tenantry.access.limits import LIST_MAX
from tenantry.access.lists import find_objects, find_users
from tenantry.access.models import Models
from tenantry.access.plan import Plan
from tenantry.access.question import admit
from tenantry.access.sources import Standing
from tenantry.access.tuples import TupleKey
from tenantry.core.errors import Misuse, Throttled
from tenantry.core.ids import is_ulid
from tenantry.core.scopes import TenantScope

STREAM_MAX = 100_000
"""Objects of one streamed list."""

WALK_S = 3.0
"""How long a list may be looked for (OpenFGA: 3 s)."""

WALKS = 2
WALKS_WAITING = 32
"""Lists and explanations under way at one time, and those that wait for their turn; more are refused."""

PRINCIPALS = {"user": "user", "agent": "agent", "service": "service", "mcp_server": "mcp", "job": "job"}
"""The prefix of the ids of each type of principal. Subjects of other ids are the vendor's own, and have no standing."""

INACTIVE = "inactive"
"""What decided where the subject may not act at all."""

T = TypeVar("T")
Context: TypeAlias = Mapping[str, object]
"""What a question says to the conditions of tuples."""


class Asking(msgspec.Struct, frozen=True):
    """Who asks, by which request: for the log."""

    caller: str = ""
    request: str = ""


class At(msgspec.Struct, frozen=True):
    """What an answer is to be given at: a model other than the store's, and a revision that it must not be older than."""

    model: str = ""
    revision: int = 0


class Decision(msgspec.Struct, frozen=True):
    """An answer. `because` is empty where the graph decided; `verdict` says of a chain what every party of it said."""

    allowed: bool
    revision: int
    model: str
    because: str = ""
    verdict: Verdict | None = None
    explanation: Explanation | None = None


class Listed(msgspec.Struct, frozen=True):
    """A complete list, in the order of names."""

    items: list[str]
    revision: int
    model: str


class Expanded(msgspec.Struct, frozen=True):
    """One level of a relation."""

    root: Node
    revision: int
    model: str


class _View(msgspec.Struct, frozen=True, eq=False):
    """What one answer is worked out from."""

    org: str
    known: StoreGraph
    model: str
    plan: Plan
    revision: int


NOBODY = Asking()
NOW = At()


class Decisions:
    """A node's decisions. `standing` says which principals are active; without it all are. Owned by the event loop."""

    def __init__(self, graphs: Graphs, models: Models, log: DecisionLog, standing: Standing | None = None) -> None:
        self._graphs = graphs
        self._models = models
        self._log = log
        self._standing = standing
        self._pool = ThreadPoolExecutor(WALKS, "walk")
        self._walks = 0

    def close(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def check(
        self,
        scope: TenantScope,
        store: str,
        key: TupleKey,
        *,
        contextual: tuple[TupleKey, ...] = (),
        context: Context | None = None,
        chain: Chain | None = None,
        at: At = NOW,
        asking: Asking = NOBODY,
        explained: bool = False,
    ) -> Decision:
        """Decide; for a `chain` that acts for `key.user`, whether all of it may. `explained` also says why, which is dearer.

        Raises:
            StoreNotFound, NoModel, ModelNotFound: there is nothing to decide by.
            AccessError, InvalidTuple, ConditionFailed, TooComplex: as `check.check`.
            Stale, Unavailable: this node cannot say now.
            Misuse: the chain acts for another subject.
        """
        if chain is not None and chain.subject != key.user:
            raise Misuse("A chain is asked about its own subject.")
        inactive = await self._inactive(scope.org, _parties(key, chain), at)
        view = await self._view(scope, store, at)
        if not explained:
            return self._decide(view, Item("", key, contextual, context), chain, inactive, asking)
        walk = functools.partial(explain, view.plan, view.known.graph, key, contextual, context)
        explanation = await self._apart(view, walk)
        undecided = _UNDECIDED.get(explanation.outcome, "")
        decision = self._settle(view, key, chain, inactive, asking, allowed=explanation.allowed, undecided=undecided)
        return msgspec.structs.replace(decision, explanation=explanation)

    async def batch_check(
        self,
        scope: TenantScope,
        store: str,
        items: Sequence[Item],
        *,
        at: At = NOW,
        asking: Asking = NOBODY,
    ) -> dict[str, Decision | AccessError]:
        """Decide many at one revision, each by itself: one that cannot be decided is answered with its error.

        Raises:
            AccessError: there are none or too many, or two have the same id.
            StoreNotFound, NoModel, ModelNotFound, Stale, Unavailable: as `check`.
        """
        inactive = await self._inactive(scope.org, {item.key.user for item in items}, at)
        view = await self._view(scope, store, at)
        found = check_all(view.plan, view.known.graph, items)
        answers: dict[str, Decision | AccessError] = {}
        for item in items:
            answer = found[item.correlation_id]
            if isinstance(answer, AccessError):
                self._note_failure(view, item.key, asking, answer)
                answers[item.correlation_id] = answer
            else:
                answers[item.correlation_id] = self._settle(view, item.key, None, inactive, asking, allowed=answer)
        return answers

    async def list_objects(
        self,
        scope: TenantScope,
        store: str,
        user: str,
        relation: str,
        type_: str,
        *,
        contextual: tuple[TupleKey, ...] = (),
        context: Context | None = None,
        at: At = NOW,
        asking: Asking = NOBODY,
        most: int = LIST_MAX,
    ) -> Listed:
        """Every object of the type to which `user` has the relation.

        Raises:
            LimitExceeded: there are more than `most`.
            TooComplex: one of them cannot be decided, or looking took too long.
            Throttled: too many lists are under way.
            Others: as `check`.
        """
        inactive = await self._inactive(scope.org, {user}, at)
        view = await self._view(scope, store, at)
        watch = _Watch()
        found = find_objects(view.plan, view.known.graph, user, relation, type_, contextual, context, watch)
        walk = functools.partial(_complete, found, most)
        items = [] if user in inactive else await self._apart(view, walk, watch)
        self._note(view, TupleKey(user, relation, type_), asking, allowed=bool(items), because=f"listed {len(items)}")
        return Listed(items, view.revision, view.model)

    async def list_users(
        self,
        scope: TenantScope,
        store: str,
        object_: str,
        relation: str,
        filter_: str,
        *,
        contextual: tuple[TupleKey, ...] = (),
        context: Context | None = None,
        at: At = NOW,
        asking: Asking = NOBODY,
    ) -> Listed:
        """Every user of the kind `filter_` (`user` or `group#member`) who has the relation and may act.

        Raises:
            LimitExceeded, TooComplex, Throttled: as `list_objects`.
            Others: as `check`.
        """
        view = await self._view(scope, store, at)
        watch = _Watch()
        found = find_users(view.plan, view.known.graph, object_, relation, filter_, contextual, context, watch)
        items = await self._apart(view, functools.partial(_complete, found, LIST_MAX), watch)
        inactive = await self._inactive(scope.org, set(items), at)
        active = [one for one in items if one not in inactive]
        key = TupleKey(filter_, relation, object_)
        self._note(view, key, asking, allowed=bool(active), because=f"listed {len(active)}")
        return Listed(active, view.revision, view.model)

    async def expand(
        self,
        scope: TenantScope,
        store: str,
        object_: str,
        relation: str,
        *,
        contextual: tuple[TupleKey, ...] = (),
        context: Context | None = None,
        at: At = NOW,
    ) -> Expanded:
        """One level of how a relation is made up; it says nothing of who is active.

        Raises:
            As `expand.expand`, and what `check` raises for the store.
        """
        view = await self._view(scope, store, at)
        root = expand(view.plan, view.known.graph, object_, relation, contextual, context)
        return Expanded(root, view.revision, view.model)

    async def _view(self, scope: TenantScope, store: str, at: At) -> _View:
        """Nothing is awaited between the graph's opening and what is returned."""
        self._log.check()
        while True:
            known = await self._graphs.open(scope.org, store, at_least=at.revision)
            kept = self._models.kept(known.store, at.model)
            if kept is not None:
                return _View(scope.org, known, *kept, known.revision)
            await self._models.plan(known.store, at.model)

    def _decide(self, view: _View, item: Item, chain: Chain | None, inactive: set[str], asking: Asking) -> Decision:
        key = item.key
        try:
            if key.user in inactive:
                admit(view.plan, key)
                allowed = False
            else:
                allowed = check(view.plan, view.known.graph, key, item.contextual, item.context)
        except AccessError as error:
            self._note_failure(view, key, asking, error)
            raise
        return self._settle(view, key, chain, inactive, asking, allowed=allowed)

    def _settle(
        self,
        view: _View,
        key: TupleKey,
        chain: Chain | None,
        inactive: set[str],
        asking: Asking,
        *,
        allowed: bool,
        undecided: str = "",
    ) -> Decision:
        """What the graph said, within what the subject's standing and the chain let it."""
        verdict = bounded(chain, key.relation, key.object, subject=allowed) if chain else None
        because = INACTIVE if inactive & _parties(key, chain) else undecided
        if not because and verdict and allowed and verdict.denials:
            because = str(verdict.denials[0])
        allowed = allowed and not because
        self._note(view, key, asking, allowed=allowed, because=because)
        return Decision(allowed, view.revision, view.model, because, verdict)

    def _note_failure(self, view: _View, key: TupleKey, asking: Asking, error: AccessError) -> None:
        """A question that was understood and could not be decided is in the log, too; nothing was permitted."""
        if isinstance(error, TooComplex | ConditionFailed):
            self._note(view, key, asking, allowed=False, because=error.reason)

    def _note(self, view: _View, key: TupleKey, asking: Asking, *, allowed: bool, because: str) -> None:
        said = (key.user, key.relation, key.object, int(allowed), because, asking.caller, asking.request)
        self._log.note(view.org, view.known.store.id, view.model, view.revision, *said)

    async def _inactive(self, org: str, subjects: set[str], at: At) -> set[str]:
        """Those of the subjects that are principals and may not act."""
        if self._standing is None:
            return set()
        principals = {subject: id_ for subject in subjects if (id_ := principal_of(subject))}
        standing, rev = self._standing, at.revision
        return {subject for subject, id_ in principals.items() if not await standing.active(org, id_, at_least=rev)}

    async def _apart(self, view: _View, walk: Callable[[], T], watch: "_Watch | None" = None) -> T:
        """Walk on a thread of the pool; the graph stands still until it has ended, whether or not somebody still waits."""
        if self._walks >= WALKS + WALKS_WAITING:
            raise Throttled("Too many lists are asked for at once.", hint="Ask again in a second.")
        known = view.known
        known.enter()
        self._walks += 1
        walking = asyncio.get_running_loop().run_in_executor(self._pool, walk)
        walking.add_done_callback(lambda _: self._walked(known))
        try:
            return await asyncio.shield(walking)
        except asyncio.CancelledError:
            if watch is not None:
                watch.stopped = True
            raise

    def _walked(self, known: StoreGraph) -> None:
        self._walks -= 1
        known.leave()


class _Watch:
    """Puts an end to a walk that takes too long, or for which nobody waits any more (`stopped`); called at every step of it."""

    def __init__(self) -> None:
        self.stopped = False
        self._until = 0.0
        self._steps = 0

    def __call__(self) -> None:
        self._steps += 1
        if self._steps % _STEPS:
            return
        now = time.monotonic()
        self._until = self._until or now + WALK_S
        if self.stopped or now > self._until:
            raise TooComplex(f"The list takes longer than {WALK_S:g} s.")


_STEPS = 64
"""How many steps a walk takes between looks at the clock."""


def _complete(found: Iterator[str], most: int) -> list[str]:
    """All that is found, in the order of names.

    Raises:
        LimitExceeded: it is more than `most`.
    """
    listed: list[str] = []
    for one in found:
        if len(listed) == most:
            raise LimitExceeded(f"The number of entries exceeds the allowed limit of {most}: ask for fewer.")
        listed.append(one)
    return sorted(listed)


_UNDECIDED = {Outcome.UNDECIDED: ConditionFailed.reason, Outcome.TOO_DEEP: DepthExceeded.reason}
"""Where `check` has an error for an answer, an explanation says the same."""


def principal_of(subject: str) -> str:
    """The id of the principal that a subject, or an actor by its id alone, is; or nothing."""
    type_, colon, id_ = subject.partition(":")
    prefix, _, rest = (id_ if colon else type_).partition("_")
    known = PRINCIPALS.get(type_) == prefix if colon else prefix in PRINCIPALS.values()
    return f"{prefix}_{rest}" if known and is_ulid(rest) else ""


def _parties(key: TupleKey, chain: Chain | None) -> set[str]:
    return {key.user, *(actor.id for actor in chain.actors)} if chain else {key.user}
