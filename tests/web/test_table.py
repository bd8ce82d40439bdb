"""A table refuses a route that is not declared whole, and finds the one that a request means."""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pytest

from tenantry.core.errors import Misuse, NotFound
from tenantry.web import PUBLIC, Call, Dialect, Permission, Route, Table, route
from tenantry.web.decoding import path_values
from tenantry.web.refusals import NotAllowed

READ = Permission("thing.read", writes=False)
WRITE = Permission("thing.write", writes=True)


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """Takes nothing unknown."""

    name: str = ""


class Lax(msgspec.Struct):
    """Takes anything."""

    name: str = ""


async def things(call: Call) -> list[int]:
    """All things."""
    return []


async def thing(call: Call, thing_id: str) -> int:
    """One thing."""
    return 1


async def make(call: Call, body: Strict) -> int:
    """Make a thing."""
    return 1


async def make_lax(call: Call, body: Lax) -> int:
    """Make a thing of anything."""
    return 1


async def remove(call: Call) -> None:
    """Remove all things."""


def declared(method: str, path: str, permission: Any, run: Callable[..., Any], **given: Any) -> Route:
    return route(method, path, permission, **given)(run)


def test_what_is_declared_whole_is_taken() -> None:
    table = Table(
        [
            declared("GET", "/things", READ, things),
            declared("POST", "/things", WRITE, make),
            declared("DELETE", "/things", WRITE, remove, status=204),
            declared("GET", "/things/{thing_id}", PUBLIC, thing),
        ]
    )
    assert [one.name for one in table] == ["things", "make", "remove", "thing"]


@pytest.mark.parametrize(
    ("method", "path", "permission", "run", "given", "why"),
    [
        ("GET", "/things", None, things, {}, "no permission"),
        ("GET", "/things", "thing.read", things, {}, "no permission"),
        ("GET", "/things", Permission("", writes=False), things, {}, "no permission"),
        ("POST", "/things", READ, make, {}, "writes under the reading permission"),
        ("POST", "/things", PUBLIC, make, {}, "writes under the reading permission"),
        ("DELETE", "/things", READ, remove, {"status": 204}, "writes under the reading permission"),
        ("GET", "/things", WRITE, things, {}, "reads under the writing permission"),
        ("POST", "/things", WRITE, make, {"asks": True}, "reads under the writing permission"),
        (
            "GET",
            "/things",
            Permission("can_see", writes=False, on="thing"),
            things,
            {},
            "on a thing, and its path names none",
        ),
        ("PUT", "/things", READ, make, {"asks": True}, "only a POST"),
        ("GET", "/things", READ, make, {}, "GET has none"),
        ("POST", "/things", WRITE, make_lax, {}, "unknown fields"),
        ("DELETE", "/things", WRITE, remove, {}, "204"),
        ("GET", "/things", READ, things, {"status": 204}, "204"),
        ("TRACE", "/things", READ, things, {}, "no method"),
        ("GET", "things", READ, things, {}, "no method"),
        ("GET", "/things/", READ, things, {}, "no method"),
    ],
)
def test_what_is_not_declared_whole_is_refused(
    method: str, path: str, permission: Any, run: Callable[..., Any], given: dict[str, Any], why: str
) -> None:
    with pytest.raises(Misuse, match=why):
        Table([declared(method, path, permission, run, **given)])


def test_where_the_path_is_not_ours_a_header_names_what_the_permission_is_asked_on() -> None:
    named = Permission("can_see", writes=False, on="thing", header="Tenantry-Thing")
    (asked,) = Table([declared("GET", "/things", named, things)])
    assert asked.permission.header == "Tenantry-Thing"


def test_a_question_too_large_for_a_query_is_a_post_that_reads() -> None:
    (asked,) = Table([declared("POST", "/things/find", READ, make, asks=True)])
    assert not asked.writes


def test_oauth_and_scim_may_take_what_they_do_not_know() -> None:
    for dialect in (Dialect.OAUTH, Dialect.SCIM):
        Table([declared("POST", "/things", WRITE, make_lax, dialect=dialect)])


def test_a_function_that_says_too_little_is_no_route() -> None:
    async def silent(call: Call) -> int:
        return 1

    async def untyped(call: Call, thing_id: str) -> int:
        """One."""
        return 1

    del untyped.__annotations__["thing_id"]

    async def callless(thing_id: str) -> int:
        """One."""
        return 1

    with pytest.raises(Misuse, match="says what it does"):
        declared("GET", "/things", READ, silent)
    with pytest.raises(Misuse, match="no type"):
        declared("GET", "/things/{thing_id}", READ, untyped)
    with pytest.raises(Misuse, match="first parameter"):
        declared("GET", "/things/{thing_id}", READ, callless)
    with pytest.raises(Misuse, match="other parameters"):
        declared("GET", "/things/{other}", READ, thing)


def test_two_routes_of_one_address_or_one_name_are_refused() -> None:
    one = declared("GET", "/things/{thing_id}", READ, thing)

    async def other(call: Call, key: str) -> int:
        """Another."""
        return 2

    with pytest.raises(Misuse, match="Two routes answer"):
        Table([one, declared("GET", "/things/{key}", READ, other)])
    with pytest.raises(Misuse, match="are called"):
        Table([one, declared("GET", "/others/{thing_id}", READ, thing)])


async def mine(call: Call) -> int:
    """Mine."""
    return 0


async def parts(call: Call, thing_id: str) -> int:
    """The parts of one."""
    return 0


TABLE = Table(
    [
        declared("GET", "/things", READ, things),
        declared("GET", "/things/mine", READ, mine),
        declared("GET", "/things/{thing_id}", READ, thing),
        declared("GET", "/things/{thing_id}/parts", READ, parts),
        declared("POST", "/things", WRITE, make),
    ]
)


@pytest.mark.parametrize(
    ("path", "name", "values"),
    [
        (b"/things", "things", []),
        (b"/things/mine", "mine", []),
        (b"/things/a", "thing", ["a"]),
        (b"/things/mine/parts", "parts", ["mine"]),
        (b"/things/a%2Fparts", "thing", ["a/parts"]),
        (b"/things/%252F", "thing", ["%2F"]),
        (b"/things/a;x=y", "thing", ["a;x=y"]),
    ],
)
def test_a_path_leads_to_its_route_with_its_values_decoded_once(path: bytes, name: str, values: list[str]) -> None:
    found, given = TABLE.find("GET", path)
    assert (found.name, given) == (name, values)


@pytest.mark.parametrize("path", [b"/", b"", b"/things/", b"//things", b"/things//parts", b"/Things", b"/things/%FF"])
def test_another_path_leads_nowhere(path: bytes) -> None:
    with pytest.raises(NotFound):
        TABLE.find("GET", path)


def test_a_method_that_a_path_does_not_take_is_refused_with_those_it_does() -> None:
    assert TABLE.find("HEAD", b"/things")[0].name == "things"
    with pytest.raises(NotAllowed) as refused:
        TABLE.find("DELETE", b"/things")
    assert refused.value.allowed == ("GET", "POST")


def test_a_parameter_that_is_not_of_its_type_is_an_unknown_thing() -> None:
    async def numbered(call: Call, number: Annotated[int, msgspec.Meta(ge=0)]) -> int:
        """One by its number."""
        return number

    one = declared("GET", "/numbers/{number}", READ, numbered)
    assert path_values(one, ["7"]) == {"number": 7}
    for text in ("x", "-1", "7.5", ""):
        with pytest.raises(NotFound):
            path_values(one, [text])
