"""What deciding costs by itself, in one process and without HTTP: at a million tuples against ten thousand, and a list against a check.

Both sizes have the same shape, and every answer lies four tuples deep. The bound stands as `theirs`; ratio = bound / ours.
"""

from itertools import cycle, islice
from statistics import median
from time import process_time

import msgspec

from benchmarks.corpus import MODEL, RELATION, Corpus
from benchmarks.ground import Ground
from benchmarks.measure import Pace, Row, compared
from tenantry.access.check import check
from tenantry.access.graph import Graph, Names
from tenantry.access.language import parse
from tenantry.access.lists import find_objects
from tenantry.access.plan import Plan, compile_model
from tenantry.access.tuples import TupleKey

SMALL = 10_000
GROWTH_MAX = 1.5
FIRST = 100
LIST_MAX_CHECKS = 10
AT_ONCE = 200
"""Questions between two looks at the clock."""


class _Side(msgspec.Struct, frozen=True, eq=False):
    plan: Plan
    graph: Graph
    questions: list[TupleKey]

    def check_us(self, seconds: float) -> float:
        """Processor time of one check."""
        asked, done, began = cycle(self.questions), 0, process_time()
        while (spent := process_time() - began) < seconds:
            for key in islice(asked, AT_ONCE):
                check(self.plan, self.graph, key)
            done += AT_ONCE
        return spent / done * 1e6

    def list_us(self, seconds: float) -> float:
        """Processor time of the first objects of one list."""
        asked, done, began = cycle(self.questions), 0, process_time()
        while (spent := process_time() - began) < seconds:
            found = list(islice(find_objects(self.plan, self.graph, next(asked).user, RELATION, "document"), FIRST))
            assert len(found) == FIRST
            done += 1
        return spent / done * 1e6


async def rows(ground: Ground) -> list[Row]:
    """In turns: a check at both sizes, and a list."""
    large, small = _side(ground.pace.tuples), _side(SMALL)
    few, many, listed = _in_turns(ground.pace, large, small)
    shape = f"depth 4, equal shape; {ground.machine.beside(1, 'in one process')}"
    return [
        compared(
            "Decisions: processor time of a check as tuples grow",
            many,
            few * GROWTH_MAX,
            few * GROWTH_MAX / many,
            1,
            f"µs at {ground.pace.tuples:,} tuples; theirs is {GROWTH_MAX} x what a check takes at {SMALL:,}, ratio = bound / ours; {shape}",
        ),
        compared(
            f"Decisions: first {FIRST} objects of a list",
            listed,
            many * LIST_MAX_CHECKS,
            many * LIST_MAX_CHECKS / listed,
            1,
            f"µs at {ground.pace.tuples:,} tuples; theirs is {LIST_MAX_CHECKS} x one check, ratio = bound / ours; {shape}",
        ),
    ]


def _in_turns(pace: Pace, large: _Side, small: _Side) -> tuple[float, float, float]:
    rounds = [
        (small.check_us(seconds), large.check_us(seconds), large.list_us(seconds))
        for seconds in [0.1, *[pace.seconds / 2] * pace.rounds]
    ]
    few, many, listed = (median(each) for each in zip(*rounds[1:], strict=True))
    return few, many, listed


def _side(tuples: int) -> _Side:
    plan = compile_model(parse(MODEL).model, Names())
    graph, corpus = Graph(plan.names), Corpus(tuples)
    for one in corpus.facts():
        graph.add(TupleKey(one.user, one.relation, one.object))
    return _Side(plan, graph, [TupleKey(q.user, q.relation, q.object) for q in corpus.questions(5_000)])
