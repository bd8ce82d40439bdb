"""From bytes to types, strictly: one spelling of JSON (RFC 8259 within RFC 7493), no field twice, none unknown where the type says so.

Everything is bounded before it is built: the edge caps the bytes, this file the depth, the numbers and the count of fields.
"""

import functools
import json
import math
import re
from typing import Any, Never
from urllib.parse import parse_qsl

import msgspec

from tenantry.core.canonical import MAX_INTEGER
from tenantry.core.errors import Invalid, NotFound, TooLarge
from tenantry.web.refusals import Malformed, TokenInUrl, WrongMedia
from tenantry.web.route import Dialect, Media, Route

_TOKEN = re.compile(rb"(?:^|&)(?:access_token|refresh_token|client_secret|client_assertion|password|api_key)=")

# A string that never ends is taken whole, and possessively: no input makes this look at a byte twice.
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)


def path_values(route: Route, values: list[str]) -> dict[str, Any]:
    """The parameters of the path in their types.

    Raises:
        NotFound: one is not of its type, as for a thing that never existed.
    """
    try:
        return {
            name: msgspec.convert(value, kind, strict=False)
            for (name, kind), value in zip(route.parameters.items(), values, strict=True)
        }
    except msgspec.ValidationError as error:
        raise NotFound from error


def refuse_credentials(query: bytes) -> None:
    """Whoever sent a credential in the address is told, whether or not it would have been admitted: it stands in logs now.

    Raises:
        TokenInUrl: the query holds one (RFC 6750, 5.3).
    """
    if _TOKEN.search(query):
        raise TokenInUrl


def query_values(route: Route, query: bytes) -> msgspec.Struct | None:
    """The query in its type.

    Raises:
        Malformed: it cannot be read, or gives a parameter twice.
        Invalid: the route takes none, a value is not of its type, one is missing or unknown.
    """
    if route.query is None:
        # Beside a form a query could say a thing a second time, and who reads both might take the other.
        if query and (route.dialect is Dialect.PROBLEM or route.media is Media.FORM):
            raise Invalid("This address takes no query.")
        return None
    return _from_pairs(route.query, query, route)


def body_value(route: Route, content_type: str, body: bytes) -> msgspec.Struct | None:
    """The body in its type.

    Raises:
        WrongMedia: its content type is not one that the route takes.
        Malformed: it cannot be read, or gives a field twice.
        TooLarge: it nests too deeply, or a number or the count of its fields passes the limit.
        Invalid: the route takes none, a value is not of its type, one is missing or unknown.
    """
    if route.body is None:
        if body:
            raise Invalid("This address takes no body.")
        return None
    if _media(content_type) not in route.media.value:
        raise WrongMedia(f"The body must be {' or '.join(route.media.value)}.")
    if route.media is Media.FORM:
        return _from_pairs(route.body, body, route)
    _check_depth(body, route.limits.depth)
    _check_once(body)
    try:
        return msgspec.json.decode(body, type=route.body)
    except msgspec.ValidationError as error:
        raise Invalid(f"{error}.", hint="See /openapi.json for what is expected.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed("The body is no JSON.") from error


def _media(content_type: str) -> str:
    """The media type; the only parameter taken is a charset of UTF-8."""
    kind, _, parameter = content_type.lower().partition(";")
    known = parameter.strip() in ("", "charset=utf-8", 'charset="utf-8"')
    return kind.strip() if known else ""


def _from_pairs(kind: type[msgspec.Struct], encoded: bytes, route: Route) -> msgspec.Struct:
    """A query or form in its type. A parameter may come twice only where its type is a list; unknown ones are ignored where that is so."""
    try:
        pairs = parse_qsl(
            encoded.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=route.limits.fields
        )
    except UnicodeDecodeError as error:
        raise Malformed("The parameters are no UTF-8.") from error
    except ValueError as error:
        raise TooLarge(f"There may be at most {route.limits.fields} parameters.") from error
    several = _several(kind)
    given: dict[str, Any] = {}
    seen: dict[str, str] = {}
    for name, value in pairs:
        alike = _alike(name)
        if alike in seen and not (seen[alike] == name and several.get(name)):
            raise Malformed("A parameter is given twice.")
        seen[alike] = name
        if name not in several and not kind.__struct_config__.forbid_unknown_fields:
            continue
        if several.get(name):
            given.setdefault(name, []).append(value)
        elif value or route.dialect is not Dialect.OAUTH:  # RFC 6749, 3.1: one without a value is omitted
            given[name] = value
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(f"{error}.", hint="See /openapi.json for what is expected.") from error


def _alike(name: str) -> str:
    """One spelling for the names that some reader takes for the same: in another case, or with the brackets of a list."""
    return name.lower().removesuffix("[]")


@functools.cache
def _several(kind: type[msgspec.Struct]) -> dict[str, bool]:
    """The fields of a type, and whether each may have several values."""
    lists = (msgspec.inspect.ListType, msgspec.inspect.VarTupleType)
    fields = msgspec.structs.fields(kind)
    return {field.encode_name: isinstance(msgspec.inspect.type_info(field.type), lists) for field in fields}


def _check_depth(body: bytes, most: int) -> None:
    """Refuse what nests deeper, before anything is built of it."""
    if body.count(b"{") + body.count(b"[") <= most:
        return
    depth = 0
    for token in _TOKENS.finditer(body):
        if token[0] in b"[{":
            depth += 1
            if depth > most:
                raise TooLarge(f"The body nests deeper than {most}.")
        elif token[0] in b"]}":
            depth -= 1


def _check_once(body: bytes) -> None:
    """Refuse a name that stands twice in one object, of which another reader might take the other, and numbers beyond I-JSON."""
    try:
        _SCANNER.decode(body.decode())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Malformed("The body is no JSON.") from error


def _once(pairs: list[tuple[str, None]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise Malformed("The body gives a field twice.")


def _integer(text: str) -> None:
    if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
        raise TooLarge("A number of the body is larger than 2^53 - 1.")


def _real(text: str) -> None:
    if not math.isfinite(float(text)):
        raise TooLarge("A number of the body is too large.")


def _constant(text: str) -> Never:
    raise Malformed(f"{text} is no JSON.")


_SCANNER = json.JSONDecoder(object_pairs_hook=_once, parse_int=_integer, parse_float=_real, parse_constant=_constant)
