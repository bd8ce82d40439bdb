"""The most that an actor may ever do, whatever the graph says: the record that blueprints, agents and grants carry.

A ceiling gives nothing. A decision for a chain of actors (`chain`) says yes only where the graph and every ceiling do. It
speaks of the relation that is asked for: one that allows `editor` does not allow `viewer` for that reason. An empty ceiling
allows nothing.

The JSON form is what msgspec makes of the struct, and may stand in other records and bodies:
`{"allow": [{"type": "document", "relation": "viewer"}, {"type": "document", "relation": "editor", "objects": ["1"]}]}`.
"""

import re

import msgspec
from msgspec import UNSET, UnsetType

from tenantry.access.limits import (
    CEILING_MAX_ALLOWANCES,
    CEILING_MAX_OBJECTS,
    OBJECT_MAX_BYTES,
    RELATION_NAME_MAX_CHARACTERS,
    TYPE_NAME_MAX_CHARACTERS,
)
from tenantry.core.errors import Invalid, TooLarge

_NAME = re.compile(r"[^:#@*\s\x00-\x1f\x7f-\x9f]+")
_ID = re.compile(r"(?!\*$)[^:#\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


class Allowance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One relation to the objects of one type: to each of them, or to those whose ids `objects` holds.

    Ids are literal and stand without their type (`1` for `document:1`); none of them is a pattern.

    Raises:
        Invalid: a name or an id that no model and no tuple could have, or an empty list, which would allow nothing.
    """

    type: str
    relation: str
    objects: tuple[str, ...] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.type) or len(self.type) > TYPE_NAME_MAX_CHARACTERS:
            raise Invalid(f"`{self.type}` cannot be the name of a type.")
        if not _NAME.fullmatch(self.relation) or len(self.relation) > RELATION_NAME_MAX_CHARACTERS:
            raise Invalid(f"`{self.relation}` cannot be the name of a relation.")
        if self.objects == ():
            hint = "Leave out `objects` to allow all of the type, or leave out the whole allowance."
            raise Invalid(f"`{self.relation}` of `{self.type}` allows no object.", hint=hint)
        for id_ in _ids(self):
            if not _ID.fullmatch(id_) or len(f"{self.type}:{id_}".encode()) > OBJECT_MAX_BYTES:
                raise Invalid(f"`{id_}` cannot be the id of an object.")

    def allows(self, type_: str, relation: str, id_: str) -> bool:
        """Whether it allows this relation to the object `type:id`."""
        same = self.type == type_ and self.relation == relation
        return same and (isinstance(self.objects, UnsetType) or id_ in self.objects)


class Ceiling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whatever any of its allowances allows, and nothing else.

    Raises:
        TooLarge: it holds more than a ceiling may.
    """

    allow: tuple[Allowance, ...]

    def __post_init__(self) -> None:
        if len(self.allow) > CEILING_MAX_ALLOWANCES:
            raise TooLarge(f"A ceiling may hold {CEILING_MAX_ALLOWANCES} allowances.")
        if sum(len(_ids(allowance)) for allowance in self.allow) > CEILING_MAX_OBJECTS:
            raise TooLarge(f"A ceiling may name {CEILING_MAX_OBJECTS} objects.")

    def allows(self, type_: str, relation: str, id_: str) -> bool:
        """Whether the relation to the object `type:id` is within the ceiling."""
        return any(allowance.allows(type_, relation, id_) for allowance in self.allow)

    def allows_all(self, type_: str, relation: str) -> bool:
        """Whether the relation to every object of the type is within it."""
        return any((a.type, a.relation, a.objects) == (type_, relation, UNSET) for a in self.allow)


def within(child: Ceiling, parent: Ceiling) -> bool:
    """Whether the parent allows everything that the child does: an agent's ceiling within its blueprint's."""
    return all(_covered(allowance, parent) for allowance in child.allow)


def _covered(allowance: Allowance, by: Ceiling) -> bool:
    if by.allows_all(allowance.type, allowance.relation):
        return True
    ids = _ids(allowance)
    return bool(ids) and all(by.allows(allowance.type, allowance.relation, id_) for id_ in ids)


def _ids(allowance: Allowance) -> tuple[str, ...]:
    return () if isinstance(allowance.objects, UnsetType) else allowance.objects
