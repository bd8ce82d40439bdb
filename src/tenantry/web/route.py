"""A route, declared whole: method, path with typed parameters, permission, body, query, answer, limits, dialect of its errors.

    @route("POST", "/v1/users/{user_id}/deactivate", USER_DEACTIVATE)
    async def deactivate_user(call: Call, user_id: UserId) -> User:
        "End a user's access to this organization."

The types are the function's own: its first parameter is the `Call`, `query` and `body` are structs, every other one is a
parameter of the path, and what it returns is the answer. The first line of its docstring is the operation's summary.
"""

import enum
import inspect
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, get_type_hints

import msgspec

from tenantry.core.errors import Misuse
from tenantry.web.call import Call

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PARAMETER = re.compile(r"\{([a-z][a-z0-9_]*)\}")


class Permission(msgspec.Struct, frozen=True):
    """What a caller must be allowed to: a relation of the system model."""

    name: str
    writes: bool
    """It changes something, so no route that reads may ask for it."""

    on: str = "organization"
    """The type of the object it is asked on: the organization that the call is about, or what the path names as `{type_id}`."""

    header: str = ""
    """The header that names the object instead, where a standard fixes the path. `Call.on` says which it was."""


PUBLIC = Permission("public", writes=False)
"""Anybody may, without proving anything. Said at the route, never meant by silence."""

CLIENT = Permission("client", writes=True)
"""Whoever the operation itself authenticates from what it is sent: a client at an endpoint of OAuth."""

INSIDE = Permission("inside", writes=False)
"""Whoever reaches a listener that is for operators alone; on any other the route does not exist."""


class Dialect(enum.Enum):
    """How a route says its errors."""

    PROBLEM = "problem"
    """RFC 9457."""

    OAUTH = "oauth"
    """RFC 6749, 5.2."""

    SCIM = "scim"
    """RFC 7644, 3.12."""

    AUTHZEN = "authzen"
    """A sentence, as a JSON string (AuthZEN Authorization API 1.0)."""

    OPENFGA = "openfga"
    """A code by OpenFGA's name, and a message."""


class Media(enum.Enum):
    """How a body is written."""

    JSON = ("application/json",)
    SCIM = ("application/scim+json", "application/json")
    FORM = ("application/x-www-form-urlencoded",)


class Rate(msgspec.Struct, frozen=True):
    """`burst` at once, and then one each `every_ms`."""

    burst: int
    every_ms: float


class Limits(msgspec.Struct, frozen=True):
    """What a request to a route may cost before its handler runs."""

    body_bytes: int = 65_536
    depth: int = 32
    """How deep arrays and objects of the body may nest."""

    body_s: float = 10.0
    """How long the whole body may take to arrive."""

    fields: int = 64
    """How many parameters a query or form may have."""

    rate: Rate | None = None
    """How often one caller may come, for what costs or bothers somebody."""

    urgent: bool = False
    """Answered although the node is full: whether it lives, and what ends access."""


class Raw(msgspec.Struct, frozen=True):
    """An answer that is no JSON."""

    body: bytes
    media: str


class Stream(msgspec.Struct, frozen=True, eq=False):
    """An answer that is sent as it comes, until it ends, the client goes, or the server stops."""

    pieces: AsyncGenerator[bytes, None]
    media: str


class Route(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """One operation. Made by `route`; a `Table` refuses those that are incomplete."""

    method: str
    path: str
    permission: Permission
    run: Callable[..., Awaitable[Any]]
    name: str
    meaning: str
    parameters: dict[str, Any]
    """The type of each parameter of the path, in its order."""

    query: type[msgspec.Struct] | None
    body: type[msgspec.Struct] | None
    answer: Any
    """A type that msgspec encodes, `Raw`, `Stream`, or `None` for no content."""

    asks: bool
    """A POST that changes nothing: its question is too large for a query."""

    status: int
    media: Media
    limits: Limits
    dialect: Dialect

    @property
    def writes(self) -> bool:
        """Whether its method is one that changes something."""
        return self.method != "GET" and not self.asks


def route(
    method: str,
    path: str,
    permission: Permission,
    *,
    asks: bool = False,
    status: int = 200,
    media: Media = Media.JSON,
    limits: Limits = Limits(),  # noqa: B008 - it is frozen
    dialect: Dialect = Dialect.PROBLEM,
) -> Callable[[Callable[..., Awaitable[Any]]], Route]:
    """Declare the function below as an operation.

    Raises:
        Misuse: its parameters are not those of the path, or it says nothing about itself, its answer or a parameter.
    """

    def declare(run: Callable[..., Awaitable[Any]]) -> Route:
        name = getattr(run, "__name__", "")
        hints = get_type_hints(run, include_extras=True)
        given = list(inspect.signature(run).parameters)
        named = [one for one in given[1:] if one not in ("query", "body")]
        if not given or hints.get(given[0]) is not Call:
            raise Misuse(f"{name}: the first parameter of a route is its Call.")
        if sorted(named) != sorted(_PARAMETER.findall(path)):
            raise Misuse(f"{name}: {path} and the function name other parameters.")
        if untyped := [one for one in (*given, "return") if one not in hints]:
            raise Misuse(f"{name}: no type for {', '.join(untyped)}.")
        meaning = inspect.getdoc(run)
        if not meaning:
            raise Misuse(f"{name}: a route says what it does.")
        return Route(
            method=method,
            path=path,
            permission=permission,
            run=run,
            name=name,
            meaning=meaning,
            parameters={one: hints[one] for one in _PARAMETER.findall(path)},
            query=hints.get("query"),
            body=hints.get("body"),
            answer=None if hints["return"] is type(None) else hints["return"],
            asks=asks,
            status=status,
            media=media,
            limits=limits,
            dialect=dialect,
        )

    return declare
