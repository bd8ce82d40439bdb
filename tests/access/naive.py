"""A slow, obvious evaluator: what the engine must agree with.

It writes down, for one user, a formula for every relation to every object there is, and repeats until nothing changes. It
knows no plan, no numbers, no walk and no limit. An exclusion is judged by the last round's result: the alternating fixpoint
that defines the well-founded model. A relation that is neither true nor false in it is `None`.
"""

from collections.abc import Callable, Iterable
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


def solve(formulas: dict[str, Formula]) -> dict[str, bool | None]:
    """What each atom comes to."""

    def round_of(excluded: Callable[[Formula], bool]) -> Callable[[Formula], bool]:
        true: set[str] = set()

        def value(formula: Formula) -> bool:
            match formula:
                case Atom(node):
                    return node in true
                case AnyOf(parts):
                    return any(map(value, parts))
                case AllOf(parts):
                    return all(map(value, parts))
                case But(base, subtract):
                    return value(base) and not excluded(subtract)

        grew = True
        while grew:
            before = len(true)
            true |= {node for node, formula in formulas.items() if value(formula)}
            grew = len(true) > before
        return value

    surely = round_of(lambda _: True)
    while True:
        perhaps = round_of(surely)
        again = round_of(perhaps)
        if all(surely(Atom(node)) == again(Atom(node)) for node in formulas):
            return {n: True if again(Atom(n)) else None if perhaps(Atom(n)) else False for n in formulas}
        surely = again


class World:
    """A model, its tuples, and every object of whose relations there is something to say."""

    def __init__(self, model: Model, tuples: Iterable[TupleKey], objects: Iterable[str]) -> None:
        self.types = {type_.name: type_ for type_ in model.types}
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
                return AnyOf([self.named(subject, user) for subject in self.subjects(object_, relation)])
            case Computed(name):
                return Atom(f"{object_}#{name}")
            case Through(name, tupleset):
                of = next(r for r in self.type_of(object_).relations if r.name == tupleset)
                return AnyOf([Atom(f"{p}#{name}") for p in self.subjects(object_, of) if self.defines(p, name)])
            case Union(parts):
                return AnyOf([self.formula(part, object_, relation, user) for part in parts])
            case Intersection(parts):
                return AllOf([self.formula(part, object_, relation, user) for part in parts])
            case Exclusion(base, subtract):
                return But(self.formula(base, object_, relation, user), self.formula(subtract, object_, relation, user))

    def subjects(self, object_: str, relation: Relation) -> list[str]:
        """Whom the relation's tuples name, as far as the model lets them."""
        named = (t.user for t in self.tuples if (t.object, t.relation) == (object_, relation.name))
        return [subject for subject in named if restriction_of(subject) in relation.restrictions]

    def defines(self, object_: str, relation: str) -> bool:
        return any(r.name == relation for r in self.type_of(object_).relations)

    @staticmethod
    def named(subject: str, user: str) -> Formula:
        everybody = subject.endswith(":*") and "#" not in user and user.startswith(subject[:-1])
        if subject == user or everybody:
            return TRUE
        return Atom(subject) if "#" in subject else AnyOf([])


def restriction_of(subject: str) -> Restriction:
    """The restriction that lets a tuple name the subject."""
    object_, _, relation = subject.partition("#")
    type_, _, id_ = object_.partition(":")
    return Restriction(type_, relation, wildcard=id_ == "*")


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
