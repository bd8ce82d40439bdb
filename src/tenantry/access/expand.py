"""One level of how a relation is made up: OpenFGA's `expand` (openfga.v1.UsersetTree).

A leaf names subjects, or points to a relation of an object whose own expansion the caller may ask for; nothing is followed.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

import msgspec
from msgspec import UNSET, UnsetType

from tenantry.access.errors import ConditionFailed, LimitExceeded
from tenantry.access.graph import RELATION_MASK, Graph, kind_of
from tenantry.access.limits import EXPAND_MAX_USERS
from tenantry.access.plan import AllOf, AnyOf, Assigned, Parents, Plan, Same, Step, Without, admitted
from tenantry.access.question import View, admit_object, goal_of
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


def expand(
    plan: Plan,
    graph: Graph,
    object_: str,
    relation: str,
    contextual: tuple[TupleKey, ...] = (),
    context: Mapping[str, object] | None = None,
) -> Node:
    """The root of the tree.

    With a context, whoever a condition keeps out is left out. Without one no condition is weighed: whoever a tuple names is
    there, under whatever condition, as in OpenFGA.

    Raises:
        AccessError: the object is malformed, or the model does not know it or the relation.
        InvalidTuple: a contextual tuple is not admitted.
        ConditionFailed: there is a context, and it does not suffice to decide a condition.
        LimitExceeded: the level holds more subjects than an answer may.
    """
    view = View(plan, graph, contextual, context)
    goal = goal_of(view, admit_object(plan, object_, relation), relation)
    return _Expansion(view, goal.node, weighs=context is not None).step(goal.rule.step)


class _Expansion:
    def __init__(self, view: View, node: int, *, weighs: bool) -> None:
        self.view = view
        self.node = node
        self.weighs = weighs
        self.name = view.text(node)
        self.left = EXPAND_MAX_USERS

    def step(self, step: Step) -> Node:
        match step:
            case Assigned():
                named = chain(self.named(step, self.node, usersets=False), self.named(step, self.node, usersets=True))
                return self.leaf(Leaf(users=Users(self.texts(named))))
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
        computed = self.texts(p | step.relation for p in self.named(step, tupleset, usersets=False))
        return TupleToUserset(self.view.text(tupleset), tuple(map(Userset, computed)))

    def named(self, step: Assigned | Parents, node: int, *, usersets: bool) -> Iterator[int]:
        """Whom the tuples of a node name, as far as the model lets them and their conditions are met."""
        plain = self.view.usersets(node) if usersets else self.view.objects(node)
        yield from (subject for subject in plain if kind_of(subject) in step.kinds)
        for subject, condition in admitted(self.view, step, node, usersets=usersets):
            weighed = not self.weighs or self.view.circumstances.weigh(condition)
            if isinstance(weighed, ConditionFailed):
                raise weighed
            if weighed:
                yield subject

    def texts(self, subjects: Iterable[int]) -> tuple[str, ...]:
        texts: list[str] = []
        for subject in subjects:
            self.left -= 1
            if self.left < 0:
                raise LimitExceeded(f"The number of users exceeds the allowed limit of {EXPAND_MAX_USERS}")
            texts.append(self.view.text(subject))
        return tuple(sorted(texts))

    def leaf(self, leaf: Leaf) -> Node:
        return Node(self.name, leaf=leaf)
