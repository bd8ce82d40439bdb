"""Numbers that depend on each other, the bounds of a principal, and the clock."""

import pytest

from tenantry.core import limits
from tenantry.core.clock import SystemClock, iso
from tenantry.core.errors import Invalid
from tenantry.core.ids import PLATFORM
from tenantry.core.principal import Lineage, Principal


def test_a_leaf_fits_its_tile_with_its_revision() -> None:
    assert limits.EVENT_MAX_BYTES + limits.REVISION_BYTES == limits.LEAF_MAX_BYTES == 2**16 - 1


def test_a_node_looks_several_times_within_its_lease_and_both_within_a_second() -> None:
    assert 4 * limits.POLL_MS < limits.LEASE_MS < 1_000 - limits.POLL_MS
    assert 2 * limits.CHECKPOINT_EVERY_MS <= 1_000


def test_a_chain_of_actors_and_a_path_are_bounded() -> None:
    Principal("agent_1", PLATFORM, None, ("user_1",) * limits.ACT_DEPTH)
    with pytest.raises(Invalid):
        Principal("agent_1", PLATFORM, None, ("user_1",) * (limits.ACT_DEPTH + 1))
    Lineage(1, ("run_1",) * (limits.PATH_MAX_IDS - 1), 0, ("account_1",))
    with pytest.raises(Invalid):
        Lineage(1, ("run_1",) * limits.PATH_MAX_IDS, 0, ("account_1",))


def test_the_actor_comes_first_in_its_chain() -> None:
    assert Principal("agent_1", PLATFORM, None, ("user_1",)).chain() == ("agent_1", "user_1")


@pytest.mark.parametrize(
    ("at_ms", "spelling"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (951_827_696_789, "2000-02-29T12:34:56.789Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_has_one_spelling(at_ms: int, spelling: str) -> None:
    assert iso(at_ms) == spelling


def test_the_boot_clock_never_goes_back() -> None:
    clock = SystemClock()
    seen = [clock.boottime() for _ in range(100)]
    assert seen == sorted(seen)
