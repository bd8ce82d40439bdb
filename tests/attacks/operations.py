"""The operations of the running OpenAPI document, and how each can be filled in an organization that has one of everything.

An operation that nothing here can fill raises: whoever adds a route says what it takes, and every walk covers it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2
import msgspec

from tests.organizations.stock import body_of
from tests.stand.assembled import MODEL, Headers, Home, House

FIXED = {"role": "auditor", "tie": "delegators", "number": "1", "code": "not_found", "id": "", "after": ""}
OF_A_PRINCIPAL = {"principal_id": "service_id", "member_id": "user_id", "party_id": "user_id", "holder_id": "user_id"}
LAST = ("remove", "deactivate", "end_", "revoke", "retire", "withdraw", "veto", "delete", "take", "stand_back", "untie")
"""What changes what others need comes last."""

DEADLY = ("suspend_organization", "resume_organization", "delete_organization")


class Operation(msgspec.Struct, frozen=True):
    """One operation as the document says it."""

    name: str
    method: str
    path: str
    permission: str
    proves: bool
    """Whether its caller must prove itself."""

    success: int
    parameters: dict[str, dict[str, Any]]
    """The schemas of the parameters that name what it is about."""

    in_header: frozenset[str]
    """Those that are no part of the path."""

    query: dict[str, dict[str, Any]]
    media: str

    @property
    def platforms(self) -> bool:
        """Whether it is of the platform's operators."""
        return self.path.startswith("/v1/organizations")

    def admits(self, parameter: str, text: str) -> bool:
        """Whether a text is of the form that a parameter wants."""
        schema = self.parameters.get(parameter) or self.query[parameter]
        return bool(re.search(schema.get("pattern", ""), text)) and schema.get("type", "string") == "string"

    def harm(self) -> tuple[bool, bool, bool, int]:
        """The later, the more of what others need is gone."""
        return self.name in DEADLY, self.method == "DELETE", self.name.startswith(LAST), -len(self.path)


async def operations(house: House) -> list[Operation]:
    """Every operation of the running server, the harmless first; its `metrics` are on another address."""
    said: dict[str, Any] = (await house.client.get("/openapi.json")).json()
    found = [
        _operation(method.upper(), path, of)
        for path, methods in said["paths"].items()
        for method, of in methods.items()
        if of["x-permission"] != "inside"
    ]
    return sorted(found, key=Operation.harm)


def _operation(method: str, path: str, said: dict[str, Any]) -> Operation:
    (success,) = (status for status in said["responses"] if status != "default")
    given = said.get("parameters", ())
    return Operation(
        name=said["operationId"],
        method=method,
        path=path,
        permission=said["x-permission"],
        proves=bool(said["security"]),
        success=int(success),
        parameters={one["name"]: one["schema"] for one in given if one["in"] in ("path", "header")},
        in_header=frozenset(one["name"] for one in given if one["in"] == "header"),
        query={one["name"]: one["schema"] for one in given if one["in"] == "query"},
        media=next(iter(said["requestBody"]["content"])) if "requestBody" in said else "",
    )


def values(operation: Operation, have: Mapping[str, str]) -> dict[str, str]:
    """What the parameters can be in an organization.

    Raises:
        KeyError: one is new here.
    """
    return {name: _value(operation, name, have) for name in operation.parameters}


def _value(operation: Operation, name: str, have: Mapping[str, str]) -> str:
    if name == "agent_id" and "visiting" in operation.path:
        return have["visitor_id"]
    if name == "key_id" and "agents" in operation.path:
        return have["agent_key_id"]
    if name == "role" and not operation.path.startswith("/v1/roles/"):
        return "checker"
    if operation.name == "veto_operator_entry":
        return have["second_entry_id"]
    if name == "Tenantry-Store":
        return have["store"]
    if name == "store_id":
        return have["store_id"] if operation.path.startswith("/v1/") else have["store"]
    if name in ("id", "authorization_model_id"):
        return have["model"]
    if name == "branch_id":
        return have["group_id"] if operation.method == "GET" and "groups" in operation.path else have["user_id"]
    return FIXED.get(name) or have[OF_A_PRINCIPAL.get(name, name)]


def body(operation: Operation, home: Home) -> dict[str, Any] | None:
    """What an operation can be sent in an organization; `None` if it takes no body."""
    if not operation.media:
        return None
    given = body_of(operation.name, home.tenant, home.have)
    return given if given is not None else _bodies(home.have, home.house.issuer)[operation.name]


def _bodies(have: Mapping[str, str], issuer: str) -> dict[str, dict[str, Any]]:
    """The bodies of the rooms beside organizations; one that is missing is a route that no walk covers."""
    key = {"user": "user:anne", "relation": "viewer", "object": "document:1"}
    of_model = {"authorization_model_id": have["model"]}
    listing = {"type": "document", "relation": "viewer", "user": "user:anne", **of_model}
    evaluation = {
        "subject": {"type": "user", "id": "anne"},
        "action": {"name": "viewer"},
        "resource": {"type": "document", "id": "1"},
    }
    question = {"subject": "user:anne", "relation": "viewer", "object": "document:1", "model": have["model_id"]}
    return {
        "create_store": {"name": "other"},
        "write_authorization_model": MODEL,
        "read": {"tuple_key": key},
        "write": {"writes": {"tuple_keys": [{**key, "object": "document:2"}], "on_duplicate": "ignore"}, **of_model},
        "check": {"tuple_key": key, **of_model},
        "batch_check": {"checks": [{"tuple_key": key, "correlation_id": "1"}], **of_model},
        "expand": {"tuple_key": {"relation": "viewer", "object": "document:1"}, **of_model},
        "list_objects": listing,
        "streamed_list_objects": listing,
        "list_users_of_relation": {
            "object": {"type": "document", "id": "1"},
            "relation": "viewer",
            "user_filters": [{"type": "user"}],
            **of_model,
        },
        "write_assertions": {"assertions": [{"tuple_key": key, "expectation": True}]},
        "check_access": question,
        "evaluate_access": evaluation,
        "evaluate_accesses": evaluation,
        "search_subjects": {**evaluation, "subject": {"type": "user"}},
        "search_resources": {**evaluation, "resource": {"type": "document"}},
        "search_actions": {name: evaluation[name] for name in ("subject", "resource")},
        "explain_access": question,
        "cut_branch": {"reason": "Because."},
        "issue_token": {
            "grant_type": "client_credentials",
            "resource": issuer,
            "client_id": have["admin_id"],
            "client_secret": have["admin_secret"],
        },
    }


class Answer(msgspec.Struct, frozen=True):
    """An answer without what tells each answer from the next. Of a stream only the head was read."""

    status: int
    body: str
    headers: Headers


async def ask(
    house: House,
    operation: Operation,
    headers: Headers,
    path: Mapping[str, str],
    sent: Any = None,
    query: Mapping[str, str] | None = None,
    client: httpx2.AsyncClient | None = None,
) -> Answer:
    """Ask an operation; where clients prove themselves in the body, nothing else proves them."""
    headers = {**(headers if operation.proves else {}), **{name: path[name] for name in operation.in_header}}
    if operation.name == "ping_feed":
        query = {"within_ms": "1000", **(query or {})}
    form = operation.media == "application/x-www-form-urlencoded"
    request = (client or house.client).build_request(
        operation.method,
        operation.path.format(**path),
        headers=headers,
        params=query,
        **({"data": sent} if form else {"json": sent}),
    )
    answer = await (client or house.client).send(request, stream=True)
    try:
        text = (
            ""
            if answer.headers.get("content-type", "").startswith("text/event-stream")
            else (await answer.aread()).decode()
        )
    finally:
        await answer.aclose()
    kept = {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
    return Answer(answer.status_code, text, kept)


def twin(identifier: str) -> str:
    """An id of the same time that never existed: no list can tell the two apart by their order."""
    return identifier[:-1] + ("0" if identifier[-1] != "0" else "1")


def named(given: Any, known: Mapping[str, str]) -> Iterator[str]:
    """Every id that stands somewhere in a body."""
    if isinstance(given, dict):
        for value in given.values():
            yield from named(value, known)
    elif isinstance(given, list | tuple):
        for value in given:
            yield from named(value, known)
    elif given in known:
        yield given


def replaced(given: Any, value: str, other: str) -> Any:
    """A body with another id in the place of one."""
    if isinstance(given, dict):
        return {name: replaced(of, value, other) for name, of in given.items()}
    if isinstance(given, list | tuple):
        return [replaced(of, value, other) for of in given]
    return other if given == value else given
