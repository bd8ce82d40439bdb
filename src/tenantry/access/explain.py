"""Why a check said what it said: what was tried, which tuples decided, and which, if they were there, would have.

An explanation looks at everything that the answer could depend on, so it is dearer than the check; it never says otherwise.
It names tuples and objects. Whoever shows it to a person passes `visible`: what she may not see is not named, nor counted,
and only what it came to is said.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice

import msgspec

from tenantry.access.check import holds
from tenantry.access.closure import Closure, Outcome
from tenantry.access.errors import AccessError
from tenantry.access.graph import Graph
from tenantry.access.limits import MISSING_MAX, TRACE_MAX_STEPS
from tenantry.access.plan import Plan
from tenantry.access.question import View, admit, goal_of, seeker_of
from tenantry.access.reasons import Reasons, Tried
from tenantry.access.tuples import TupleKey, read_subject


class Explanation(msgspec.Struct, frozen=True):
    """An answer with its reasons.

    `decided` holds the tuples that decided: those that permit, or those for which somebody permitted was excluded.
    `unmet` holds tuples that were looked at, and whose condition is not met.
    `missing` holds ways to a yes, each a set of tuples that would suffice if all of it were written; none of them is advice.
    `hidden` says that there is more which the reader may not see.
    """

    allowed: bool
    outcome: Outcome
    because: str
    tried: Tried
    decided: tuple[TupleKey, ...]
    unmet: tuple[TupleKey, ...]
    missing: tuple[tuple[TupleKey, ...], ...]
    hidden: bool = False


def explain(
    plan: Plan,
    graph: Graph,
    key: TupleKey,
    contextual: tuple[TupleKey, ...] = (),
    context: Mapping[str, object] | None = None,
    visible: Callable[[str], bool] | None = None,
) -> Explanation:
    """Explain the answer that `check` gives to the same question, or would if it could give one.

    `visible` says of an object (`document:1`) whether the reader may know of it; those of the question she knows already.

    Raises:
        AccessError, InvalidTuple: as `check` does.
        TooComplex: more would have to be looked at than one decision may.
    """
    subject, object_ = admit(plan, key)
    view = View(plan, graph, contextual, context)
    seeker, goal = seeker_of(view, subject), goal_of(view, object_, key.relation)
    closure = Closure(view, seeker, goal)
    sight = _Sight(visible, key)
    reasons = Reasons(view, seeker, closure, sight.sees)
    outcome = closure.outcome(goal.node)
    tried = reasons.tried(goal.node)
    allowed = outcome is Outcome.YES
    decided = reasons.proof(goal.node) if allowed else reasons.exclusion(goal.node)
    missing: list[tuple[TupleKey, ...]] = []
    if outcome is Outcome.NO:
        suffices = _Suffices(plan, graph, key, contextual, context)
        ways = (way for way in reasons.missing(goal.node) if sight.sees_all(way))
        missing = list(islice(filter(suffices, ways), MISSING_MAX))
    seen, unmet = sight.of(decided), sight.of(reasons.unmet)[:TRACE_MAX_STEPS]
    # Why a condition cannot be decided may tell of a tuple that is hidden.
    failure = "" if sight.hid or not closure.failures else closure.failures[0].message
    because = _sentence(key, outcome, excluded=bool(decided), unmet=unmet, failure=failure)
    return Explanation(allowed, outcome, because, tried, seen, unmet, tuple(missing), sight.hid)


def _sentence(key: TupleKey, outcome: Outcome, *, excluded: bool, unmet: tuple[TupleKey, ...], failure: str) -> str:
    asked = f"{key.user} has {key.relation} to {key.object}"
    names = ", ".join(sorted({one.condition.name for one in unmet if one.condition}))
    match outcome:
        case Outcome.YES:
            return f"Yes: {asked}."
        case Outcome.CIRCULAR:
            return f"No: whether {asked} depends on its own denial."
        case Outcome.TOO_DEEP:
            return f"No answer: whether {asked} depends on objects that lie too deep (depth_exceeded)."
        case Outcome.UNDECIDED:
            why = f": {failure}" if failure else ""
            return f"No answer: whether {asked} depends on a condition that cannot be decided{why}."
        case Outcome.NO if excluded:
            return f"No: {key.user} would have {key.relation} to {key.object}, and is excluded."
        case Outcome.NO if names:
            return f"No: nothing says that {asked}, as conditions are not met: {names}."
        case Outcome.NO:
            return f"No: nothing says that {asked}."


class _Sight:
    """What the reader may see, and whether anything was kept from her."""

    def __init__(self, visible: Callable[[str], bool] | None, key: TupleKey) -> None:
        self.visible = visible
        self.asked = {key.object, read_subject(key.user).object}
        self.hid = False

    def sees(self, object_: str) -> bool:
        seen = self.visible is None or object_ in self.asked or object_.endswith(":*") or self.visible(object_)
        self.hid = self.hid or not seen
        return seen

    def sees_all(self, keys: tuple[TupleKey, ...]) -> bool:
        return len(self.of(keys)) == len(keys)

    def of(self, keys: Iterable[TupleKey]) -> tuple[TupleKey, ...]:
        """The tuples of which she may see both sides."""
        return tuple(key for key in keys if self.sees(key.object) and self.sees(read_subject(key.user).object))


class _Suffices:
    """Whether tuples, if they were written, would turn the answer."""

    def __init__(
        self,
        plan: Plan,
        graph: Graph,
        key: TupleKey,
        contextual: tuple[TupleKey, ...],
        context: Mapping[str, object] | None,
    ) -> None:
        self.plan = plan
        self.graph = graph
        self.subject, self.object = admit(plan, key)
        self.relation = key.relation
        self.contextual = contextual
        self.context = context

    def __call__(self, missing: tuple[TupleKey, ...]) -> bool:
        try:
            view = View(self.plan, self.graph, (*self.contextual, *missing), self.context)
            return holds(view, seeker_of(view, self.subject), goal_of(view, self.object, self.relation))
        except AccessError:
            return False
