"""How often somebody may come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.protection.rates import Rates, TooOften
from tenantry.web import Rate
from tests.stand.clock import ManualClock

THREE = Rate(burst=3, every_ms=1_000)


def come(rates: Rates, *keys: str, rate: Rate = THREE) -> bool:
    """Whether one may come under all of these keys."""
    try:
        rates.take(*((key, rate) for key in keys))
    except TooOften:
        return False
    return True


def test_a_burst_fits_and_then_one_at_a_time() -> None:
    clock = ManualClock()
    rates = Rates(clock)
    assert [come(rates, "ann") for _ in range(4)] == [True, True, True, False]
    clock.advance(999)
    assert not come(rates, "ann")
    clock.advance(1)
    assert come(rates, "ann")
    assert not come(rates, "ann")


def test_one_who_comes_too_often_is_nobody_elses_trouble() -> None:
    rates = Rates(ManualClock())
    while come(rates, "mallory"):
        pass
    assert come(rates, "ann")


def test_whoever_is_refused_under_one_key_is_counted_under_none() -> None:
    rates = Rates(ManualClock())
    for _ in range(3):
        assert come(rates, "ann", "acme")
    for _ in range(10):
        assert not come(rates, "ann", "globex")
    assert [come(rates, "bob", "globex") for _ in range(4)] == [True, True, True, False]


def test_the_refusal_says_when_it_fits() -> None:
    clock = ManualClock()
    rates = Rates(clock)
    while come(rates, "ann"):
        pass
    with pytest.raises(TooOften) as refused:
        rates.take(("ann", THREE))
    clock.advance(refused.value.retry_after_ms)
    assert come(rates, "ann")


def test_the_memory_of_who_came_is_bounded_and_forgets_the_longest_ago() -> None:
    rates = Rates(ManualClock(), kept=2)
    for key in ("ann", "ann", "ann", "bob", "cid"):
        assert come(rates, key)
    assert come(rates, "ann")
    for _ in range(2):
        assert come(rates, "cid")
    assert not come(rates, "cid")


@given(st.lists(st.integers(0, 3_000), min_size=1, max_size=60))
def test_pro_05_no_more_than_the_limit_fit_into_any_time(pauses: list[int]) -> None:
    """PRO-05: whatever the pauses, at most the burst and one for each interval fit into a time."""
    clock = ManualClock()
    rates = Rates(clock)
    admitted: list[int] = []
    now = 0
    for pause in pauses:
        clock.advance(pause)
        now += pause
        if come(rates, "mallory"):
            admitted.append(now)
    for at, first in enumerate(admitted):
        for last in range(at, len(admitted)):
            assert last - at + 1 <= THREE.burst + (admitted[last] - first) / THREE.every_ms
