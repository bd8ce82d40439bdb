"""Deciding over stored tuples: the one entry for the server's own routes and for the interface alike.

An answer is given at one revision and one model, and names both. A principal that may not act is refused before anything is walked. What
takes long (lists, explanations) is walked on a thread of a small pool while the graph stands still; a list is complete, or an error.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias, TypeVar

import msgspec

from tenantry.access.check import check
from tenantry.access.decision_log import DecisionLog
from tenantry.access.errors import AccessError, ConditionFailed, LimitExceeded, TooComplex
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
from tenantry.core.errors import Throttled
from tenantry.core.ids import is_ulid
from tenantry.core.scopes import TenantScope

BATCH_MAX = 50
"""Questions of one batch (OpenFGA: 50)."""

STREAM_MAX = 100_000
"""Objects of one streamed list."""

WALK_S = 3.0
"""How long a list may be looked for (OpenFGA: 3 s)."""

WALKS = 2
WALKS_WAITING = 32
"""Lists and explanations under way at one time, and those that wait for their turn; more are refused."""

TURN_S = 0.005
"""How long a batch keeps the event loop."""

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


class Question(msgspec.Struct, frozen=True):
    """Whether `key.user` has `key.relation` to `key.object`, the contextual tuples counted as if they were written."""

    key: TupleKey
    contextual: tuple[TupleKey, ...] = ()
    context: Context | None = None


class At(msgspec.Struct, frozen=True):
    """What an answer is to be given at: a model other than the store's, and a revision that it must not be older than."""

    model: str = ""
    revision: int = 0


class Decision(msgspec.Struct, frozen=True):
    """An answer. `because` is empty where the graph decided."""

    allowed: bool
    revision: int
    model: str
    because: str = ""
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
        at: At = NOW,
        asking: Asking = NOBODY,
        explained: bool = False,
    ) -> Decision:
        """Decide; `explained` also says why, which is dearer.

        Raises:
            StoreNotFound, NoModel, ModelNotFound: there is nothing to decide by.
            AccessError, InvalidTuple, ConditionFailed, TooComplex: as `check.check`.
            Stale, Unavailable: this node cannot say now.
        """
        question = Question(key, contextual, context)
        inactive = await self._inactive(scope.org, {key.user})
        view = await self._view(scope, store, at)
        if not explained:
            return self._decide(view, question, inactive, asking)
        explanation = await self._apart(view, lambda: explain(view.plan, view.known.graph, key, contextual, context))
        because = INACTIVE if key.user in inactive else ""
        allowed = explanation.allowed and not because
        self._note(view, key, asking, allowed=allowed, because=because)
        return Decision(allowed, view.revision, view.model, because, explanation)

    async def batch_check(
        self,
        scope: TenantScope,
        store: str,
        questions: list[Question],
        *,
        at: At = NOW,
        asking: Asking = NOBODY,
    ) -> list[Decision | AccessError]:
        """Decide many at one revision, each by itself: one that cannot be decided is answered with its error.

        Raises:
            LimitExceeded: they are too many.
            StoreNotFound, NoModel, ModelNotFound, Stale, Unavailable: as `check`.
        """
        if len(questions) > BATCH_MAX:
            raise LimitExceeded(f"The number of batch checks exceeds the allowed limit of {BATCH_MAX}")
        inactive = await self._inactive(scope.org, {question.key.user for question in questions})
        view = await self._view(scope, store, at)
        answers: list[Decision | AccessError] = []
        view.known.enter()
        try:
            until = time.monotonic() + TURN_S
            for question in questions:
                try:
                    answers.append(self._decide(view, question, inactive, asking))
                except AccessError as error:
                    answers.append(error)
                if time.monotonic() > until:
                    await asyncio.sleep(0)
                    until = time.monotonic() + TURN_S
        finally:
            view.known.leave()
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
        inactive = await self._inactive(scope.org, {user})
        view = await self._view(scope, store, at)
        found = find_objects(view.plan, view.known.graph, user, relation, type_, contextual, context)
        items = [] if user in inactive else await self._apart(view, _Complete(found, most))
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
        found = find_users(view.plan, view.known.graph, object_, relation, filter_, contextual, context)
        items = await self._apart(view, _Complete(found, LIST_MAX))
        inactive = await self._inactive(scope.org, set(items))
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

    def _decide(self, view: _View, question: Question, inactive: set[str], asking: Asking) -> Decision:
        key = question.key
        try:
            if key.user in inactive:
                admit(view.plan, key)
                allowed, because = False, INACTIVE
            else:
                allowed = check(view.plan, view.known.graph, key, question.contextual, question.context)
                because = ""
        except (TooComplex, ConditionFailed) as error:
            self._note(view, key, asking, allowed=False, because=error.reason)
            raise
        self._note(view, key, asking, allowed=allowed, because=because)
        return Decision(allowed, view.revision, view.model, because)

    def _note(self, view: _View, key: TupleKey, asking: Asking, *, allowed: bool, because: str) -> None:
        said = (key.user, key.relation, key.object, int(allowed), because, asking.caller, asking.request)
        self._log.note(view.org, view.known.store.id, view.model, view.revision, *said)

    async def _inactive(self, org: str, subjects: set[str]) -> set[str]:
        """Those of the subjects that are principals and may not act."""
        if self._standing is None:
            return set()
        principals = {subject: id_ for subject in subjects if (id_ := principal_of(subject))}
        return {subject for subject, id_ in principals.items() if not await self._standing.active(org, id_)}

    async def _apart(self, view: _View, walk: Callable[[], T]) -> T:
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
            if isinstance(walk, _Complete):
                walk.stopped = True
            raise

    def _walked(self, known: StoreGraph) -> None:
        self._walks -= 1
        known.leave()


class _Complete:
    """Collects a list on a thread: all of it, in the order of names, or an error. `stopped` ends it: nobody waits any more."""

    def __init__(self, found: Iterator[str], most: int) -> None:
        self._found = found
        self._most = most
        self.stopped = False

    def __call__(self) -> list[str]:
        until = time.monotonic() + WALK_S
        listed: list[str] = []
        for one in self._found:
            if len(listed) == self._most:
                raise LimitExceeded(f"The number of entries exceeds the allowed limit of {self._most}: ask for fewer.")
            listed.append(one)
            if self.stopped or time.monotonic() > until:
                raise TooComplex(f"The list takes longer than {WALK_S:g} s.")
        return sorted(listed)


def principal_of(subject: str) -> str:
    """The id of the principal that a subject is, or nothing."""
    type_, _, id_ = subject.partition(":")
    prefix, _, rest = id_.partition("_")
    return id_ if prefix and PRINCIPALS.get(type_) == prefix and is_ulid(rest) else ""
