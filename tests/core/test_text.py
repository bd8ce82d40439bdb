"""Text from outside: what an event keeps of it, and what a console shows."""

import hashlib
import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core import canonical
from tenantry.core.limits import TEXT_MAX_CHARACTERS
from tenantry.core.text import Excerpt, display, outside, outside_json

HOSTILE = {
    "carriage return": "a\rb",
    "line feed": "a\nb",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "next line": "a\x85b",
    "terminal colour": "\x1b[31mred",
    "nul": "a\0b",
    "right to left override": "user\u202egnp.exe",
    "a lone surrogate": "a\ud800b",
    "invalid UTF-8": b"a\xff\xfeb",
    "ten megabytes": "x" * 10_000_000,
}


@pytest.mark.parametrize(
    "value", ["Zoë Ångström", "a|b=c", "<134>1 x", "=1+1", "👩\u200d🔬", "", "é" * TEXT_MAX_CHARACTERS]
)
def test_a_clean_short_text_is_kept_as_it_is(value: str) -> None:
    assert outside(value) == outside(value.encode()) == value
    assert display(value) == value


@pytest.mark.parametrize("name", HOSTILE)
def test_aud_10_a_hostile_text_is_stored_escaped_bounded_and_with_a_digest(name: str) -> None:
    """AUD-10: what is not clean, or too long, becomes an excerpt that says so; one line however lines are split."""
    value = HOSTILE[name]
    kept = outside(value)
    assert isinstance(kept, Excerpt)
    data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    assert (kept.bytes, kept.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert len(kept.excerpt) <= TEXT_MAX_CHARACTERS
    stored = canonical.encode({"reason": kept}).decode()
    assert len(stored.splitlines()) == 1
    assert stored.isprintable()


@given(st.text(max_size=50) | st.binary(max_size=50))
def test_aud_10_whatever_is_kept_shows_as_one_printable_line(value: str | bytes) -> None:
    """AUD-10: of any text, the stored form has no control character and the console shows text."""
    kept = outside(value)
    text = kept.excerpt if isinstance(kept, Excerpt) else kept
    assert not any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in text)
    assert display(text) == text


@pytest.mark.parametrize(
    "value",
    [
        {str(n): n for n in range(100_000)},
        "x" * 10_000_000,
        {"n": 2**53 + 1},
        {"n": float("nan")},
        {"text": "a\u2028b"},
        {"text": "\ud800"},
    ],
    ids=[
        "a hundred thousand keys",
        "ten megabytes",
        "a large integer",
        "not a number",
        "a line separator",
        "a surrogate",
    ],
)
def test_aud_10_hostile_arguments_of_a_tool_are_bounded_and_never_fail_the_write(value: object) -> None:
    """AUD-10: 10^5 keys, 10 MB, numbers without a canonical form: an excerpt of their JSON, with length and digest."""
    kept = outside_json(value)
    assert isinstance(kept, Excerpt)
    assert len(canonical.encode(kept)) < 8 * TEXT_MAX_CHARACTERS


def test_short_clean_arguments_keep_their_structure() -> None:
    value = {"path": "/invoices", "limit": 10, "tags": ["a", None, True]}
    assert outside_json(value) == value
    assert msgspec.json.decode(canonical.encode(value)) == value
