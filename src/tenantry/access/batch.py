"""Many checks in one: what one question has found of a subject serves its next, in the same circumstances.

Items are asked subject by subject, so that they share what they can. One that has no answer has its refusal for an answer
and keeps none of the others from theirs.
"""

import re
import time
from collections.abc import Mapping, Sequence

import msgspec

from tenantry.access.check import holds
from tenantry.access.conditions import encoded
from tenantry.access.errors import AccessError, TooComplex
from tenantry.access.graph import Graph
from tenantry.access.limits import BATCH_MAX_CHECKS, BATCH_MAX_S
from tenantry.access.plan import Plan
from tenantry.access.question import Goal, Seeker, View, admit_object, admit_subject, goal_of, seeker_of
from tenantry.access.tuples import TupleKey

_CORRELATION = re.compile(r"[\w-]{1,36}", re.ASCII)


class Item(msgspec.Struct, frozen=True):
    """One question of a batch; its answer is found by its id."""

    correlation_id: str
    key: TupleKey
    contextual: tuple[TupleKey, ...] = ()
    context: Mapping[str, object] | None = None


def check_all(plan: Plan, graph: Graph, items: Sequence[Item]) -> dict[str, bool | AccessError]:
    """The answer to each, by its id, in the order in which they were asked.

    Raises:
        AccessError: there are none or too many, or an id is malformed or used twice. What `check` would raise for one of
            them is that one's answer.
    """
    _admit(items)
    asked = _Asked(plan, graph)
    by_subject = sorted(items, key=lambda item: item.key.user)
    found = {item.correlation_id: asked.answer(item) for item in by_subject}
    return {item.correlation_id: found[item.correlation_id] for item in items}


def _admit(items: Sequence[Item]) -> None:
    if not items:
        raise AccessError("batch check requires at least one check to evaluate, no checks were received")
    if len(items) > BATCH_MAX_CHECKS:
        raise AccessError(f"batchCheck received {len(items)} checks, the maximum allowed is {BATCH_MAX_CHECKS}")
    seen: set[str] = set()
    for item in items:
        if not _CORRELATION.fullmatch(item.correlation_id):
            raise AccessError(f"'{item.correlation_id}' is no correlation id: 1 to 36 letters, digits, - and _.")
        if item.correlation_id in seen:
            raise AccessError(f"received duplicate correlation id: {item.correlation_id}")
        seen.add(item.correlation_id)


class _Asked:
    """What the items of one batch share: views by their circumstances, seekers by view."""

    def __init__(self, plan: Plan, graph: Graph) -> None:
        self.plan = plan
        self.graph = graph
        self.views: dict[tuple[tuple[TupleKey, ...], bytes], View] = {}
        self.seekers: dict[tuple[View, str], Seeker] = {}
        self.until = time.thread_time() + BATCH_MAX_S

    def answer(self, item: Item) -> bool | AccessError:
        if self.views and time.thread_time() > self.until:
            return TooComplex(f"The batch takes longer than {BATCH_MAX_S:g} s: ask for less at once.")
        try:
            view = self.view(item)
            return holds(view, self.seeker(view, item.key.user), self.goal(view, item.key))
        except AccessError as error:
            return error

    def view(self, item: Item) -> View:
        circumstances = (item.contextual, encoded(item.context) if item.context else b"")
        view = self.views.get(circumstances)
        if view is None:
            view = self.views[circumstances] = View(self.plan, self.graph, item.contextual, item.context)
        return view

    def seeker(self, view: View, user: str) -> Seeker:
        seeker = self.seekers.get((view, user))
        if seeker is None:
            seeker = self.seekers[view, user] = seeker_of(view, admit_subject(self.plan, user))
        return seeker

    def goal(self, view: View, key: TupleKey) -> Goal:
        return goal_of(view, admit_object(self.plan, key.object, key.relation), key.relation)
