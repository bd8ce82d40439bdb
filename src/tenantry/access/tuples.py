"""Relationship tuples as text, and whether a model admits them.

A subject is an object (`user:anne`), a whole type (`user:*`) or a userset (`group:eng#member`). An id is literal: no
character of it is a pattern, and `*` alone, in a subject, is the one word for everybody.
"""

import re

import msgspec

from tenantry.access.errors import AccessError, InvalidTuple, LimitExceeded, RelationNotFound, TypeNotFound
from tenantry.access.limits import CONTEXTUAL_MAX_TUPLES, OBJECT_MAX_BYTES, SUBJECT_MAX_BYTES
from tenantry.access.model import Direct, Model, Relation, Restriction, Through, Type, leaves_of

# Controls (NUL among them), blanks, and lone surrogates, which are no characters at all.
_FORBIDDEN = re.compile("[\x00- \x7f-\x9f\ud800-\udfff]")


class TupleKey(msgspec.Struct, frozen=True):
    """`user` has `relation` to `object`."""

    user: str
    relation: str
    object: str

    def __str__(self) -> str:
        return f"{self.object}#{self.relation}@{self.user}"


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
    object_, hash_, relation = text.partition("#")
    type_, colon, id_ = object_.partition(":")
    well_formed = type_ and colon and id_ and bool(hash_) == bool(relation)
    if not well_formed or any(c in id_ + relation for c in ":#") or (relation and ("*" in id_ or "@" in relation)):
        return None
    if _FORBIDDEN.search(text) or len(text.encode()) > longest:
        return None
    return Subject(type_, id_, relation)


class Vocabulary:
    """What a model that stands calls its types and relations, looked up by name."""

    def __init__(self, model: Model) -> None:
        self.types: dict[str, Type] = {type_.name: type_ for type_ in model.types}
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
        if not any(msgspec.structs.replace(r, condition="") == allowed for r in relation.restrictions):
            place = f"{object_.type}#{key.relation}"
            raise InvalidTuple(
                f"Invalid tuple '{key}'. Reason: '{allowed}' is not an allowed type restriction for '{place}'"
            )

    def admit_all(self, contextual: tuple[TupleKey, ...]) -> None:
        """Refuse contextual tuples that may not be sent.

        Raises:
            LimitExceeded: there are too many.
            InvalidTuple: the first that `admit` refuses.
        """
        if len(contextual) > CONTEXTUAL_MAX_TUPLES:
            raise LimitExceeded(f"The number of contextual tuples exceeds the allowed limit of {CONTEXTUAL_MAX_TUPLES}")
        for key in contextual:
            self.admit(key)
