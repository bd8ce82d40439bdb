"""The JSON form of a model, as OpenFGA's API carries it (openfga.v1.AuthorizationModel), to and from `model.Model`.

Unknown members are refused. What the API adds to a model that it stores (`id`) is the caller's.
"""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from tenantry.access.errors import Fault, InvalidModel, LimitExceeded
from tenantry.access.limits import MODEL_MAX_BYTES, REWRITE_MAX_DEPTH
from tenantry.access.model import (
    Computed,
    Condition,
    Direct,
    Exclusion,
    Intersection,
    Model,
    Parameter,
    Relation,
    Restriction,
    Rewrite,
    Source,
    Through,
    Type,
    Union,
)


class _Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class Empty(_Wire, frozen=True):
    """`{}`, which says by being there."""


class ObjectRelation(_Wire, frozen=True):
    """A relation; of the object at hand where `object` is empty, as it always is in a model."""

    object: Literal[""] = ""
    relation: str = ""


class TupleToUserset(_Wire, frozen=True):
    """`computedUserset` of what `tupleset` names."""

    tupleset: ObjectRelation
    computed_userset: ObjectRelation = msgspec.field(name="computedUserset")


class Usersets(_Wire, frozen=True):
    """The parts of a union or an intersection."""

    child: tuple["Userset", ...]


class Difference(_Wire, frozen=True):
    """What an exclusion starts from and takes away."""

    base: "Userset"
    subtract: "Userset"


class Userset(_Wire, frozen=True):
    """Exactly one of the six."""

    this: Empty | UnsetType = UNSET
    computed_userset: ObjectRelation | UnsetType = msgspec.field(default=UNSET, name="computedUserset")
    tuple_to_userset: TupleToUserset | UnsetType = msgspec.field(default=UNSET, name="tupleToUserset")
    union: Usersets | UnsetType = UNSET
    intersection: Usersets | UnsetType = UNSET
    difference: Difference | UnsetType = UNSET


class RelationReference(_Wire, frozen=True):
    """A restriction; a relation and a wildcard exclude each other."""

    type: str
    relation: str = ""
    wildcard: Empty | UnsetType = UNSET
    condition: str = ""


class SourceInfo(_Wire, frozen=True):
    """The file of a module."""

    file: str = ""


class RelationMetadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The restrictions of one relation, and the module that added it."""

    directly_related_user_types: tuple[RelationReference, ...] = ()
    module: str | UnsetType = UNSET
    source_info: SourceInfo | UnsetType | None = UNSET


class Metadata(_Wire, frozen=True):
    """What a type's relations may name directly, and the type's module."""

    relations: dict[str, RelationMetadata] | None = None
    module: str = ""
    source_info: SourceInfo | None = None


class TypeDefinition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A type."""

    type: str
    relations: dict[str, Userset] = {}
    metadata: Metadata | None = None


class ParameterType(_Wire, frozen=True):
    """A parameter's type by its name in the API, `TYPE_NAME_INT`."""

    type_name: str
    generic_types: tuple["ParameterType", ...] = ()


class ConditionMetadata(_Wire, frozen=True):
    """The module of a condition."""

    module: str = ""
    source_info: SourceInfo | None = None


class WireCondition(_Wire, frozen=True):
    """A condition; its key in the model repeats its name."""

    name: str
    expression: str
    parameters: dict[str, ParameterType] = {}
    metadata: ConditionMetadata | None = None


class WireModel(_Wire, frozen=True):
    """A model without its id."""

    schema_version: str
    type_definitions: tuple[TypeDefinition, ...]
    conditions: dict[str, WireCondition] = {}


_PREFIX = "TYPE_NAME_"
_decoder = msgspec.json.Decoder(WireModel)


def decode_model(body: bytes) -> Model:
    """Read the JSON form.

    Raises:
        LimitExceeded: it is larger than a model may be.
        InvalidModel: it is not that form. Whether the model stands is `validation.validate`'s to say.
    """
    if len(body) > MODEL_MAX_BYTES:
        raise LimitExceeded(f"A model may have {MODEL_MAX_BYTES} bytes; this one has {len(body)}.")
    try:
        wire = _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidModel(Fault("invalid-json", str(error))) from error
    return from_wire(wire)


def encode_model(model: Model) -> bytes:
    """Write the JSON form."""
    return msgspec.json.encode(to_wire(model))


def from_wire(wire: WireModel) -> Model:
    """The model that the wire form stands for."""
    conditions = []
    for key, condition in wire.conditions.items():
        if key != condition.name:
            message = f"condition key '{key}' does not match condition name '{condition.name}'"
            raise InvalidModel(Fault("different-nested-condition-name", message))
        conditions.append(_read_condition(condition))
    conditions.sort(key=lambda condition: condition.name)
    return Model(wire.schema_version, tuple(map(_read_type, wire.type_definitions)), tuple(conditions))


def to_wire(model: Model) -> WireModel:
    """The wire form of a model; it names no type and no relation of a type twice."""
    return WireModel(
        model.schema, tuple(map(_write_type, model.types)), {c.name: _write_condition(c) for c in model.conditions}
    )


def _read_type(wire: TypeDefinition) -> Type:
    metadata = wire.metadata or Metadata()
    known = metadata.relations or {}
    for name in known.keys() - wire.relations.keys():
        raise InvalidModel(Fault("missing-definition", f"`{wire.type}` restricts `{name}` and does not define it."))
    relations = []
    for name, userset in wire.relations.items():
        about = known.get(name, RelationMetadata())
        source = _source(about.module or "", about.source_info or None)
        restrictions = tuple(map(_read_restriction, about.directly_related_user_types))
        relations.append(Relation(name, _read_rewrite(userset, f"{wire.type}#{name}", 1), restrictions, source))
    return Type(wire.type, tuple(relations), _source(metadata.module, metadata.source_info))


def _write_type(type_: Type) -> TypeDefinition:
    about = {r.name: _write_metadata(r) for r in type_.relations}
    file = SourceInfo(type_.source.file) if type_.source.file else None
    metadata = Metadata(about or None, type_.source.module, file) if about or type_.source.module else None
    return TypeDefinition(type_.name, {r.name: _write_rewrite(r.rewrite) for r in type_.relations}, metadata)


def _write_metadata(relation: Relation) -> RelationMetadata:
    restrictions = tuple(
        RelationReference(r.type, r.relation, Empty() if r.wildcard else UNSET, r.condition)
        for r in relation.restrictions
    )
    source = relation.source
    return RelationMetadata(restrictions, source.module or UNSET, SourceInfo(source.file) if source.file else UNSET)


def _source(module: str, info: SourceInfo | None) -> Source:
    return Source(module, info.file if info else "")


def _read_restriction(wire: RelationReference) -> Restriction:
    wildcard = wire.wildcard is not UNSET
    if wildcard and wire.relation:
        raise InvalidModel(Fault("invalid-relation-type", f"`{wire.type}` cannot have a relation and a wildcard."))
    return Restriction(wire.type, wire.relation, wildcard, wire.condition)


def _read_rewrite(wire: Userset, place: str, depth: int) -> Rewrite:
    if depth > REWRITE_MAX_DEPTH:
        raise LimitExceeded(f"A rewrite may nest {REWRITE_MAX_DEPTH} deep; that of `{place}` goes deeper.")
    given = [getattr(wire, name) for name in wire.__struct_fields__ if getattr(wire, name) is not UNSET]
    if len(given) != 1:
        raise InvalidModel(Fault("invalid-rewrite", f"`{place}` must be derived in exactly one way."))
    match given[0]:
        case ObjectRelation(relation=relation):
            return Computed(relation)
        case TupleToUserset(tupleset=tupleset, computed_userset=computed):
            return Through(computed.relation, tupleset.relation)
        case Usersets(child=child):
            parts = tuple(_read_rewrite(part, place, depth + 1) for part in child)
            if not parts:
                raise InvalidModel(Fault("invalid-rewrite", f"`{place}` has a union or intersection of nothing."))
            return Union(parts) if wire.union is not UNSET else Intersection(parts)
        case Difference(base=base, subtract=subtract):
            return Exclusion(_read_rewrite(base, place, depth + 1), _read_rewrite(subtract, place, depth + 1))
        case _:
            return Direct()


def _write_rewrite(rewrite: Rewrite) -> Userset:
    match rewrite:
        case Direct():
            return Userset(this=Empty())
        case Computed(relation):
            return Userset(computed_userset=ObjectRelation(relation=relation))
        case Through(relation, tupleset):
            both = TupleToUserset(ObjectRelation(relation=tupleset), ObjectRelation(relation=relation))
            return Userset(tuple_to_userset=both)
        case Union(parts):
            return Userset(union=Usersets(tuple(map(_write_rewrite, parts))))
        case Intersection(parts):
            return Userset(intersection=Usersets(tuple(map(_write_rewrite, parts))))
        case Exclusion(base, subtract):
            return Userset(difference=Difference(_write_rewrite(base), _write_rewrite(subtract)))


def _read_condition(wire: WireCondition) -> Condition:
    parameters = []
    for name, type_ in sorted(wire.parameters.items()):
        item = type_.generic_types[0].type_name if type_.generic_types else ""
        spelled = (n.removeprefix(_PREFIX).lower() for n in (type_.type_name, item))
        parameters.append(Parameter(name, *spelled))
    source = _source(wire.metadata.module, wire.metadata.source_info) if wire.metadata else Source()
    return Condition(wire.name, tuple(parameters), wire.expression, source)


def _write_condition(condition: Condition) -> WireCondition:
    parameters = {}
    for parameter in condition.parameters:
        items = (ParameterType(_PREFIX + parameter.item.upper()),) if parameter.item else ()
        parameters[parameter.name] = ParameterType(_PREFIX + parameter.type.upper(), items)
    source = condition.source
    file = SourceInfo(source.file) if source.file else None
    metadata = ConditionMetadata(source.module, file) if source.module else None
    return WireCondition(condition.name, condition.expression, parameters, metadata)
