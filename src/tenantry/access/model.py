"""An authorization model, as OpenFGA's schema 1.1 and 1.2 know it: types, their relations, and how each is derived.

This is the form that the language (`language`, `printing`), the JSON form (`wire`), validation and the plan share. It says
nothing of tuples. A `Model` may be wrong; `validation.validate` says whether it stands.
"""

from collections.abc import Iterator

import msgspec

SCHEMAS = ("1.1", "1.2")


class Direct(msgspec.Struct, frozen=True, tag=True):
    """Whoever a tuple names, within the relation's restrictions (`[user, group#member]`; `this` in JSON)."""


class Computed(msgspec.Struct, frozen=True, tag=True):
    """Whoever has another relation to the same object."""

    relation: str

    def __str__(self) -> str:
        return self.relation


class Through(msgspec.Struct, frozen=True, tag=True):
    """Whoever has `relation` to an object that `tupleset` names (`viewer from parent`; tuple-to-userset in JSON)."""

    relation: str
    tupleset: str

    def __str__(self) -> str:
        return f"{self.relation} from {self.tupleset}"


class Union(msgspec.Struct, frozen=True, tag=True):
    """Whoever any of the parts holds."""

    parts: tuple["Rewrite", ...]


class Intersection(msgspec.Struct, frozen=True, tag=True):
    """Whoever every part holds."""

    parts: tuple["Rewrite", ...]


class Exclusion(msgspec.Struct, frozen=True, tag=True):
    """Whoever `base` holds and `subtract` does not."""

    base: "Rewrite"
    subtract: "Rewrite"


Rewrite = Direct | Computed | Through | Union | Intersection | Exclusion


class Restriction(msgspec.Struct, frozen=True):
    """One kind of subject that a tuple may name: `user`, `user:*` or `group#member`, with a condition or without."""

    type: str
    relation: str = ""
    wildcard: bool = False
    condition: str = ""

    def __str__(self) -> str:
        subject = f"{self.type}:*" if self.wildcard else self.type
        subject = f"{subject}#{self.relation}" if self.relation else subject
        return f"{subject} with {self.condition}" if self.condition else subject


class Source(msgspec.Struct, frozen=True):
    """The module and file that a part of a modular model (schema 1.2) comes from; empty elsewhere."""

    module: str = ""
    file: str = ""


NOWHERE = Source()


class Relation(msgspec.Struct, frozen=True):
    """A relation of a type; `source` is set where another module than the type's added it."""

    name: str
    rewrite: Rewrite
    restrictions: tuple[Restriction, ...] = ()
    source: Source = NOWHERE


class Type(msgspec.Struct, frozen=True):
    """A type of objects and its relations, in the order they were written."""

    name: str
    relations: tuple[Relation, ...] = ()
    source: Source = NOWHERE


class Parameter(msgspec.Struct, frozen=True):
    """A condition's parameter: `type` in the language's spelling (`int`), `item` what a list or map holds."""

    name: str
    type: str
    item: str = ""


class Condition(msgspec.Struct, frozen=True):
    """A named condition; its parameters are in the order of their names. The expression is CEL and is not read here."""

    name: str
    parameters: tuple[Parameter, ...]
    expression: str
    source: Source = NOWHERE


class Model(msgspec.Struct, frozen=True):
    """A whole authorization model: types in the order they were written, conditions in that of their names."""

    schema: str
    types: tuple[Type, ...]
    conditions: tuple[Condition, ...] = ()


def parts_of(rewrite: Rewrite) -> tuple[Rewrite, ...]:
    """The rewrites directly below this one."""
    match rewrite:
        case Union(parts) | Intersection(parts):
            return parts
        case Exclusion(base, subtract):
            return (base, subtract)
        case _:
            return ()


def leaves_of(rewrite: Rewrite) -> Iterator[Direct | Computed | Through]:
    """What a rewrite refers to, from left to right."""
    match rewrite:
        case Direct() | Computed() | Through():
            yield rewrite
        case _:
            for part in parts_of(rewrite):
                yield from leaves_of(part)
