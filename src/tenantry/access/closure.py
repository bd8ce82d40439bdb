"""The exact answer where walking down has none: everything a question could depend on, and what follows from it.

The closure holds every node that lies at most `HOPS_MAX` objects below the question, each as a gate over others: fires when
one (union) or all (intersection) of its inputs have, or when its base has and what it excludes cannot. Circles of unions and
intersections mean what they can prove (a group that contains itself has the members that it has otherwise). A circle through
an exclusion (`viewer but not blocked`, where the blocked are the viewers) proves neither a yes nor a no and is denied:
the well-founded semantics of logic programs. Work is linear in the size of the closure, save for such circles.
"""

from collections import defaultdict, deque
from collections.abc import Container
from enum import Enum

from tenantry.access.errors import ConditionFailed, TooComplex
from tenantry.access.graph import kind_of
from tenantry.access.limits import DECISION_MAX_NODES, HOPS_MAX
from tenantry.access.plan import AllOf, AnyOf, Assigned, Parents, Same, Step, Without, leads, named
from tenantry.access.question import Goal, Seeker, View
from tenantry.access.tuples import RelationshipCondition


class Outcome(Enum):
    """What a decision came to."""

    YES = "yes"
    NO = "no"
    CIRCULAR = "it depends on its own denial"
    TOO_DEEP = "it depends on what lies too deep"
    UNDECIDED = "it depends on a condition that cannot be decided"


class Closure:
    """The gates of one question and what they come to. Gates are numbers; `gates` finds that of a node.

    `opened` holds the nodes whose tuples were looked at, `failures` why conditions among them cannot be decided,
    `surely` holds the gates that fire, in the order in which they do: each after what makes it.

    Raises:
        TooComplex: that is more than one decision may look at.
    """

    def __init__(self, view: View, seeker: Seeker, goal: Goal) -> None:
        self._plan = view.plan
        self._tuples = view
        self._circumstances = view.circumstances
        self._seeker = seeker
        self._needs: list[int] = []
        self._feeds: defaultdict[int, list[int]] = defaultdict(list)
        self._barred: dict[int, int] = {}
        self._facts: list[int] = []
        self._level: list[int] = []
        self._next: list[int] = []
        self._undecided: list[int] = []
        self.gates: dict[int, int] = {}
        self.opened: set[int] = set()
        self.failures: list[ConditionFailed] = []
        self._node(goal.node, self._level)
        self._cut = self._collect()
        self.surely, self.perhaps = self._settle()

    def outcome(self, node: int) -> Outcome:
        """What a node came to; one that nothing depends on was not looked at, and is a no."""
        gate = self.gates.get(node, -1)
        if gate in self.surely:
            return Outcome.YES
        if gate not in self.perhaps:
            return Outcome.NO
        if self._cut:
            return Outcome.TOO_DEEP
        return Outcome.UNDECIDED if self.failures else Outcome.CIRCULAR

    def _collect(self) -> list[int]:
        """Breadth first, so that a node lies as deep as the shortest way to it is long; the gates of what lies too deep."""
        for _ in range(HOPS_MAX + 1):
            while self._level:
                node = self._level.pop()
                if node not in self.opened:
                    self.opened.add(node)
                    self._open(node)
            self._level, self._next = self._next, []
        return [self.gates[node] for node in self._level if node not in self.opened and self._reachable(node)]

    def _open(self, node: int) -> None:
        if node == self._seeker.node:
            self._facts.append(self.gates[node])
        elif self._reachable(node):
            self._step(self._plan.rules[kind_of(node)].step, node, self.gates[node])

    def _reachable(self, node: int) -> bool:
        reach = self._plan.rules[kind_of(node)].reach
        return self._seeker.kind in reach or self._seeker.userset

    def _settle(self) -> tuple[dict[int, int], dict[int, int]]:
        """The gates that fire for certain, and those that perhaps do: the alternating fixpoint of Van Gelder."""
        surely = self._fire(range(len(self._needs)), self._facts)
        while True:
            perhaps = self._fire(surely, self._facts + self._cut + self._undecided)
            again = self._fire(perhaps, self._facts)
            if len(again) == len(surely):
                return surely, perhaps
            surely = again

    def _fire(self, excluded: Container[int], facts: list[int]) -> dict[int, int]:
        """The gates that fire, numbered in their order, given which ones count as true where they are excluded."""
        missing = self._needs.copy()
        fired: dict[int, int] = {}
        ahead = deque(facts)
        while ahead:
            gate = ahead.popleft()
            if gate in fired or self._barred.get(gate, -1) in excluded:
                continue
            fired[gate] = len(fired)
            for fed in self._feeds.get(gate, ()):
                missing[fed] -= 1
                if missing[fed] == 0:
                    ahead.append(fed)
        return fired

    def _gate(self, needs: int) -> int:
        if len(self._needs) >= DECISION_MAX_NODES:
            raise TooComplex(f"More than {DECISION_MAX_NODES} pairs of object and relation would have to be looked at.")
        self._needs.append(needs)
        return len(self._needs) - 1

    def _node(self, node: int, level: list[int]) -> int:
        """The gate of a node, which is to be opened on that level unless it is on an earlier one."""
        level.append(node)
        known = self.gates.get(node)
        if known is None:
            known = self.gates[node] = self._gate(1)
        return known

    def _step(self, step: Step, node: int, into: int) -> None:
        """Make the gates of a step, and let its result feed `into`, a gate that one input fires."""
        match step:
            case Assigned() | Same() | Parents():
                if isinstance(step, Assigned):
                    for _, condition in named(self._tuples, step, node, self._seeker.subjects):
                        fact = self._gate(1)
                        self._facts.append(fact)
                        self._feeds[fact] += self._under(condition, into)
                level = self._level if isinstance(step, Same) else self._next
                for target, condition in leads(self._plan, self._tuples, step, node):
                    for fed in self._under(condition, into):
                        self._feeds[self._node(target, level)].append(fed)
            case AnyOf(steps):
                for inner in steps:
                    self._step(inner, node, into)
            case AllOf(steps):
                every = self._gate(len(steps))
                for inner in steps:
                    one = self._gate(1)
                    self._feeds[one].append(every)
                    self._step(inner, node, one)
                self._feeds[every].append(into)
            case Without(base, subtract):
                remains, excluded = self._gate(1), self._gate(1)
                self._barred[remains] = excluded
                self._step(base, node, remains)
                self._step(subtract, node, excluded)
                self._feeds[remains].append(into)

    def _under(self, condition: RelationshipCondition | None, into: int) -> tuple[int, ...]:
        """What leads to a gate under a condition feeds it where that is met, and a gate that may fire where it is undecided."""
        weighed = condition is None or self._circumstances.weigh(condition)
        if isinstance(weighed, bool):
            return (into,) if weighed else ()
        self.failures.append(weighed)
        both, perhaps = self._gate(2), self._gate(1)
        self._undecided.append(perhaps)
        self._feeds[perhaps].append(both)
        self._feeds[both].append(into)
        return (both,)
