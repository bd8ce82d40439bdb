"""OpenAPI 3.1 of a table of routes, from their types. Nothing is written by hand, so nothing can be forgotten."""

import inspect
from collections.abc import Iterable
from typing import Any

import msgspec

from tenantry import __version__
from tenantry.app.dialects import BODIES
from tenantry.web import CLIENT, INSIDE, PUBLIC, Raw, Route, Stream

_Schemas = dict[Any, dict[str, Any]]
_REFERENCE = "#/components/schemas/{name}"


def document(routes: Iterable[Route], issuer: str) -> dict[str, Any]:
    """The document of these routes."""
    routes = tuple(routes)
    kinds = [kind for route in routes for kind in _kinds(route)]
    unique = list(dict.fromkeys(kinds))
    schemas, components = msgspec.json.schema_components(unique, ref_template=_REFERENCE)
    schema_of = dict(zip(unique, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tenantry",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": issuer}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _kinds(route: Route) -> list[Any]:
    answer = [] if route.answer in (None, Raw, Stream) else [route.answer]
    body = [route.body] if route.body else []
    query = [field.type for field in msgspec.structs.fields(route.query)] if route.query else []
    return [*answer, *body, *query, *route.parameters.values(), BODIES[route.dialect][1]]


def _operation(route: Route, schema_of: _Schemas) -> dict[str, Any]:
    summary, _, description = route.meaning.partition("\n")
    media, error = BODIES[route.dialect]
    operation: dict[str, Any] = {"operationId": route.name, "summary": summary}
    if description.strip():
        operation["description"] = inspect.cleandoc(description)
    operation["x-permission"] = route.permission.name
    operation["security"] = [] if route.permission in (PUBLIC, CLIENT, INSIDE) else [{"bearer": []}]
    if parameters := [*_path(route, schema_of), *_query(route, schema_of), *_header(route)]:
        operation["parameters"] = parameters
    if route.body:
        content = {kind: {"schema": schema_of[route.body]} for kind in route.media.value}
        operation["requestBody"] = {"required": True, "content": content}
    operation["responses"] = {
        str(route.status): _success(route, schema_of),
        "default": {"description": "Refused.", "content": {media: {"schema": schema_of[error]}}},
    }
    return operation


def _path(route: Route, schema_of: _Schemas) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": schema_of[kind]}
        for name, kind in route.parameters.items()
    ]


def _query(route: Route, schema_of: _Schemas) -> list[dict[str, Any]]:
    fields = msgspec.structs.fields(route.query) if route.query else ()
    return [
        {"name": field.encode_name, "in": "query", "required": field.required, "schema": schema_of[field.type]}
        for field in fields
    ]


def _header(route: Route) -> list[dict[str, Any]]:
    name = route.permission.header
    return [{"name": name, "in": "header", "required": False, "schema": {"type": "string"}}] if name else []


def _success(route: Route, schema_of: _Schemas) -> dict[str, Any]:
    if route.answer is None:
        return {"description": "Done."}
    if route.answer is Stream:
        return {"description": "Done.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
    if route.answer is Raw:
        return {"description": "Done.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {"description": "Done.", "content": {"application/json": {"schema": schema_of[route.answer]}}}
