"""What `explain` reads off a settled closure: the trace, the tuples that prove or exclude, and those that are missing."""

from collections.abc import Callable, Iterator
from itertools import islice, product

import msgspec

from tenantry.access.closure import Closure, Outcome
from tenantry.access.errors import ConditionFailed
from tenantry.access.graph import RELATION_MASK, kind_of
from tenantry.access.limits import TRACE_MAX_STEPS
from tenantry.access.model import Relation
from tenantry.access.plan import AllOf, AnyOf, Assigned, Parents, Same, Step, Without, leads, named, steps_of
from tenantry.access.question import Seeker, View
from tenantry.access.tuples import RelationshipCondition, TupleKey

HIDDEN = "not visible to you"

_WAYS_MAX = 1_000
"""How many steps the search for missing tuples takes; it need not find all."""

_NESTED_MAX = 5
"""How many intersections that search follows within one another."""


class Tried(msgspec.Struct, frozen=True):
    """One step: which relation to which object, `by` what part of its definition, and what that came to.

    `found` holds the tuples that it read and followed, those under a condition with what that came to; `again` says that the
    relation is shown elsewhere in the trace, and `left_out` how many steps below this one are not shown. One step stands for
    all that the reader may not see: `of` it nothing is said but what it came to.
    """

    of: str
    by: str
    outcome: Outcome
    found: tuple[str, ...] = ()
    parts: tuple["Tried", ...] = ()
    again: bool = False
    left_out: int = 0


class _Lead(msgspec.Struct, frozen=True):
    """A tuple that leads on to a node, or (`target` is 0) names the seeker; none where a relation is computed."""

    target: int
    key: TupleKey | None
    weighed: bool | ConditionFailed


class Reasons:
    """Reads a settled closure. `unmet` grows with what is read: the tuples whose condition is not met."""

    def __init__(self, view: View, seeker: Seeker, closure: Closure, sees: Callable[[str], bool]) -> None:
        self.plan = view.plan
        self.view = view
        self.seeker = seeker
        self.closure = closure
        self.sees = sees
        self.unmet: dict[TupleKey, None] = {}
        self._shown: set[int] = set()
        self._steps_left = TRACE_MAX_STEPS
        self._ways_left = _WAYS_MAX

    def tried(self, node: int) -> Tried:
        """The trace of a node; each is shown once."""
        relation = self.plan.rules[kind_of(node)].relation
        of, outcome = self.view.text(node), self.closure.outcome(node)
        if node in self._shown:
            return Tried(of, relation.name, outcome, again=True)
        self._shown.add(node)
        if node == self.seeker.node:
            return Tried(of, "itself", outcome)
        if node not in self.closure.opened:
            return Tried(of, relation.name, outcome, left_out=1)
        return self._tried(self._step(node), node, relation)

    def _tried(self, step: Step, node: int, relation: Relation) -> Tried:
        of, outcome = self.view.text(node), self._value(step, node)
        self._steps_left -= 1
        naming = list(self._naming(step, node))
        settled = any(lead.weighed is True for lead in naming)
        leads_on = [] if settled else list(self._leads(step, node))
        seen = [lead for lead in leads_on if self._seen(lead)]
        by = self._name(step, relation)
        found = tuple(_said(lead) for lead in islice((*naming, *seen), TRACE_MAX_STEPS) if lead.key)
        below = [*steps_of(step), *(lead.target for lead in seen if lead.weighed is not False)]
        parts: list[Tried] = []
        for index, part in enumerate(below):
            if self._steps_left <= 0:
                return Tried(of, by, outcome, found, tuple(parts), left_out=len(below) - index)
            parts.append(self.tried(part) if isinstance(part, int) else self._tried(part, node, relation))
        if len(seen) < len(leads_on):
            hidden = [self._lead_value(lead) for lead in leads_on if not self._seen(lead)]
            parts.append(Tried(HIDDEN, HIDDEN, _first(hidden, Outcome.YES, Outcome.NO)))
        return Tried(of, by, outcome, found, tuple(parts))

    def _name(self, step: Step, relation: Relation) -> str:
        names = self.plan.names.relation_names
        match step:
            case AnyOf():
                return "or"
            case AllOf():
                return "and"
            case Without():
                return "but not"
            case Assigned():
                return f"[{', '.join(map(str, relation.restrictions))}]"
            case Same(kind):
                return names[kind & RELATION_MASK]
            case Parents(tupleset, name):
                return f"{names[name]} from {names[tupleset]}"

    def _value(self, step: Step, node: int) -> Outcome:
        """What a step came to, of what its parts did; the uncertain stays so unless the others decide."""
        match step:
            case AnyOf(steps):
                return _first([self._value(part, node) for part in steps], Outcome.YES, Outcome.NO)
            case AllOf(steps):
                return _first([self._value(part, node) for part in steps], Outcome.NO, Outcome.YES)
            case Without(base, subtract):
                but_not = self._value(subtract, node)
                turned = {Outcome.YES: Outcome.NO, Outcome.NO: Outcome.YES}.get(but_not, but_not)
                return _first([self._value(base, node), turned], Outcome.NO, Outcome.YES)
            case _:
                every = (*self._naming(step, node), *self._leads(step, node))
                return _first([self._lead_value(lead) for lead in every], Outcome.YES, Outcome.NO)

    def _lead_value(self, lead: _Lead) -> Outcome:
        target = self.closure.outcome(lead.target) if lead.target else Outcome.YES
        if isinstance(lead.weighed, ConditionFailed):
            return Outcome.NO if target is Outcome.NO else Outcome.UNDECIDED
        return target if lead.weighed else Outcome.NO

    def proof(self, *nodes: int) -> list[TupleKey]:
        """The tuples that make these nodes true: of every way the one that was found first."""
        keys: dict[TupleKey, None] = {}
        seen: set[int] = set()
        ahead = list(nodes)
        while ahead:
            node = ahead.pop()
            if node not in seen and node != self.seeker.node:
                seen.add(node)
                for lead in self._support(self._step(node), node) or ():
                    keys |= {lead.key: None} if lead.key else {}
                    ahead += [lead.target] if lead.target else []
        return list(keys)

    def _support(self, step: Step, node: int) -> list[_Lead] | None:
        """What makes a step true; none where it is not, or only by what it makes true itself."""
        match step:
            case AnyOf(steps):
                supports = (self._support(part, node) for part in steps)
                return next((support for support in supports if support is not None), None)
            case AllOf(steps):
                supports = [self._support(part, node) for part in steps]
                return None if None in supports else [one for support in supports for one in support or ()]
            case Without(base, subtract):
                return self._support(base, node) if self._value(subtract, node) is Outcome.NO else None
            case _:
                earlier = self._order(node)
                every = (*self._naming(step, node), *self._leads(step, node))
                makes = (one for one in every if one.weighed is True and self._order(one.target) < earlier)
                return next(([one] for one in makes), None)

    def exclusion(self, node: int) -> list[TupleKey]:
        """The tuples that exclude the seeker, where a node says no for an exclusion's sake and not for want of a tuple."""
        seen: set[int] = set()
        ahead = [node]
        while ahead:
            node = ahead.pop()
            if node not in seen and node in self.closure.opened:
                seen.add(node)
                for step in self._steps(self._step(node)):
                    if isinstance(step, Without) and self._value(step.base, node) is Outcome.YES:
                        return self._excluding(step.subtract, node)
                    ahead += self._targets(step, node)
        return []

    def _excluding(self, step: Step, node: int) -> list[TupleKey]:
        support = self._support(step, node) or []
        keys = [lead.key for lead in support if lead.key]
        return [*keys, *self.proof(*(lead.target for lead in support if lead.target))]

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
                    yield from self._missing(self._step(here), here, further, nested)
            level = further

    def _missing(self, step: Step, node: int, further: list[int], nested: int) -> Iterator[tuple[TupleKey, ...]]:
        self._ways_left -= 1
        if self._ways_left < 0 or nested > _NESTED_MAX:
            return
        if self._value(step, node) is Outcome.YES:
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
                if isinstance(step, Assigned):
                    yield from ((key,) for key in self._assignable(step, node))
                further += self._targets(step, node)

    def _assignable(self, step: Assigned, node: int) -> Iterator[TupleKey]:
        """The tuples that may name the seeker here: without a condition, or under one with nothing said of it."""
        if self.seeker.kind in step.kinds:
            yield self._key(node, self.seeker.node)
        for kind, name in sorted(step.under):
            if kind == self.seeker.kind and not any(lead.weighed is False for lead in self._naming(step, node)):
                yield self._key(node, self.seeker.node, RelationshipCondition(name))

    def _through(self, step: Step, node: int, nested: int) -> Iterator[tuple[TupleKey, ...]]:
        """Sets of tuples that might make this step true, its own and those of what it leads to."""
        further: list[int] = []
        yield from self._missing(step, node, further, nested)
        for target in further:
            yield from self.missing(target, nested)

    def _targets(self, step: Step, node: int) -> list[int]:
        return [lead.target for lead in self._leads(step, node) if lead.weighed is not False]

    def _naming(self, step: Step, node: int) -> Iterator[_Lead]:
        """The tuples of a step that name the seeker."""
        if isinstance(step, Assigned):
            for subject, condition in named(self.view, step, node, self.seeker.subjects):
                yield self._lead(0, self._key(node, subject, condition))

    def _leads(self, step: Step, node: int) -> Iterator[_Lead]:
        """The nodes that a step follows, with the tuple that leads there."""
        if not isinstance(step, Assigned | Same | Parents):
            return
        for target, condition in leads(self.plan, self.view, step, node):
            match step:
                case Assigned():
                    yield self._lead(target, self._key(node, target, condition))
                case Same():
                    yield self._lead(target, None)
                case Parents(tupleset):
                    own = node & ~RELATION_MASK | tupleset
                    yield self._lead(target, self._key(own, target & ~RELATION_MASK, condition))

    def _lead(self, target: int, key: TupleKey | None) -> _Lead:
        weighed = key is None or key.condition is None or self.view.circumstances.weigh(key.condition)
        if key and weighed is False:
            self.unmet[key] = None
        return _Lead(target, key, weighed)

    def _seen(self, lead: _Lead) -> bool:
        return self.sees(self.view.text(lead.target & ~RELATION_MASK))

    def _step(self, node: int) -> Step:
        return self.plan.rules[kind_of(node)].step

    def _order(self, node: int) -> float:
        """When a node was found true; at once if it is none, never if it is not."""
        if node == 0:
            return -1
        return self.closure.surely.get(self.closure.gates.get(node, -1), float("inf"))

    def _key(self, node: int, subject: int, condition: RelationshipCondition | None = None) -> TupleKey:
        relation = self.plan.names.relation_names[node & RELATION_MASK]
        return TupleKey(self.view.text(subject), relation, self.view.text(node & ~RELATION_MASK), condition)


def _said(lead: _Lead) -> str:
    if lead.key is None or lead.key.condition is None:
        return str(lead.key)
    if isinstance(lead.weighed, ConditionFailed):
        return f"{lead.key}: {lead.weighed.message}"
    return f"{lead.key}: {'met' if lead.weighed else 'not met'}"


def _first(values: list[Outcome], decisive: Outcome, otherwise: Outcome) -> Outcome:
    """The decisive value if any part has it, else the first that is uncertain, else the other."""
    uncertain = [value for value in values if value is not otherwise]
    return decisive if decisive in values else uncertain[0] if uncertain else otherwise
