"""Why a check said what it said: what was tried, which tuples decided, and which, if they were there, would have.

An explanation looks at everything that the answer could depend on, so it is dearer than the check; it never says otherwise.
It names tuples and objects: who may see which of them is the caller's to decide.
"""

from collections.abc import Iterator
from itertools import islice, product

import msgspec

from tenantry.access.check import holds
from tenantry.access.closure import Closure, Outcome, named_in
from tenantry.access.errors import TooComplex
from tenantry.access.graph import RELATION_MASK, Graph, Overlay
from tenantry.access.limits import MISSING_MAX, TRACE_MAX_STEPS
from tenantry.access.model import Relation
from tenantry.access.plan import AllOf, AnyOf, Assigned, Parents, Plan, Same, Step, Without, leads, steps_of
from tenantry.access.question import Seeker, admit, goal_of, seeker_of
from tenantry.access.tuples import TupleKey

_WAYS_MAX = 1_000
"""How many steps the search for missing tuples takes; it need not find all."""

_NESTED_MAX = 5
"""How many intersections that search follows within one another."""


class Tried(msgspec.Struct, frozen=True):
    """One step: which relation to which object, `by` what part of its definition, and what that came to.

    `found` holds the tuples that it read and followed, `again` says that the relation is shown elsewhere in the trace, and
    `left_out` how many steps below this one are not shown.
    """

    of: str
    by: str
    outcome: Outcome
    found: tuple[str, ...] = ()
    parts: tuple["Tried", ...] = ()
    again: bool = False
    left_out: int = 0


class Explanation(msgspec.Struct, frozen=True):
    """An answer with its reasons.

    `decided` holds the tuples that decided: those that permit, or those for which somebody permitted was excluded.
    `missing` holds ways to a yes, each a set of tuples that would suffice if all of it were written; none of them is advice.
    """

    allowed: bool
    outcome: Outcome
    because: str
    tried: Tried
    decided: tuple[TupleKey, ...]
    missing: tuple[tuple[TupleKey, ...], ...]


def explain(plan: Plan, graph: Graph, key: TupleKey, contextual: tuple[TupleKey, ...] = ()) -> Explanation:
    """Explain the answer that `check` gives to the same question, or would if it were not too deep.

    Raises:
        AccessError, InvalidTuple: as `check` does.
        TooComplex: more would have to be looked at than one decision may.
    """
    subject, object_ = admit(plan, key)
    plan.vocabulary.admit_all(contextual)
    view = Overlay(graph, contextual)
    seeker, goal = seeker_of(view, subject), goal_of(plan, view, object_, key.relation)
    reasons = _Reasons(plan, view, seeker, Closure(plan, view, seeker, goal))
    outcome = reasons.closure.outcome(goal.node)
    tried = reasons.tried(goal.node)
    allowed = outcome is Outcome.YES
    decided = tuple(reasons.proof(goal.node) if allowed else reasons.exclusion(goal.node))
    missing: tuple[tuple[TupleKey, ...], ...] = ()
    if outcome is Outcome.NO:
        suffices = _Suffices(plan, graph, key, contextual)
        missing = tuple(islice(filter(suffices, reasons.missing(goal.node)), MISSING_MAX))
    return Explanation(allowed, outcome, _sentence(key, outcome, decided), tried, decided, missing)


def _sentence(key: TupleKey, outcome: Outcome, decided: tuple[TupleKey, ...]) -> str:
    asked = f"{key.user} has {key.relation} to {key.object}"
    match outcome:
        case Outcome.YES:
            return f"Yes: {asked}."
        case Outcome.CIRCULAR:
            return f"No: whether {asked} depends on its own denial."
        case Outcome.TOO_DEEP:
            return f"No answer: whether {asked} depends on objects that lie too deep (depth_exceeded)."
        case Outcome.NO if decided:
            return f"No: {key.user} would have {key.relation} to {key.object}, and is excluded."
        case Outcome.NO:
            return f"No: nothing says that {asked}."


class _Suffices:
    """Whether tuples, if they were written, would turn the answer."""

    def __init__(self, plan: Plan, graph: Graph, key: TupleKey, contextual: tuple[TupleKey, ...]) -> None:
        self.plan = plan
        self.graph = graph
        self.key = key
        self.contextual = contextual

    def __call__(self, missing: tuple[TupleKey, ...]) -> bool:
        view = Overlay(self.graph, (*self.contextual, *missing))
        subject, object_ = admit(self.plan, self.key)
        try:
            goal = goal_of(self.plan, view, object_, self.key.relation)
            return holds(self.plan, view, seeker_of(view, subject), goal)
        except TooComplex:
            return False


class _Reasons:
    """Reads a settled closure."""

    def __init__(self, plan: Plan, view: Overlay, seeker: Seeker, closure: Closure) -> None:
        self.plan = plan
        self.view = view
        self.seeker = seeker
        self.closure = closure
        self.shown: set[int] = set()
        self.steps_left = TRACE_MAX_STEPS
        self.ways_left = _WAYS_MAX

    def tried(self, node: int) -> Tried:
        """The trace of a node; each is shown once."""
        relation = self.plan.rules[self.view.kind_of(node)].relation
        of, outcome = self.view.text(node), self.closure.outcome(node)
        if node in self.shown:
            return Tried(of, relation.name, outcome, again=True)
        self.shown.add(node)
        if node == self.seeker.node:
            return Tried(of, "itself", outcome)
        if node not in self.closure.opened:
            return Tried(of, relation.name, outcome, left_out=1)
        return self._tried(self.plan.rules[self.view.kind_of(node)].step, node, relation)

    def _tried(self, step: Step, node: int, relation: Relation) -> Tried:
        of, outcome = self.view.text(node), self.value(step, node)
        by, below, found = self._below(step, node, relation)
        self.steps_left -= 1
        parts: list[Tried] = []
        for index, part in enumerate(below):
            if self.steps_left <= 0:
                return Tried(of, by, outcome, found, tuple(parts), left_out=len(below) - index)
            parts.append(self._tried(part, node, relation) if isinstance(part, msgspec.Struct) else self.tried(part))
        return Tried(of, by, outcome, found, tuple(parts))

    def _below(self, step: Step, node: int, relation: Relation) -> tuple[str, list[Step] | list[int], tuple[str, ...]]:
        """What a step is called, the steps or nodes that it tries, and the tuples that it reads."""
        names = self.plan.names.relation_names
        match step:
            case Assigned():
                named = named_in(self.view, step, node, self.seeker)
                followed = [u for u, _ in self._leads(step, node)]
                found = [self._key(node, subject) for subject in ([named] if named else followed)]
                by = f"[{', '.join(map(str, relation.restrictions))}]"
                return by, [] if named else followed, tuple(map(str, found[:TRACE_MAX_STEPS]))
            case Same(kind):
                return names[kind & RELATION_MASK], [target for target, _ in self._leads(step, node)], ()
            case Parents(tupleset, name):
                leads = list(self._leads(step, node))
                found = [str(key) for _, key in leads if key][:TRACE_MAX_STEPS]
                return f"{names[name]} from {names[tupleset]}", [target for target, _ in leads], tuple(found)
            case AnyOf() | AllOf() | Without():
                joint = {AnyOf: "or", AllOf: "and", Without: "but not"}[type(step)]
                return joint, list(steps_of(step)), ()

    def value(self, step: Step, node: int) -> Outcome:
        """What a step came to, of what its parts did; the uncertain stays so unless the others decide."""
        match step:
            case AnyOf(steps):
                return _first([self.value(part, node) for part in steps], Outcome.YES, Outcome.NO)
            case AllOf(steps):
                return _first([self.value(part, node) for part in steps], Outcome.NO, Outcome.YES)
            case Without(base, subtract):
                but_not = self.value(subtract, node)
                turned = {Outcome.YES: Outcome.NO, Outcome.NO: Outcome.YES}.get(but_not, but_not)
                return _first([self.value(base, node), turned], Outcome.NO, Outcome.YES)
            case Assigned() if named_in(self.view, step, node, self.seeker):
                return Outcome.YES
            case _:
                values = [self.closure.outcome(target) for target, _ in self._leads(step, node)]
                return _first(values, Outcome.YES, Outcome.NO)

    def proof(self, *nodes: int) -> list[TupleKey]:
        """The tuples that make these nodes true: of every way the one that was found first."""
        keys: dict[TupleKey, None] = {}
        seen: set[int] = set()
        ahead = list(nodes)
        while ahead:
            node = ahead.pop()
            if node not in seen and node != self.seeker.node:
                seen.add(node)
                support = self._support(self.plan.rules[self.view.kind_of(node)].step, node)
                for target, key in support or ():
                    keys |= {key: None} if key else {}
                    ahead += [target] if target else []
        return list(keys)

    def _support(self, step: Step, node: int) -> list[tuple[int, TupleKey | None]] | None:
        """The nodes and tuples that make a step true; none where it is not, or only by what it makes true itself.

        A tuple that needs no further node comes with zero.
        """
        match step:
            case AnyOf(steps):
                supports = (self._support(part, node) for part in steps)
                return next((support for support in supports if support is not None), None)
            case AllOf(steps):
                supports = [self._support(part, node) for part in steps]
                return None if None in supports else [one for support in supports for one in support or ()]
            case Without(base, subtract):
                return self._support(base, node) if self.value(subtract, node) is Outcome.NO else None
            case Assigned() if named := named_in(self.view, step, node, self.seeker):
                return [(0, self._key(node, named))]
            case _:
                earlier = self._order(node)
                return next(([lead] for lead in self._leads(step, node) if self._order(lead[0]) < earlier), None)

    def exclusion(self, node: int) -> list[TupleKey]:
        """The tuples that exclude the seeker, where a node says no for an exclusion's sake and not for want of a tuple."""
        seen: set[int] = set()
        ahead = [node]
        while ahead:
            node = ahead.pop()
            if node not in seen and node in self.closure.opened:
                seen.add(node)
                for step in self._steps(self.plan.rules[self.view.kind_of(node)].step):
                    if isinstance(step, Without) and self.value(step.base, node) is Outcome.YES:
                        return self._excluding(step.subtract, node)
                    ahead += (target for target, _ in self._leads(step, node))
        return []

    def _excluding(self, step: Step, node: int) -> list[TupleKey]:
        support = self._support(step, node) or []
        keys = [key for _, key in support if key]
        return [*keys, *self.proof(*(target for target, _ in support if target))]

    def _steps(self, step: Step) -> Iterator[Step]:
        """The step and the steps in it, without what is subtracted."""
        yield step
        for part in (step.base,) if isinstance(step, Without) else steps_of(step):
            yield from self._steps(part)

    def missing(self, node: int, nested: int = 0) -> Iterator[tuple[TupleKey, ...]]:
        """Sets of tuples that might make a node true, the near ones first; each node is asked once."""
        seen: set[int] = set()
        level = [node]
        while level:
            further: list[int] = []
            for here in level:
                if here not in seen and here in self.closure.opened:
                    seen.add(here)
                    yield from self._missing(self.plan.rules[self.view.kind_of(here)].step, here, further, nested)
            level = further

    def _missing(self, step: Step, node: int, further: list[int], nested: int) -> Iterator[tuple[TupleKey, ...]]:
        self.ways_left -= 1
        if self.ways_left < 0 or nested > _NESTED_MAX:
            return
        if self.value(step, node) is Outcome.YES:
            yield ()
            return
        match step:
            case AnyOf(steps):
                for part in steps:
                    yield from self._missing(part, node, further, nested)
            case AllOf(steps):
                ways = (list(self._through(part, node, nested + 1)) for part in steps)
                for way in islice(product(*ways), _WAYS_MAX):
                    yield tuple(key for part in way for key in part)
            case Without(base):
                yield from self._missing(base, node, further, nested)
            case _:
                if isinstance(step, Assigned) and self.seeker.kind in step.kinds:
                    yield (self._key(node, self.seeker.node),)
                further += (target for target, _ in self._leads(step, node))

    def _through(self, step: Step, node: int, nested: int) -> Iterator[tuple[TupleKey, ...]]:
        """Sets of tuples that might make this step true, its own and those of what it leads to."""
        further: list[int] = []
        yield from self._missing(step, node, further, nested)
        for target in further:
            yield from self.missing(target, nested)

    def _leads(self, step: Step, node: int) -> Iterator[tuple[int, TupleKey | None]]:
        """The nodes that a step follows, with the tuple that leads there."""
        if not isinstance(step, Assigned | Same | Parents):
            return
        for target in leads(self.plan, self.view, step, node):
            match step:
                case Assigned():
                    yield target, self._key(node, target)
                case Same():
                    yield target, None
                case Parents(tupleset):
                    yield target, self._key(node & ~RELATION_MASK | tupleset, target & ~RELATION_MASK)

    def _order(self, node: int) -> float:
        """When a node was found true; never, if it is not."""
        return self.closure.surely.get(self.closure.gates.get(node, -1), float("inf"))

    def _key(self, node: int, subject: int) -> TupleKey:
        relation = self.plan.names.relation_names[node & RELATION_MASK]
        return TupleKey(self.view.text(subject), relation, self.view.text(node & ~RELATION_MASK))


def _first(values: list[Outcome], decisive: Outcome, otherwise: Outcome) -> Outcome:
    """The decisive value if any part has it, else the first that is uncertain, else the other."""
    uncertain = [value for value in values if value is not otherwise]
    return decisive if decisive in values else uncertain[0] if uncertain else otherwise
