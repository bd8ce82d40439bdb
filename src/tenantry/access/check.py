"""Whether a subject has a relation to an object.

A walk goes down from the object, remembers what it has found, and stops at the first thing that decides. Where that is not
sound (it came back to where it is, went deeper than the limits, or met a condition that cannot be decided), it gives up and
`closure` decides exactly. Both give the same answer wherever both give one: the walk is the closure's short cut, not another
meaning.
"""

from collections.abc import Callable, Mapping

from tenantry.access.closure import Closure, Outcome
from tenantry.access.errors import DepthExceeded, TooComplex
from tenantry.access.graph import KIND_MASK, RELATION_MASK, WILDCARD, Graph, kind_of
from tenantry.access.limits import DECISION_MAX_EVALUATIONS, DECISION_MAX_NODES, HOPS_MAX
from tenantry.access.plan import AllOf, AnyOf, Assigned, Parents, Plan, Rule, Same, Without, leads, named
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
    """Answer a question in numbers. What is found on the way is kept in the view for the seeker's next question.

    Raises:
        ConditionFailed, DepthExceeded, TooComplex: it cannot be decided.
    """
    found = view.known if view.known_of == seeker.node and len(view.known) <= DECISION_MAX_NODES else {}
    # Nothing is kept of a walk that gives up, for it leaves nodes open.
    view.known_of, view.known = seeker.node, {}
    view.circumstances.limit(DECISION_MAX_EVALUATIONS)
    walk = _Walk(view, seeker, goal.rule, found)
    try:
        answer = walk.node(goal.node, goal.rule, HOPS_MAX, _FRAMES_MAX)
    except _Unsound:
        return _closed(Closure(view, seeker, goal), goal)
    # What came back to an open node counted it as a no, which holds for other questions if it became one.
    if not (answer and walk.circled):
        view.known = found
    return answer


def _closed(closure: Closure, goal: Goal) -> bool:
    match closure.outcome(goal.node):
        case Outcome.TOO_DEEP:
            raise DepthExceeded(f"The answer lies more than {HOPS_MAX} objects away (depth_exceeded).")
        case Outcome.UNDECIDED:
            raise closure.failures[0]
        case outcome:
            return outcome is Outcome.YES


class _Unsound(Exception):
    """The walk cannot say; the closure can."""


_NO = -1
_OPEN = -2  # being decided further up


class _Walk:
    """One question's walk. `hops` and `frames` count down.

    `found` holds by node what it came to: a no, or a yes as the hops that were left to find it with; a question with fewer
    left has to find it anew.
    """

    __slots__ = (
        "circled",
        "everybody",
        "found",
        "full",
        "kind",
        "plan",
        "rules",
        "seeker",
        "target",
        "tuples",
        "union_only",
        "userset",
        "weigh",
    )

    def __init__(self, view: View, seeker: Seeker, rule: Rule, found: dict[int, int]) -> None:
        self.plan = view.plan
        self.rules = view.plan.rules
        self.tuples = view.tuples
        self.weigh = view.circumstances.weigh
        self.seeker = seeker
        self.target = seeker.node
        self.kind = seeker.kind
        self.everybody = seeker.everybody
        self.userset = seeker.userset
        self.union_only = rule.union_only
        self.found = found
        self.full = len(found) + DECISION_MAX_NODES
        self.circled = False

    def node(self, node: int, rule: Rule, hops: int, frames: int) -> bool:
        known = self.found.get(node)
        if known is not None and known <= hops:
            if known != _OPEN:
                return known >= 0
            # With unions alone a yes anywhere is the answer to everything above it, so that only the first look counts.
            if self.union_only:
                self.circled = True
                return False
            raise _Unsound
        if self.kind not in rule.reach and not self.userset:
            return False
        frames -= rule.height
        if hops < 0 or frames < 0:
            raise _Unsound
        if node == self.target:
            return True
        if len(self.found) >= self.full:
            raise TooComplex(f"More than {DECISION_MAX_NODES} pairs of object and relation would have to be looked at.")
        self.found[node] = _OPEN
        answer = _STEPS[type(rule.step)](self, rule.step, node, hops, frames)
        self.found[node] = hops if answer else _NO
        return answer

    def assigned(self, step: Assigned, node: int, hops: int, frames: int) -> bool:
        if step.under:
            return self.conditional(step, node, hops, frames)
        tuples, kinds = self.tuples, step.kinds
        if self.kind in kinds and tuples.has(node, self.target):
            return True
        if self.everybody and self.kind | WILDCARD in kinds and tuples.has(node, self.everybody):
            return True
        if step.usersets:
            for userset in tuples.usersets(node):
                kind = userset & KIND_MASK
                if kind in kinds and self.node(userset, self.rules[kind], hops - 1, frames):
                    return True
        return False

    def same(self, step: Same, node: int, hops: int, frames: int) -> bool:
        return self.node(node & ~RELATION_MASK | step.kind & RELATION_MASK, self.rules[step.kind], hops, frames)

    def parents(self, step: Parents, node: int, hops: int, frames: int) -> bool:
        if step.under:
            return self.conditional(step, node, hops, frames)
        tuples = self.tuples
        for parent in tuples.objects(node & ~RELATION_MASK | step.tupleset):
            kind = parent & KIND_MASK
            if kind in step.kinds:
                rule = self.rules.get(kind | step.relation)
                if rule is not None and self.node(parent | step.relation, rule, hops - 1, frames):
                    return True
        return False

    def conditional(self, step: Assigned | Parents, node: int, hops: int, frames: int) -> bool:
        """A step of which some tuples may be under a condition. One that matters and cannot be decided is the closure's."""
        tuples, rules = self.tuples, self.rules
        if isinstance(step, Assigned):
            for _, condition in named(tuples, step, node, self.seeker.subjects):
                if condition is None or self.met(condition):
                    return True
        for target, condition in leads(self.plan, tuples, step, node):
            weighed = condition is None or self.weigh(condition)
            if weighed is False:
                continue
            if self.node(target, rules[kind_of(target)], hops - 1, frames):
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
        for inner in step.steps:  # noqa: SIM110 a generator costs more than most steps
            if _STEPS[type(inner)](self, inner, node, hops, frames):
                return True
        return False

    def all_of(self, step: AllOf, node: int, hops: int, frames: int) -> bool:
        for inner in step.steps:  # noqa: SIM110
            if not _STEPS[type(inner)](self, inner, node, hops, frames):
                return False
        return True

    def without(self, step: Without, node: int, hops: int, frames: int) -> bool:
        base, subtract = step.base, step.subtract
        if not _STEPS[type(base)](self, base, node, hops, frames):
            return False
        return not _STEPS[type(subtract)](self, subtract, node, hops, frames)


_STEPS: dict[type, Callable[..., bool]] = {
    Assigned: _Walk.assigned,
    Same: _Walk.same,
    Parents: _Walk.parents,
    AnyOf: _Walk.any_of,
    AllOf: _Walk.all_of,
    Without: _Walk.without,
}
