"""Roles: a named set of permissions on a type, as sugar over a model.

A role becomes a relation of its type that principals and groups are given directly, and a way to each of its permissions. So giving a
role is one tuple (`workspace:1#editor@user:anne`), and a role whose permissions change needs no tuple written anew: only another model.
"""

from collections.abc import Mapping

import msgspec

from tenantry.access.model import (
    Computed,
    Direct,
    Exclusion,
    Intersection,
    Model,
    Relation,
    Restriction,
    Rewrite,
    Type,
    Union,
)
from tenantry.core.errors import Invalid


class BadRole(Invalid):
    """A role cannot stand in its model."""

    code = "invalid_role"


Roles = Mapping[str, Mapping[str, tuple[str, ...]]]
"""By type, then by the role's name: the permissions that it holds."""

PRINCIPALS = ("user", "agent", "service", "mcp_server", "job")
"""Whose types a role can be given to, where the model has them; and the members of its groups."""

GROUP = ("group", "member")


def with_roles(model: Model, roles: Roles) -> Model:
    """The model in which each role is a relation, and a way to its permissions. A permission that the type lacks is added.

    Raises:
        BadRole: there is no such type, the name of a role is taken, or nobody in the model could be given one.
    """
    if unknown := sorted(roles.keys() - {type_.name for type_ in model.types}):
        raise BadRole(f"There are roles on {unknown[0]}, and the model has no such type.")
    given = _restrictions(model)
    if roles and not given:
        raise BadRole(
            f"A role is given to {', '.join(PRINCIPALS)} or to a group, and the model has none of these types."
        )
    types = (_with(type_, roles.get(type_.name, {}), given) for type_ in model.types)
    return msgspec.structs.replace(model, types=tuple(types))


def _restrictions(model: Model) -> tuple[Restriction, ...]:
    types = {type_.name: {relation.name for relation in type_.relations} for type_ in model.types}
    principals = [Restriction(name) for name in PRINCIPALS if name in types]
    groups = [Restriction(*GROUP)] if GROUP[1] in types.get(GROUP[0], ()) else []
    return (*principals, *groups)


def _with(type_: Type, roles: Mapping[str, tuple[str, ...]], given: tuple[Restriction, ...]) -> Type:
    known = {relation.name: relation for relation in type_.relations}
    for role, permissions in roles.items():
        if role in known:
            raise BadRole(f"{type_.name} has a relation {role}, so no role can be called so.")
        known[role] = Relation(role, Direct(), given)
        for permission in permissions:
            if permission in roles:
                raise BadRole(f"The role {role} of {type_.name} holds {permission}, which is a role and no permission.")
            known[permission] = _reached(known.get(permission), permission, Computed(role))
    return msgspec.structs.replace(type_, relations=tuple(known.values()))


def _reached(relation: Relation | None, name: str, way: Rewrite) -> Relation:
    """The relation with one more way to it."""
    if relation is None:
        return Relation(name, way)
    return msgspec.structs.replace(relation, rewrite=_or(relation.rewrite, way, name))


def _or(rewrite: Rewrite, way: Rewrite, name: str) -> Rewrite:
    """Either of both; whoever `but not` keeps out stays out."""
    match rewrite:
        case Union(parts):
            return Union((*parts, way))
        case Exclusion(base, subtract):
            return Exclusion(_or(base, way, name), subtract)
        case Intersection():
            raise BadRole(
                f"{name} asks for several things at once, and a role would be a way around them.",
                hint="Name the part that the role is to hold as a relation of its own.",
            )
        case _:
            return Union((rewrite, way))
