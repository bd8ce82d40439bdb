"""A slow, obvious evaluator: what the engine must agree with.

It writes down, for one user, a formula for every relation to every object there is, and repeats until nothing changes. It
knows no plan, no numbers, no walk and no limit. An exclusion is judged by the last round's result: the alternating fixpoint
that defines the well-founded model. A relation that is neither true nor false in it is `None`.

A condition is a function of the context here, and one that lacks its parameter is `UNKNOWN`, which may be true or not.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tenantry.access import expand as tree
from tenantry.access.model import (
    Computed,
    Direct,
    Exclusion,
    Intersection,
    Model,
    Relation,
    Restriction,
    Rewrite,
    Through,
    Type,
    Union,
)
from tenantry.access.tuples import TupleKey


@dataclass
class Atom:
    """A relation to an object, as `document:1#viewer`."""

    node: str


@dataclass
class AnyOf:
    """Or; false if empty."""

    parts: list["Formula"]


@dataclass
class AllOf:
    """And; true if empty."""

    parts: list["Formula"]


@dataclass
class But:
    """And not."""

    base: "Formula"
    subtract: "Formula"


Formula = Atom | AnyOf | AllOf | But
TRUE = AllOf([])
FALSE = AnyOf([])
UNKNOWN = Atom("?")

CONDITIONS: dict[str, Callable[[Mapping[str, int]], bool]] = {
    "low": lambda context: context["x"] < 2,
    "even": lambda context: context["y"] % 2 == 0,
}
"""What the conditions of the random models say, by their names."""


def solve(formulas: dict[str, Formula]) -> dict[str, bool | None]:
    """What each atom comes to."""
    every: dict[str, Formula] = {}
    for node, formula in formulas.items():
        every[node] = _named_subtracts(formula, node, every)
    surely = _round(every, {*every, UNKNOWN.node})
    while True:
        perhaps = _round(every, surely, {UNKNOWN.node})
        again = _round(every, perhaps)
        if again == surely:
            return {node: True if node in surely else None if node in perhaps else False for node in formulas}
        surely = again


def _named_subtracts(formula: Formula, node: str, into: dict[str, Formula]) -> Formula:
    """The formula with an atom in place of each subtract, for those are judged by the round before, however deep."""
    match formula:
        case Atom():
            return formula
        case AnyOf(parts):
            return AnyOf([_named_subtracts(part, node, into) for part in parts])
        case AllOf(parts):
            return AllOf([_named_subtracts(part, node, into) for part in parts])
        case But(base, subtract):
            name = f"{node}, subtract {len(into)}"
            into[name] = AnyOf([])
            into[name] = _named_subtracts(subtract, node, into)
            return But(_named_subtracts(base, node, into), Atom(name))


def _round(formulas: dict[str, Formula], excluded: set[str], given: Iterable[str] = ()) -> set[str]:
    """What follows from what is given, if exactly those are true where they are subtracted."""

    def value(formula: Formula) -> bool:
        match formula:
            case Atom(node):
                return node in true
            case AnyOf(parts):
                return any(map(value, parts))
            case AllOf(parts):
                return all(map(value, parts))
            case But(base, subtract):
                return value(base) and not (isinstance(subtract, Atom) and subtract.node in excluded)

    true = set(given)
    grew = True
    while grew:
        before = len(true)
        true |= {node for node, formula in formulas.items() if value(formula)}
        grew = len(true) > before
    return true


class World:
    """A model, its tuples, and every object of whose relations there is something to say."""

    def __init__(
        self,
        model: Model,
        tuples: Iterable[TupleKey],
        objects: Iterable[str],
        context: Mapping[str, int] | None = None,
    ) -> None:
        self.types = {type_.name: type_ for type_ in model.types}
        self.context = context or {}
        self.tuples = list(tuples)
        self.objects = list(objects)

    def nodes(self) -> list[str]:
        """Every relation to every object."""
        return [f"{o}#{relation.name}" for o in self.objects for relation in self.type_of(o).relations]

    def holds(self, user: str) -> dict[str, bool | None]:
        """Which of them the user has."""
        formulas: dict[str, Formula] = {}
        for object_ in self.objects:
            for relation in self.type_of(object_).relations:
                formula = self.formula(relation.rewrite, object_, relation, user)
                node = f"{object_}#{relation.name}"
                formulas[node] = TRUE if node == user else formula
        return solve(formulas)

    def type_of(self, object_: str) -> Type:
        return self.types[object_.partition(":")[0]]

    def formula(self, rewrite: Rewrite, object_: str, relation: Relation, user: str) -> Formula:
        match rewrite:
            case Direct():
                named = self.subjects(object_, relation)
                return AnyOf([AllOf([weighed, self.named(subject, user)]) for subject, weighed in named])
            case Computed(name):
                return Atom(f"{object_}#{name}")
            case Through(name, tupleset):
                of = next(r for r in self.type_of(object_).relations if r.name == tupleset)
                parents = [(p, weighed) for p, weighed in self.subjects(object_, of) if self.defines(p, name)]
                return AnyOf([AllOf([weighed, Atom(f"{p}#{name}")]) for p, weighed in parents])
            case Union(parts):
                return AnyOf([self.formula(part, object_, relation, user) for part in parts])
            case Intersection(parts):
                return AllOf([self.formula(part, object_, relation, user) for part in parts])
            case Exclusion(base, subtract):
                return But(self.formula(base, object_, relation, user), self.formula(subtract, object_, relation, user))

    def subjects(self, object_: str, relation: Relation) -> list[tuple[str, Formula]]:
        """Whom the relation's tuples name, as far as the model lets them, and what their conditions come to."""
        own = [t for t in self.tuples if (t.object, t.relation) == (object_, relation.name)]
        return [(t.user, self.weighed(t)) for t in own if restriction_of(t) in relation.restrictions]

    def weighed(self, key: TupleKey) -> Formula:
        if key.condition is None:
            return TRUE
        context = {**self.context, **json.loads(key.condition.context)}
        try:
            return TRUE if CONDITIONS[key.condition.name](context) else FALSE
        except KeyError:
            return UNKNOWN

    def defines(self, object_: str, relation: str) -> bool:
        return any(r.name == relation for r in self.type_of(object_).relations)

    @staticmethod
    def named(subject: str, user: str) -> Formula:
        everybody = subject.endswith(":*") and "#" not in user and user.startswith(subject[:-1])
        if subject == user or everybody:
            return TRUE
        return Atom(subject) if "#" in subject else FALSE


def restriction_of(key: TupleKey) -> Restriction:
    """The restriction that admits a tuple."""
    object_, _, relation = key.user.partition("#")
    type_, _, id_ = object_.partition(":")
    return Restriction(type_, relation, id_ == "*", key.condition.name if key.condition else "")


def formula_of(node: tree.Node, user: str) -> Formula:
    """What one level of an expansion says of a user."""
    if isinstance(node.leaf, tree.Leaf):
        return formula_of_leaf(node.leaf, user)
    if isinstance(node.union, tree.Nodes):
        return AnyOf([formula_of(part, user) for part in node.union.nodes])
    if isinstance(node.intersection, tree.Nodes):
        return AllOf([formula_of(part, user) for part in node.intersection.nodes])
    assert isinstance(node.difference, tree.Difference)
    return But(formula_of(node.difference.base, user), formula_of(node.difference.subtract, user))


def formula_of_leaf(leaf: tree.Leaf, user: str) -> Formula:
    """What a leaf says of a user."""
    if isinstance(leaf.users, tree.Users):
        return AnyOf([World.named(subject, user) for subject in leaf.users.users])
    if isinstance(leaf.computed, tree.Userset):
        return Atom(leaf.computed.userset)
    assert isinstance(leaf.tuple_to_userset, tree.TupleToUserset)
    return AnyOf([Atom(one.userset) for one in leaf.tuple_to_userset.computed])
