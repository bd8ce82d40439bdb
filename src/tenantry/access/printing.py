"""A model, written in OpenFGA's modelling language: the way back of `language`.

Two sentences of the JSON form have no words in the language, and are refused: a `[...]` that does not stand first in its
definition, or stands in it twice.
"""

from collections.abc import Sequence

from tenantry.access.errors import Fault, InvalidModel
from tenantry.access.model import (
    Computed,
    Condition,
    Direct,
    Exclusion,
    Intersection,
    Model,
    Rewrite,
    Through,
    Type,
    Union,
    leaves_of,
    parts_of,
)


def print_model(model: Model) -> str:
    """The text of a model; reading it gives the same model again, save for the modules that its parts came from.

    Raises:
        InvalidModel: a definition cannot be said in the language.
    """
    blocks = [f"model\n  schema {model.schema}\n"]
    blocks += map(_print_type, model.types)
    blocks += map(_print_condition, model.conditions)
    return "\n".join(blocks)


def _print_type(type_: Type) -> str:
    lines = [f"type {type_.name}"]
    if type_.relations:
        lines.append("  relations")
    for relation in type_.relations:
        leaves = list(leaves_of(_direct_first(relation.rewrite)))
        if Direct() in leaves[1:]:
            place = f"the '{relation.name}' relation definition under the '{type_.name}' type"
            message = f"{place} is not supported by the OpenFGA DSL syntax yet"
            raise InvalidModel(Fault("unsupported-dsl-nesting", message))
        restrictions = f"[{', '.join(map(str, relation.restrictions))}]"
        lines.append(f"    define {relation.name}: {_print(relation.rewrite, restrictions, outermost=True)}")
    return "\n".join(lines) + "\n"


def _direct_first(rewrite: Rewrite) -> Rewrite:
    """Order does not matter in a union or an intersection, so what the language wants first goes first."""
    match rewrite:
        case Union(parts):
            return Union(_ordered(parts))
        case Intersection(parts):
            return Intersection(_ordered(parts))
        case Exclusion(base, subtract):
            return Exclusion(_direct_first(base), _direct_first(subtract))
        case _:
            return rewrite


def _ordered(parts: Sequence[Rewrite]) -> tuple[Rewrite, ...]:
    ordered = [_direct_first(part) for part in parts]
    return tuple(sorted(ordered, key=lambda part: part != Direct()))


def _print(rewrite: Rewrite, restrictions: str, *, outermost: bool) -> str:
    match rewrite:
        case Direct():
            return restrictions
        case Computed() | Through():
            return str(rewrite)
        case Union():
            joint = " or "
        case Intersection():
            joint = " and "
        case Exclusion():
            joint = " but not "
    parts = parts_of(_direct_first(rewrite))
    text = joint.join(_print(part, restrictions, outermost=False) for part in parts)
    return text if outermost else f"({text})"


def _print_condition(condition: Condition) -> str:
    parameters = ", ".join(
        f"{p.name}: {p.type}<{p.item}>" if p.item else f"{p.name}: {p.type}" for p in condition.parameters
    )
    return f"condition {condition.name}({parameters}) {{\n  {condition.expression}\n}}\n"
