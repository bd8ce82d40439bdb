"""The table of routes: refuses a route that is not declared whole, and finds the one that a request means.

A path is compared segment by segment, each decoded by itself: an encoded slash is part of a value, and nothing is normalised (no dots,
no doubled or trailing slashes), so that a proxy in front and this server never mean different routes by one address.
"""

import re
from collections.abc import Iterable, Iterator
from typing import get_origin
from urllib.parse import unquote_to_bytes

import msgspec

from tenantry.core.errors import Misuse, NotFound
from tenantry.web.refusals import NotAllowed
from tenantry.web.route import METHODS, Dialect, Permission, Raw, Route, Stream

_PATH = re.compile(r"(/([A-Za-z0-9._~:-]+|\{[a-z][a-z0-9_]*\}))+")


class _Branch:
    """What may follow a beginning of a path."""

    __slots__ = ("any", "named", "routes")

    def __init__(self) -> None:
        self.named: dict[str, _Branch] = {}
        self.any: _Branch | None = None
        self.routes: dict[str, Route] = {}


class Table:
    """All routes of a server. Immutable once made."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Take the routes.

        Raises:
            Misuse: one is not declared whole, or two have one method and one path, or one name.
        """
        self._root = _Branch()
        self._routes = tuple(routes)
        names: set[str] = set()
        for route in self._routes:
            _complete(route)
            if route.name in names:
                raise Misuse(f"Two routes are called {route.name}.")
            names.add(route.name)
            self._add(route)

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def find(self, method: str, raw_path: bytes) -> tuple[Route, list[str]]:
        """The route of a request, and the values of its parameters, decoded but not yet typed. HEAD finds what GET does.

        Raises:
            NotAllowed: the path has routes, for other methods only.
            NotFound: no route has this path.
        """
        try:
            segments = [unquote_to_bytes(segment).decode() for segment in raw_path.split(b"/")[1:]]
        except UnicodeDecodeError as error:
            raise NotFound from error
        values: list[str] = []
        branch = _follow(self._root, segments, 0, values)
        if branch is None:
            raise NotFound
        route = branch.routes.get("GET" if method == "HEAD" else method)
        if route is None:
            raise NotAllowed(tuple(branch.routes))
        return route, values

    def _add(self, route: Route) -> None:
        branch = self._root
        for segment in route.path.split("/")[1:]:
            if segment.startswith("{"):
                branch.any = branch.any or _Branch()
                branch = branch.any
            else:
                branch = branch.named.setdefault(segment, _Branch())
        if route.method in branch.routes:
            raise Misuse(f"Two routes answer {route.method} {route.path}.")
        branch.routes[route.method] = route


def _follow(branch: _Branch, segments: list[str], at: int, values: list[str]) -> _Branch | None:
    """Where the segments lead: a name before a parameter, and back to the parameter where the name leads nowhere."""
    if at == len(segments):
        return branch if branch.routes else None
    segment = segments[at]
    named = branch.named.get(segment)
    if named is not None and (found := _follow(named, segments, at + 1, values)) is not None:
        return found
    if branch.any is None or not segment:
        return None
    values.append(segment)
    if (found := _follow(branch.any, segments, at + 1, values)) is None:
        values.pop()
    return found


def _complete(route: Route) -> None:
    """Refuse a route that is not declared whole."""
    called = f"{route.method} {route.path}"
    if not isinstance(route.permission, Permission) or not route.permission.name:
        raise Misuse(f"{called} asks for no permission.")
    if route.method not in METHODS or not _PATH.fullmatch(route.path):
        raise Misuse(f"{called} is no method and path of ours.")
    if route.asks and route.method != "POST":
        raise Misuse(f"{called}: only a POST can be a question too large for a query.")
    if route.writes and not route.permission.writes:
        raise Misuse(f"{called} writes under the reading permission {route.permission.name}.")
    if route.permission.writes and not route.writes:
        raise Misuse(f"{called} reads under the writing permission {route.permission.name}.")
    if route.body is not None and route.method == "GET":
        raise Misuse(f"{called} takes a body, and GET has none.")
    if (route.answer is None) != (route.status == 204):
        raise Misuse(f"{called}: 204 is the status of no content, and of nothing else.")
    for kind in (route.query, route.body):
        if kind is not None:
            _strict(called, kind, route.dialect)
    named = (*route.parameters, "organization_id")
    if not route.permission.header and f"{route.permission.on}_id" not in named:
        raise Misuse(f"{called} asks for {route.permission.name} on a {route.permission.on}, and its path names none.")
    if route.answer not in (None, Raw, Stream) and get_origin(route.answer) is None:
        msgspec.json.schema(route.answer)


def _strict(called: str, kind: type[msgspec.Struct], dialect: Dialect) -> None:
    """OAuth (RFC 6749, 3.1) and SCIM ignore what they do not know; our own interface refuses it."""
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        raise Misuse(f"{called}: {kind} is no struct.")
    if dialect is Dialect.PROBLEM and not kind.__struct_config__.forbid_unknown_fields:
        raise Misuse(f"{called}: {kind.__name__} takes unknown fields.")
