"""Relationship tuples as text, and whether a model admits them.

A subject is an object (`user:anne`), a whole type (`user:*`) or a userset (`group:eng#member`). An id is literal: no
character of it is a pattern, and `*` alone, in a subject, is the one word for everybody.
"""

import re
from collections.abc import Mapping

import msgspec

from tenantry.access.errors import AccessError, InvalidTuple, LimitExceeded, RelationNotFound, TypeNotFound
from tenantry.access.limits import (
    CONDITION_CONTEXT_MAX_BYTES,
    CONTEXTUAL_MAX_TUPLES,
    OBJECT_MAX_BYTES,
    SUBJECT_MAX_BYTES,
)
from tenantry.access.model import Condition, Direct, Model, Relation, Restriction, Through, Type, leaves_of
from tenantry.access.parameters import read_value

# Neither controls (NUL among them) nor blanks, nor lone surrogates, which are no characters at all.
_NEVER = "\x00- \x7f-\x9f\ud800-\udfff"
_FORM = re.compile(f"([^:#{_NEVER}]+):([^:#{_NEVER}]+)(?:#([^:#@{_NEVER}]+))?")


class RelationshipCondition(msgspec.Struct, frozen=True):
    """The condition under which a tuple counts, by its name in the model, and what the tuple itself says of it.

    `context` is a JSON object as text, by the names of the condition's parameters; it prevails over that of a question.
    """

    name: str
    context: str = "{}"

    def values(self) -> Mapping[str, object]:
        """The context, read.

        Raises:
            ValueError: it is not a JSON object.
        """
        try:
            return _context.decode(self.context)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError("the context is not a JSON object") from error


_context = msgspec.json.Decoder(dict[str, object])


class TupleKey(msgspec.Struct, frozen=True):
    """`user` has `relation` to `object`, always or under a condition. There is one tuple of the three, whatever its condition."""

    user: str
    relation: str
    object: str
    condition: RelationshipCondition | None = None

    def __str__(self) -> str:
        tuple_ = f"{self.object}#{self.relation}@{self.user}"
        return f"{tuple_} (condition {self.condition.name})" if self.condition else tuple_


class Subject(msgspec.Struct, frozen=True):
    """A subject, taken apart; `relation` is empty unless it is a userset."""

    type: str
    id: str
    relation: str = ""

    @property
    def object(self) -> str:
        """The object that the subject is, or whose userset it is."""
        return f"{self.type}:{self.id}"

    @property
    def wildcard(self) -> bool:
        """Whether everybody of the type is meant."""
        return self.id == "*"


def read_object(text: str) -> Subject:
    """Take an object apart.

    Raises:
        AccessError: it is not `type:id`, too long, or a wildcard.
    """
    found = _read(text, OBJECT_MAX_BYTES)
    if found is None or found.relation:
        raise AccessError("invalid 'object' field format", hint="An object is written type:id.")
    if found.wildcard:
        raise AccessError("the 'object' field cannot reference a typed wildcard")
    return found


def read_subject(text: str) -> Subject:
    """Take a subject apart.

    Raises:
        AccessError: it is not of one of the three forms, or too long.
    """
    found = _read(text, SUBJECT_MAX_BYTES)
    if found is None:
        forms = "an object (e.g. document:1) or an 'object#relation' or a typed wildcard (e.g. group:*)"
        raise AccessError(f"the 'user' field must be {forms}")
    return found


def _read(text: str, longest: int) -> Subject | None:
    form = _FORM.fullmatch(text)
    if form is None or (len(text) if text.isascii() else len(text.encode())) > longest:
        return None
    type_, id_, relation = form.groups(default="")
    return None if relation and "*" in id_ else Subject(type_, id_, relation)


class Vocabulary:
    """What a model that stands calls its types and relations, looked up by name."""

    def __init__(self, model: Model) -> None:
        self.types: dict[str, Type] = {type_.name: type_ for type_ in model.types}
        self.conditions: dict[str, Condition] = {condition.name: condition for condition in model.conditions}
        self._relations = {type_.name: {r.name: r for r in type_.relations} for type_ in model.types}
        self._tuplesets = {
            (type_.name, leaf.tupleset)
            for type_ in model.types
            for relation in type_.relations
            for leaf in leaves_of(relation.rewrite)
            if isinstance(leaf, Through)
        }

    def relation(self, type_: str, relation: str) -> Relation:
        """The relation of that name.

        Raises:
            TypeNotFound: there is no such type.
            RelationNotFound: the type has no such relation.
        """
        self.type(type_)
        found = self._relations[type_].get(relation)
        if found is None:
            raise RelationNotFound(f"relation '{type_}#{relation}' not found")
        return found

    def type(self, name: str) -> Type:
        """The type of that name.

        Raises:
            TypeNotFound: there is none.
        """
        found = self.types.get(name)
        if found is None:
            raise TypeNotFound(f"type '{name}' not found")
        return found

    def check_subject(self, text: str) -> Subject:
        """Take a subject apart that the model knows.

        Raises:
            AccessError: it is malformed, or its type or relation is unknown.
        """
        subject = read_subject(text)
        if subject.relation:
            self.relation(subject.type, subject.relation)
        self.type(subject.type)
        return subject

    def check_object(self, text: str, relation: str) -> Subject:
        """Take an object apart whose type has that relation.

        Raises:
            AccessError: it is malformed, or its type or relation is unknown.
        """
        found = read_object(text)
        self.relation(found.type, relation)
        return found

    def admit(self, key: TupleKey) -> None:
        """Refuse a tuple that may not be written, nor be sent beside a question.

        Raises:
            InvalidTuple: it is malformed, names something unknown, or is not within the relation's restrictions.
            AccessError: it is without a condition, or under one, where the restrictions ask for another, or the context
                holds what the condition does not ask for.
        """
        try:
            subject = self.check_subject(key.user)
            object_ = self.check_object(key.object, key.relation)
        except AccessError as error:
            raise InvalidTuple(f"Invalid tuple '{key}'. Reason: {error.message}") from error
        relation = self.relation(object_.type, key.relation)
        tupleset = (object_.type, key.relation) in self._tuplesets
        if tupleset and (subject.wildcard or subject.relation or relation.rewrite != Direct()):
            raise InvalidTuple(
                f"Invalid tuple '{key}'. Reason: unexpected user with tupleset relation '{key.relation}'"
            )
        allowed = Restriction(subject.type, subject.relation, subject.wildcard)
        under = {r.condition for r in relation.restrictions if msgspec.structs.replace(r, condition="") == allowed}
        if not under:
            place = f"{object_.type}#{key.relation}"
            raise InvalidTuple(
                f"Invalid tuple '{key}'. Reason: '{allowed}' is not an allowed type restriction for '{place}'"
            )
        reason = self._refused(key.condition, under)
        if reason:
            raise AccessError(f"Invalid tuple '{key}'. Reason: {reason}")

    def _refused(self, given: RelationshipCondition | None, allowed: set[str]) -> str:
        """Why a tuple may not be under this condition, where those names are allowed; empty if it may."""
        if given is None:
            return "" if "" in allowed else "condition is missing"
        condition = self.conditions.get(given.name)
        if condition is None:
            return "undefined condition"
        if given.name not in allowed:
            return "invalid condition for type restriction"
        size = len(given.context.encode(errors="replace"))
        if size > CONDITION_CONTEXT_MAX_BYTES:
            return f"condition context size limit exceeded: {size} bytes exceeds {CONDITION_CONTEXT_MAX_BYTES} bytes"
        parameters = {parameter.name: parameter for parameter in condition.parameters}
        name = ""
        try:
            for name, value in given.values().items():
                if name not in parameters:
                    return f"found invalid context parameter: {name}"
                read_value(parameters[name], value)
        except ValueError as error:
            return f"failed to convert context parameter '{name}': {error}" if name else str(error)
        return ""

    def admit_all(self, contextual: tuple[TupleKey, ...]) -> None:
        """Refuse contextual tuples that may not be sent.

        Raises:
            LimitExceeded: there are too many.
            InvalidTuple, AccessError: the first that `admit` refuses.
        """
        if len(contextual) > CONTEXTUAL_MAX_TUPLES:
            raise LimitExceeded(f"The number of contextual tuples exceeds the allowed limit of {CONTEXTUAL_MAX_TUPLES}")
        for key in contextual:
            self.admit(key)
