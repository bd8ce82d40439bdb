"""RFC 8785: its vectors, agreement with two other implementations, and what is refused."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jcs
import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.canonical import MAX_DEPTH, MAX_INTEGER, NotCanonical, encode

VECTORS = Path(__file__).parents[1] / "data" / "jcs"
NAMES = sorted(path.stem for path in (VECTORS / "input").iterdir())


class Event(msgspec.Struct, frozen=True):
    org: str
    at: datetime
    targets: list[str]
    count: int = 0


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize("name", NAMES)
def test_the_vectors_of_the_rfc_have_their_published_bytes(name: str) -> None:
    value = msgspec.json.decode((VECTORS / "input" / f"{name}.json").read_bytes())
    assert encode(value) == (VECTORS / "output" / f"{name}.json").read_bytes()
    assert encode(value) == bytes.fromhex((VECTORS / "outhex" / f"{name}.txt").read_text())


@given(values)
def test_two_other_implementations_write_the_same_bytes(value: Any) -> None:
    assert encode(value) == rfc8785.dumps(value) == jcs.canonicalize(value)


def test_every_code_point_is_escaped_as_the_other_implementation_escapes_it() -> None:
    points = [chr(point) for point in range(0x110000) if not 0xD800 <= point <= 0xDFFF]
    assert encode(points) == rfc8785.dumps(points)


def test_a_struct_is_written_as_the_dictionary_of_its_fields() -> None:
    event = Event("org_1", datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC), ["user_1"])
    assert encode(event) == b'{"at":"2026-01-02T03:04:05.678000Z","count":0,"org":"org_1","targets":["user_1"]}'
    assert encode({"event": event}) == b'{"event":' + encode(event) + b"}"
    assert encode({"\U0001f600": event}) == '{"\U0001f600":'.encode() + encode(event) + b"}"


def test_keys_are_ordered_by_utf_16_units_and_not_by_code_points() -> None:
    assert encode({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'.encode()


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1e21, b"1e+21"),
        (-0.0, b"0"),
        (MAX_INTEGER, b"9007199254740991"),
        ("\u00e9", "\u00e9".encode()),
        ("e\u0301", "e\u0301".encode()),
        ({"b": 1, "a": ""}, b'{"a":"","b":1}'),
        ({"a": None}, b'{"a":null}'),
        ({}, b"{}"),
    ],
)
def test_aud_03_a_value_has_one_spelling(value: Any, written: bytes) -> None:
    """AUD-03: numbers, composed and decomposed text, key order, and empty against missing keep their one spelling."""
    assert encode(value).strip(b'"') == written
    assert encode(msgspec.json.decode(encode(value))) == encode(value)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("-inf"),
        MAX_INTEGER + 1,
        -MAX_INTEGER - 1,
        "\ud800",
        {"\udc00": 1},
        {1: "a"},
        {None: "a"},
        object(),
        [1.5, {"a": float("inf")}],
    ],
)
def test_aud_03_a_value_without_a_canonical_form_is_refused(value: Any) -> None:
    """AUD-03: 2^53 and beyond, NaN, infinities, lone surrogates and keys that are no strings are refused."""
    with pytest.raises(NotCanonical):
        encode(value)
    with pytest.raises(NotCanonical):
        encode({"event": [value]})


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_nesting_is_refused_one_level_past_its_limit() -> None:
    assert encode(nested(MAX_DEPTH)) == b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(NotCanonical):
            encode(nested(depth))
