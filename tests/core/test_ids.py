"""Ids have one spelling, sort by time, and are valid ULIDs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.errors import NotFound
from tenantry.core.ids import ALPHABET, PLATFORM, PREFIXES, IdSource, is_ulid, parse, ulid
from tests.stand.clock import ManualClock

PARTS = st.text(ALPHABET, min_size=25, max_size=25)


@given(st.sampled_from(sorted(PREFIXES)), st.sampled_from("01234567"), PARTS)
def test_an_id_in_its_one_spelling_is_itself(prefix: str, first: str, rest: str) -> None:
    assert parse(prefix, f"{prefix}_{first}{rest}") == f"{prefix}_{first}{rest}"


@given(st.sampled_from(sorted(PREFIXES)), st.text(max_size=40))
def test_any_other_text_is_an_unknown_id(prefix: str, text: str) -> None:
    if text.startswith(f"{prefix}_") and is_ulid(text.removeprefix(f"{prefix}_")):
        return
    with pytest.raises(NotFound):
        parse(prefix, text)


@pytest.mark.parametrize(
    "spelling",
    [
        "user_01jdnq3w4rz0h6v8xk5t2c7m9e",
        "USER_01JDNQ3W4RZ0H6V8XK5T2C7M9E",
        "user_O1JDNQ3W4RZ0H6V8XK5T2C7M9E",
        "user_81JDNQ3W4RZ0H6V8XK5T2C7M9E",
        "user_01JDNQ3W4RZ0H6V8XK5T2C7M9E\n",
        " user_01JDNQ3W4RZ0H6V8XK5T2C7M9E",
        "user_01JDNQ3W4RZ0H6V8XK5T2C7M9",
        "user__01JDNQ3W4RZ0H6V8XK5T2C7M9E",
        "user_01JDNQ3W4RZ0H6V8XK5T2C7M9\u0665",
        "org_01JDNQ3W4RZ0H6V8XK5T2C7M9E",
        "01JDNQ3W4RZ0H6V8XK5T2C7M9E",
        "",
    ],
)
def test_another_spelling_is_no_second_name(spelling: str) -> None:
    assert parse("user", "user_01JDNQ3W4RZ0H6V8XK5T2C7M9E") == "user_01JDNQ3W4RZ0H6V8XK5T2C7M9E"
    with pytest.raises(NotFound):
        parse("user", spelling)


@given(st.lists(st.integers(min_value=-2, max_value=3), min_size=2, max_size=50))
def test_ids_increase_whatever_the_clock_does(steps_ms: list[int]) -> None:
    clock = ManualClock()
    ids, made = IdSource(clock), []
    for step in steps_ms:
        clock.advance(step)
        made.append(ids.new("user"))
    assert made == sorted(set(made))


def value_of(identifier: str) -> int:
    """The 128 bits behind an id, read as Crockford base32."""
    value = 0
    for character in ulid(identifier):
        value = value << 5 | ALPHABET.index(character)
    return value


def test_a_millisecond_holds_more_ids_than_its_counter() -> None:
    clock = ManualClock()
    ids = IdSource(clock)
    made = [ids.new("user") for _ in range(10_000)]
    assert made == sorted(set(made))
    assert value_of(made[-1]) >> 80 <= clock.now_ms() + 3


def test_an_id_is_a_uuid_version_7_and_says_when_it_was_made() -> None:
    clock = ManualClock()
    made = IdSource(clock).new("user")
    value = value_of(made)
    assert (value >> 76 & 0xF, value >> 62 & 0b11, value >> 80) == (7, 0b10, clock.now_ms())
    assert is_ulid(ulid(made))


def test_an_unknown_type_is_not_made() -> None:
    with pytest.raises(ValueError, match="no type of id"):
        IdSource(ManualClock()).new("tenant")


def test_the_platform_is_an_organization_with_an_id_that_is_never_made() -> None:
    assert parse("org", PLATFORM) == "org_" + "0" * 26
