"""Whether a subject has a relation to an object.

A walk goes down from the object, remembers what it has found, and stops at the first thing that decides. Where that is not
sound (it came back to where it is, went deeper than the limits, or met a condition that cannot be decided), it gives up and
`closure` decides exactly. Both give the same answer wherever both give one: the walk is the closure's short cut, not another
meaning.
"""

from collections.abc import Callable, Mapping
from enum import Enum

from tenantry.access.closure import Closure, Outcome
from tenantry.access.errors import DepthExceeded, TooComplex
from tenantry.access.graph import RELATION_MASK, WILDCARD, Graph
from tenantry.access.limits import DECISION_MAX_NODES, HOPS_MAX
from tenantry.access.plan import AllOf, AnyOf, Assigned, Parents, Plan, Rule, Same, Step, Without, leads, named
from tenantry.access.question import Goal, Seeker, View, admit, goal_of, seeker_of
from tenantry.access.tuples import RelationshipCondition, TupleKey

_FRAMES_MAX = 120
"""How far steps may lie within one another before the closure takes over, which does not recurse."""


def check(
    plan: Plan,
    graph: Graph,
    key: TupleKey,
    contextual: tuple[TupleKey, ...] = (),
    context: Mapping[str, object] | None = None,
) -> bool:
    """Whether `key.user` has `key.relation` to `key.object`, the contextual tuples counted as if they were written.

    `context` is what the question says to the conditions of tuples; where a tuple says it, too, the tuple prevails.

    Raises:
        AccessError: the question is malformed, or names what the model does not know.
        InvalidTuple: a contextual tuple is not admitted.
        ConditionFailed: it depends on a condition that cannot be decided; that permits nothing.
        DepthExceeded, TooComplex: it cannot be decided within the limits; that permits nothing.
    """
    subject, object_ = admit(plan, key)
    view = View(plan, graph, contextual, context)
    return holds(view, seeker_of(view, subject), goal_of(view, object_, key.relation))


def holds(view: View, seeker: Seeker, goal: Goal) -> bool:
    """Answer a question in numbers.

    Raises:
        ConditionFailed, DepthExceeded, TooComplex: it cannot be decided.
    """
    try:
        return _Walk(view, seeker, goal.rule).node(goal.node, goal.rule, HOPS_MAX, _FRAMES_MAX)
    except _Unsound:
        closure = Closure(view, seeker, goal)
    match closure.outcome(goal.node):
        case Outcome.TOO_DEEP:
            raise DepthExceeded(f"The answer lies more than {HOPS_MAX} objects away (depth_exceeded).")
        case Outcome.UNDECIDED:
            raise closure.failures[0]
        case outcome:
            return outcome is Outcome.YES


class _Unsound(Exception):
    """The walk cannot say; the closure can."""


class _Seen(Enum):
    OPEN = "being decided further up"


class _Walk:
    """One question's walk. `hops` and `frames` count down."""

    __slots__ = ("found", "kind", "plan", "seeker", "tuples", "union_only", "userset", "weigh")

    def __init__(self, view: View, seeker: Seeker, rule: Rule) -> None:
        self.plan = view.plan
        self.tuples = view.tuples
        self.weigh = view.circumstances.weigh
        self.seeker = seeker
        self.kind = seeker.kind
        self.userset = seeker.userset
        self.union_only = rule.union_only
        self.found: dict[int, bool | _Seen] = {}

    def node(self, node: int, rule: Rule, hops: int, frames: int) -> bool:
        known = self.found.get(node)
        if known is not None:
            if known is not _Seen.OPEN:
                return known
            # With unions alone a yes anywhere is the answer to everything above it, so that only the first look counts.
            if self.union_only:
                return False
            raise _Unsound
        if self.kind not in rule.reach and not self.userset:
            return False
        frames -= rule.height
        if hops < 0 or frames < 0:
            raise _Unsound
        if node == self.seeker.node:
            return True
        if len(self.found) >= DECISION_MAX_NODES:
            raise TooComplex(f"More than {DECISION_MAX_NODES} pairs of object and relation would have to be looked at.")
        self.found[node] = _Seen.OPEN
        answer = self.found[node] = _STEPS[type(rule.step)](self, rule.step, node, hops, frames)
        return answer

    def step(self, step: Step, node: int, hops: int, frames: int) -> bool:
        return _STEPS[type(step)](self, step, node, hops, frames)

    def assigned(self, step: Assigned, node: int, hops: int, frames: int) -> bool:
        if step.under:
            return self.conditional(step, node, hops, frames)
        tuples, seeker = self.tuples, self.seeker
        if seeker.kind in step.kinds and tuples.has(node, seeker.node):
            return True
        if seeker.everybody and seeker.kind | WILDCARD in step.kinds and tuples.has(node, seeker.everybody):
            return True
        if step.usersets:
            rules = self.plan.rules
            for userset in tuples.usersets(node):
                kind = tuples.kind_of(userset)
                if kind in step.kinds and self.node(userset, rules[kind], hops - 1, frames):
                    return True
        return False

    def same(self, step: Same, node: int, hops: int, frames: int) -> bool:
        return self.node(node & ~RELATION_MASK | step.kind & RELATION_MASK, self.plan.rules[step.kind], hops, frames)

    def parents(self, step: Parents, node: int, hops: int, frames: int) -> bool:
        if step.under:
            return self.conditional(step, node, hops, frames)
        tuples, rules = self.tuples, self.plan.rules
        for parent in tuples.objects(node & ~RELATION_MASK | step.tupleset):
            kind = tuples.kind_of(parent)
            if kind in step.kinds:
                rule = rules.get(kind | step.relation)
                if rule is not None and self.node(parent | step.relation, rule, hops - 1, frames):
                    return True
        return False

    def conditional(self, step: Assigned | Parents, node: int, hops: int, frames: int) -> bool:
        """A step of which some tuples may be under a condition. One that matters and cannot be decided is the closure's."""
        tuples, rules = self.tuples, self.plan.rules
        if isinstance(step, Assigned):
            for _, condition in named(tuples, step, node, self.seeker.subjects):
                if condition is None or self.met(condition):
                    return True
        for target, condition in leads(self.plan, tuples, step, node):
            weighed = condition is None or self.weigh(condition)
            if weighed is False:
                continue
            if self.node(target, rules[tuples.kind_of(target)], hops - 1, frames):
                if weighed is not True:
                    raise _Unsound
                return True
        return False

    def met(self, condition: RelationshipCondition) -> bool:
        weighed = self.weigh(condition)
        if isinstance(weighed, bool):
            return weighed
        raise _Unsound

    def any_of(self, step: AnyOf, node: int, hops: int, frames: int) -> bool:
        return any(self.step(inner, node, hops, frames) for inner in step.steps)

    def all_of(self, step: AllOf, node: int, hops: int, frames: int) -> bool:
        return all(self.step(inner, node, hops, frames) for inner in step.steps)

    def without(self, step: Without, node: int, hops: int, frames: int) -> bool:
        return self.step(step.base, node, hops, frames) and not self.step(step.subtract, node, hops, frames)


_STEPS: dict[type, Callable[..., bool]] = {
    Assigned: _Walk.assigned,
    Same: _Walk.same,
    Parents: _Walk.parents,
    AnyOf: _Walk.any_of,
    AllOf: _Walk.all_of,
    Without: _Walk.without,
}
