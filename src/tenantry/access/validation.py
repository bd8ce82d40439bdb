"""Whether a model stands: names, references, and whether anybody could ever have each relation.

The rules are those of OpenFGA's server (typesystem.NewAndValidate); the faults have the names of its language tools.
What those tools alone complain of (a condition that nothing uses, a part that is said twice) is allowed, as the server does.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator

from tenantry.access.errors import Fault, InvalidModel, LimitExceeded
from tenantry.access.language import Places, Span
from tenantry.access.limits import (
    CONDITION_MAX_BYTES,
    CONDITION_MAX_PARAMETERS,
    CONDITION_NAME_MAX_CHARACTERS,
    MODEL_MAX_CONDITIONS,
    MODEL_MAX_TYPES,
    RELATION_NAME_MAX_CHARACTERS,
    TYPE_NAME_MAX_CHARACTERS,
)
from tenantry.access.model import (
    SCHEMAS,
    Computed,
    Condition,
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
    leaves_of,
)
from tenantry.access.parameters import CONTAINERS, TYPES

_KEYWORDS = {"self", "this"}
_Place = tuple[str, str]  # the names of a type and of a relation of it


def validate(model: Model, places: Places | None = None) -> None:
    """Refuse a model that does not stand; `places` tells the faults' lines where the model was a text.

    Raises:
        LimitExceeded: it has more types or conditions than a model may have, or a condition is too long.
        InvalidModel: with every fault of the first kind that was found: names, then references, then relations that
            nobody could have.
    """
    if len(model.types) > MODEL_MAX_TYPES:
        raise LimitExceeded(f"A model may have {MODEL_MAX_TYPES} types; this one has {len(model.types)}.")
    if len(model.conditions) > MODEL_MAX_CONDITIONS:
        raise LimitExceeded(
            f"A model may have {MODEL_MAX_CONDITIONS} conditions; this one has {len(model.conditions)}."
        )
    for condition in model.conditions:
        _check_size(condition)
    check = _Validation(model, places or Places())
    for found in (check.names, check.references, check.possibility):
        faults = sorted(found(), key=lambda fault: (fault.file, fault.line, fault.column))
        if faults:
            raise InvalidModel(*faults)


def _check_size(condition: Condition) -> None:
    if len(condition.parameters) > CONDITION_MAX_PARAMETERS:
        raise LimitExceeded(f"A condition may have {CONDITION_MAX_PARAMETERS} parameters; `{condition.name}` has more.")
    if len(condition.expression.encode(errors="replace")) > CONDITION_MAX_BYTES:
        raise LimitExceeded(f"A condition may have {CONDITION_MAX_BYTES} bytes; `{condition.name}` has more.")


class _Validation:
    def __init__(self, model: Model, places: Places) -> None:
        self.model = model
        self.places = places
        self.types = {type_.name: {r.name: r for r in type_.relations} for type_ in model.types}
        self.conditions = {condition.name for condition in model.conditions}

    def names(self) -> Iterator[Fault]:
        if self.model.schema not in SCHEMAS:
            yield _fault("invalid-schema", f"invalid schema {self.model.schema}", self.places.of("schema"))
        names = [type_.name for type_ in self.model.types]
        for index, type_ in enumerate(self.model.types):
            which = names[:index].count(type_.name)
            span = self.places.of("type", type_.name, which=which)
            yield from _name("type", type_.name, TYPE_NAME_MAX_CHARACTERS, span)
            if which:
                yield _fault("duplicated-error", f"the type `{type_.name}` is a duplicate.", span)
            yield from self._relation_names(type_)
        names = [condition.name for condition in self.model.conditions]
        for index, name in enumerate(names):
            span = self.places.of("condition", name, which=names[:index].count(name))
            yield from _name("condition", name, CONDITION_NAME_MAX_CHARACTERS, span)
            if name in names[:index]:
                yield _fault("duplicated-error", f"the condition `{name}` is a duplicate.", span)
            yield from self._parameters(self.model.conditions[index], span)

    def _parameters(self, condition: Condition, span: Span) -> Iterator[Fault]:
        names = [parameter.name for parameter in condition.parameters]
        if len(set(names)) < len(names):
            yield _fault("duplicated-error", f"the condition `{condition.name}` has two parameters of one name.", span)
        for parameter in condition.parameters:
            yield from _name("parameter", parameter.name, CONDITION_NAME_MAX_CHARACTERS, span)
            container = parameter.type in CONTAINERS
            if (container and parameter.item not in TYPES) or (
                not container and (parameter.item or parameter.type not in TYPES)
            ):
                message = f"the parameter `{parameter.name}` of the condition `{condition.name}` has no valid type."
                yield _fault("invalid-parameter-type", message, span)

    def _relation_names(self, type_: Type) -> Iterator[Fault]:
        names = [relation.name for relation in type_.relations]
        for index, name in enumerate(names):
            which = names[:index].count(name)
            span = self.places.of("relation", type_.name, name, which=which)
            yield from _name("relation", name, RELATION_NAME_MAX_CHARACTERS, span)
            if which:
                yield _fault("duplicated-error", f"`{name}` is defined twice in `{type_.name}`.", span)

    def references(self) -> Iterator[Fault]:
        for type_ in self.model.types:
            for relation in type_.relations:
                leaves = list(leaves_of(relation.rewrite))
                yield from self._restrictions(type_, relation, assignable=Direct() in leaves)
                for leaf in leaves:
                    if isinstance(leaf, Computed):
                        yield from self._computed(type_, relation, leaf)
                    elif isinstance(leaf, Through):
                        yield from self._through(type_, relation, leaf)

    def _restrictions(self, type_: Type, relation: Relation, *, assignable: bool) -> Iterator[Fault]:
        here = self.places.of("relation", type_.name, relation.name)
        if assignable and not relation.restrictions:
            message = f"the assignable relation `{relation.name}` in object type `{type_.name}` must contain at least one type"
            yield _fault("assignable-relation-must-have-type", message, here)
        if relation.restrictions and not assignable:
            message = f"`{relation.name}` of `{type_.name}` names types, and nothing can be assigned to it directly"
            yield _fault("type-restriction-on-non-assignable", message, here)
        for restriction in relation.restrictions:
            span = self._symbol(type_, relation, f"[{restriction}]")
            yield from self._restriction(type_, relation, restriction, span)

    def _restriction(self, type_: Type, relation: Relation, named: Restriction, span: Span) -> Iterator[Fault]:
        if named.type not in self.types:
            yield _fault("invalid-type", f"`{named.type}` is not a valid type.", span)
        elif named.relation and named.relation not in self.types[named.type]:
            message = f"`{named.relation}` is not a valid relation for `{named.type}`."
            yield _fault("invalid-relation-type", message, span)
        if named.condition and named.condition not in self.conditions:
            span = self._symbol(type_, relation, f"with {named.condition}")
            message = f"`{named.condition}` is not a defined condition in the model."
            yield _fault("condition-not-defined", message, span)

    def _computed(self, type_: Type, relation: Relation, leaf: Computed) -> Iterator[Fault]:
        if leaf.relation not in self.types[type_.name]:
            span = self._symbol(type_, relation, leaf.relation)
            yield _fault("missing-definition", f"the relation `{leaf.relation}` does not exist.", span)

    def _through(self, type_: Type, relation: Relation, leaf: Through) -> Iterator[Fault]:
        span = self._symbol(type_, relation, str(leaf))
        tupleset = self.types[type_.name].get(leaf.tupleset)
        if tupleset is None:
            message = f"`{leaf.tupleset}` is not a valid relation for `{type_.name}`."
            yield _fault("invalid-relation-type", message, span)
            return
        if tupleset.rewrite != Direct() or any(r.wildcard or r.relation for r in tupleset.restrictions):
            message = f"`{leaf.tupleset}` relation used inside from allows only direct relation."
            yield _fault("tupleuserset-not-direct", message, self._symbol(type_, relation, f"from {leaf.tupleset}"))
            return
        parents = [r.type for r in tupleset.restrictions]
        if not any(leaf.relation in self.types.get(parent, {}) for parent in parents):
            for parent in parents:
                message = (
                    f"the `{leaf.relation}` relation definition on type `{type_.name}` is not valid: "
                    f"`{leaf.relation}` does not exist on `{leaf.tupleset}`, which is of type `{parent}`."
                )
                yield _fault("invalid-relation-on-tupleset", message, span)

    def possibility(self) -> Iterator[Fault]:
        """Relations that nobody can have, and those that are computed from themselves."""
        defined = {(type_.name, r.name): r for type_ in self.model.types for r in type_.relations}
        possible = self._settle(defined, lambda place, known: self._possible(defined[place].rewrite, place, known))
        # What is computed only from what has settled settles; what is left over leads into a circle of itself.
        straight = self._settle(
            defined, lambda place, known: all(needed in known for needed in self._computed_by(defined[place], place))
        )
        for place in defined:
            if place not in possible or place not in straight:
                why = "no entrypoint" if place in straight else "potential loop"
                message = f"`{place[1]}` is an impossible relation for `{place[0]}` ({why})."
                yield _fault("relation-no-entry-point", message, self.places.of("relation", *place))

    def _settle(self, defined: dict[_Place, Relation], holds: Callable[[_Place, set[_Place]], bool]) -> set[_Place]:
        """The least set that `holds` keeps adding to, where what it says of a relation depends on what that refers to."""
        dependants: defaultdict[_Place, set[_Place]] = defaultdict(set)
        for place, relation in defined.items():
            for needed in self._referred(relation, place[0]):
                dependants[needed].add(place)
        known: set[_Place] = set()
        ahead = list(defined)
        while ahead:
            place = ahead.pop()
            if place not in known and holds(place, known):
                known.add(place)
                ahead += dependants[place]
        return known

    def _referred(self, relation: Relation, type_: str) -> Iterator[_Place]:
        for leaf in set(leaves_of(relation.rewrite)):
            match leaf:
                case Direct():
                    yield from ((r.type, r.relation) for r in relation.restrictions)
                case Computed(name):
                    yield type_, name
                case Through(name, tupleset):
                    yield from ((parent.type, name) for parent in self.types[type_][tupleset].restrictions)

    def _computed_by(self, relation: Relation, place: _Place) -> Iterator[_Place]:
        return ((place[0], leaf.relation) for leaf in leaves_of(relation.rewrite) if isinstance(leaf, Computed))

    def _possible(self, rewrite: Rewrite, place: _Place, known: set[_Place]) -> bool:
        type_, name = place
        match rewrite:
            case Direct():
                restrictions = self.types[type_][name].restrictions
                return any(not r.relation or (r.type, r.relation) in known for r in restrictions)
            case Computed(relation):
                return (type_, relation) in known
            case Through(relation, tupleset):
                return any((parent.type, relation) in known for parent in self.types[type_][tupleset].restrictions)
            case Union(parts):
                return any(self._possible(part, place, known) for part in parts)
            case Intersection(parts):
                return all(self._possible(part, place, known) for part in parts)
            case Exclusion(base, subtract):
                return all(self._possible(part, place, known) for part in (base, subtract))

    def _symbol(self, type_: Type, relation: Relation, symbol: str) -> Span:
        return self.places.of("symbol", type_.name, relation.name, symbol)


def _name(what: str, name: str, longest: int, span: Span) -> Iterator[Fault]:
    if name in _KEYWORDS and what in {"type", "relation"}:
        yield _fault(f"reserved-{what}-keywords", f"a {what} cannot be named 'self' or 'this'.", span)
    rule = rf"[^:#@\*\s]{{1,{longest}}}"
    if not re.fullmatch(rule, name) or not name.isprintable():
        yield _fault("invalid-name", f"{what} '{name}' does not match naming rule: '^{rule}$'.", span)


def _fault(kind: str, message: str, span: Span) -> Fault:
    return Fault(kind, message, span.line, span.column, span.end, span.file)
