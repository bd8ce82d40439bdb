"""One level of how a relation is made up: OpenFGA's `expand` (openfga.v1.UsersetTree).

A leaf names subjects, or points to a relation of an object whose own expansion the caller may ask for; nothing is followed.
"""

from collections.abc import Iterator

import msgspec
from msgspec import UNSET, UnsetType

from tenantry.access.errors import AccessError, LimitExceeded
from tenantry.access.graph import RELATION_MASK, Graph, Overlay
from tenantry.access.limits import EXPAND_MAX_USERS
from tenantry.access.plan import AllOf, AnyOf, Assigned, Parents, Plan, Same, Step, Without
from tenantry.access.question import goal_of
from tenantry.access.tuples import TupleKey


class _Tree(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    pass


class Users(_Tree, frozen=True):
    """The subjects of the relation's own tuples, in the order of their names."""

    users: tuple[str, ...]


class Userset(_Tree, frozen=True):
    """A relation to an object, as `document:1#editor`."""

    userset: str


class TupleToUserset(_Tree, frozen=True):
    """The relations that a tupleset leads to."""

    tupleset: str
    computed: tuple[Userset, ...]


class Leaf(_Tree, frozen=True):
    """Exactly one of the three."""

    users: Users | UnsetType = UNSET
    computed: Userset | UnsetType = UNSET
    tuple_to_userset: TupleToUserset | UnsetType = UNSET


class Nodes(_Tree, frozen=True):
    """The parts of a union or an intersection."""

    nodes: tuple["Node", ...]


class Difference(_Tree, frozen=True):
    """What an exclusion starts from and takes away."""

    base: "Node"
    subtract: "Node"


class Node(_Tree, frozen=True):
    """A part of the tree: exactly one of the four beside its name, which is that of the relation expanded."""

    name: str
    leaf: Leaf | UnsetType = UNSET
    difference: Difference | UnsetType = UNSET
    union: Nodes | UnsetType = UNSET
    intersection: Nodes | UnsetType = UNSET


def expand(plan: Plan, graph: Graph, object_: str, relation: str, contextual: tuple[TupleKey, ...] = ()) -> Node:
    """The root of the tree.

    Raises:
        AccessError: the object is malformed, or the model does not know it or the relation.
        InvalidTuple: a contextual tuple is not admitted.
        LimitExceeded: the level holds more subjects than an answer may.
    """
    plan.vocabulary.admit_all(contextual)
    try:
        target = plan.vocabulary.check_object(object_, relation)
    except AccessError as error:
        raise AccessError(error.message, hint=error.hint) from error
    view = Overlay(graph, contextual)
    goal = goal_of(plan, view, target, relation)
    return _Expansion(plan, view, goal.node).step(goal.rule.step)


class _Expansion:
    def __init__(self, plan: Plan, view: Overlay, node: int) -> None:
        self.plan = plan
        self.view = view
        self.node = node
        self.name = view.text(node)
        self.left = EXPAND_MAX_USERS

    def step(self, step: Step) -> Node:
        match step:
            case Assigned(kinds):
                of = (*self.view.objects(self.node), *self.view.usersets(self.node))
                return self.leaf(Leaf(users=Users(self.texts(s for s in of if self.view.kind_of(s) in kinds))))
            case Same(kind):
                same = self.view.text(self.node & ~RELATION_MASK | kind & RELATION_MASK)
                return self.leaf(Leaf(computed=Userset(same)))
            case Parents():
                return self.leaf(Leaf(tuple_to_userset=self.parents(step)))
            case AnyOf(steps):
                return Node(self.name, union=Nodes(tuple(map(self.step, steps))))
            case AllOf(steps):
                return Node(self.name, intersection=Nodes(tuple(map(self.step, steps))))
            case Without(base, subtract):
                return Node(self.name, difference=Difference(self.step(base), self.step(subtract)))

    def parents(self, step: Parents) -> TupleToUserset:
        tupleset = self.node & ~RELATION_MASK | step.tupleset
        named = (p | step.relation for p in self.view.objects(tupleset) if self.view.kind_of(p) in step.kinds)
        return TupleToUserset(self.view.text(tupleset), tuple(map(Userset, self.texts(named))))

    def texts(self, subjects: Iterator[int]) -> tuple[str, ...]:
        texts: list[str] = []
        for subject in subjects:
            self.left -= 1
            if self.left < 0:
                raise LimitExceeded(f"The number of users exceeds the allowed limit of {EXPAND_MAX_USERS}")
            texts.append(self.view.text(subject))
        return tuple(sorted(texts))

    def leaf(self, leaf: Leaf) -> Node:
        return Node(self.name, leaf=leaf)
