"""Rotation: no relying party ever meets a signature whose key its cached JWKS lacks."""

import contextlib
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.core.errors import Conflict, NotFound
from tenantry.core.ids import PLATFORM
from tenantry.keys.rotation import (
    JWKS_CACHE_MS,
    MARGIN_MS,
    PUBLISH_AHEAD_MS,
    SIGNATURE_LIVES_MS,
    RotationUnderWay,
    active_key,
    published,
    roll_back,
    rotate,
    verification_key,
)
from tenantry.keys.signing import Algorithm, PublicKey, Purpose, SigningKey, State, Use

TOKENS = Use(Purpose.ACCESS_TOKEN, "https://id.example", PLATFORM)
CHECKPOINTS = Use(Purpose.AUDIT_CHECKPOINT, "id.example/log", PLATFORM)
TOKEN_LIFE_MS = SIGNATURE_LIVES_MS[Purpose.ACCESS_TOKEN] or 0
START_MS = 1_700_000_000_000
MINUTE_MS = 60_000


class Deployment:
    """The records of one deployment's keys, as a store would hold them, and its clock."""

    def __init__(self, use: Use = TOKENS) -> None:
        self.use = use
        self.now_ms = START_MS
        self.keys: dict[str, PublicKey] = {}

    def rotate(self, algorithm: Algorithm = Algorithm.ES256) -> PublicKey:
        plan = rotate(self.records, self.use, algorithm, self.now_ms)
        made = SigningKey.generate(f"key_{len(self.keys)}", self.use, algorithm, plan.successor).public
        self.write((made, *plan.changed))
        return made

    def roll_back(self) -> None:
        self.write(roll_back(self.records, self.use, Algorithm.ES256, self.now_ms))

    def write(self, keys: Iterable[PublicKey]) -> None:
        self.keys.update((key.id, key) for key in keys)

    @property
    def records(self) -> list[PublicKey]:
        return list(self.keys.values())

    def active(self, algorithm: Algorithm = Algorithm.ES256) -> str:
        return active_key(self.records, self.use, algorithm, self.now_ms).id

    def published(self) -> set[str]:
        return {key.id for key in published(self.records, self.use, self.now_ms)}


@pytest.fixture
def deployment() -> Deployment:
    made = Deployment()
    made.rotate()
    return made


def test_the_first_key_of_a_use_signs_at_once(deployment: Deployment) -> None:
    assert deployment.active() == "key_0"


def test_without_a_key_nothing_signs() -> None:
    with pytest.raises(NotFound):
        Deployment().active()


def test_the_first_key_of_a_second_algorithm_is_published_ahead(deployment: Deployment) -> None:
    deployment.rotate(Algorithm.RS256)
    assert deployment.published() == {"key_0", "key_1"}
    with pytest.raises(NotFound):
        deployment.active(Algorithm.RS256)
    deployment.now_ms += PUBLISH_AHEAD_MS
    assert (deployment.active(), deployment.active(Algorithm.RS256)) == ("key_0", "key_1")


def test_ops_15_a_new_key_is_published_a_whole_cache_life_before_its_first_use(deployment: Deployment) -> None:
    """OPS-15: published before first use, so that a JWKS cached for an hour has it by then."""
    deployment.rotate()
    assert deployment.published() == {"key_0", "key_1"}
    deployment.now_ms += PUBLISH_AHEAD_MS - 1
    assert PUBLISH_AHEAD_MS > JWKS_CACHE_MS
    assert deployment.active() == "key_0"
    deployment.now_ms += 1
    assert deployment.active() == "key_1"


def test_ops_15_the_old_key_stays_through_token_life_and_cache(deployment: Deployment) -> None:
    """OPS-15: what the old key signed last verifies until it has ended."""
    deployment.rotate()
    deployment.now_ms += PUBLISH_AHEAD_MS + TOKEN_LIFE_MS + JWKS_CACHE_MS
    assert deployment.published() == {"key_0", "key_1"}
    deployment.now_ms += MARGIN_MS
    assert deployment.published() == {"key_1"}


def test_ops_15_rotating_twice_in_a_minute_is_refused_and_changes_nothing(deployment: Deployment) -> None:
    """OPS-15: the second rotation is refused while the first one's key waits; once it signs, the next is planned."""
    deployment.rotate()
    before = deployment.records
    deployment.now_ms += MINUTE_MS // 2
    with pytest.raises(RotationUnderWay) as refusal:
        deployment.rotate()
    assert isinstance(refusal.value, Conflict)
    assert deployment.records == before
    deployment.now_ms += PUBLISH_AHEAD_MS
    assert deployment.rotate().state(deployment.now_ms) is State.UPCOMING


def test_ops_15_a_rotation_rolled_back_before_first_use_leaves_the_old_key_signing(deployment: Deployment) -> None:
    """OPS-15: the successor is withdrawn unused, and another rotation may follow at once."""
    deployment.rotate()
    deployment.roll_back()
    assert deployment.published() == {"key_0"}
    deployment.now_ms += PUBLISH_AHEAD_MS
    assert deployment.active() == "key_0"
    assert deployment.rotate().id == "key_2"


def test_ops_15_a_successor_that_may_have_signed_on_a_fast_clock_is_not_withdrawn(deployment: Deployment) -> None:
    """OPS-15: within the margin before first use the successor stays published."""
    deployment.rotate()
    deployment.now_ms += PUBLISH_AHEAD_MS - MARGIN_MS
    deployment.roll_back()
    assert deployment.active() == "key_0"
    assert deployment.published() == {"key_0", "key_1"}


def test_ops_15_a_rotation_rolled_back_after_first_use_keeps_both_keys_verifying(deployment: Deployment) -> None:
    """OPS-15: the predecessor signs again at once and the successor's signatures verify on."""
    deployment.rotate()
    deployment.now_ms += PUBLISH_AHEAD_MS + MINUTE_MS
    assert deployment.active() == "key_1"
    deployment.roll_back()
    assert deployment.active() == "key_0"
    assert deployment.published() == {"key_0", "key_1"}
    deployment.now_ms += TOKEN_LIFE_MS + JWKS_CACHE_MS + MARGIN_MS
    assert deployment.published() == {"key_0"}


def test_a_roll_back_does_not_return_to_a_key_that_was_itself_rolled_back(deployment: Deployment) -> None:
    deployment.rotate()
    deployment.now_ms += PUBLISH_AHEAD_MS
    deployment.roll_back()
    deployment.rotate()
    deployment.now_ms += PUBLISH_AHEAD_MS
    assert deployment.active() == "key_2"
    deployment.roll_back()
    assert deployment.active() == "key_0"


def test_a_roll_back_without_a_published_predecessor_is_refused(deployment: Deployment) -> None:
    with pytest.raises(NotFound):
        deployment.roll_back()
    deployment.rotate()
    deployment.now_ms += PUBLISH_AHEAD_MS + TOKEN_LIFE_MS + JWKS_CACHE_MS + MARGIN_MS
    with pytest.raises(NotFound):
        deployment.roll_back()


def test_a_key_whose_signatures_last_is_never_gone() -> None:
    log = Deployment(CHECKPOINTS)
    log.rotate()
    log.rotate()
    log.now_ms += 10 * 365 * 24 * 60 * MINUTE_MS
    assert log.active() == "key_1"
    assert log.published() == {"key_0", "key_1"}


def test_keys_of_another_use_are_neither_published_nor_found(deployment: Deployment) -> None:
    kid = deployment.keys["key_0"].kid()
    other = msgspec.structs.replace(TOKENS, issuer="https://id.example.org")
    assert verification_key(deployment.records, kid, TOKENS, deployment.now_ms).id == "key_0"
    assert published(deployment.records, other, deployment.now_ms) == []
    with pytest.raises(NotFound):
        verification_key(deployment.records, kid, other, deployment.now_ms)


def test_ops_15_an_unknown_kid_is_not_found_until_the_key_is_read(deployment: Deployment) -> None:
    """OPS-15: a node that missed the rotation knows no such kid, and finds it after reading the keys again."""
    missed = deployment.records
    kid = deployment.rotate().kid()
    with pytest.raises(NotFound):
        verification_key(missed, kid, TOKENS, deployment.now_ms)
    assert verification_key(deployment.records, kid, TOKENS, deployment.now_ms).id == "key_1"


steps = st.lists(
    st.one_of(
        st.sampled_from(["rotate", "roll back"]),
        st.integers(1, 4 * 60).map(lambda minutes: minutes * MINUTE_MS - 1),
        st.integers(1, 3).map(lambda quarters: quarters * 15_000),
    ),
    max_size=40,
)


@given(steps)
def test_ops_15_no_order_of_rotations_and_roll_backs_makes_a_verification_fail(history: list[str | int]) -> None:
    """OPS-15: whatever is done when, a signature verifies through its life by a JWKS cached for up to an hour."""
    deployment = Deployment()
    deployment.rotate()
    jwks = [(START_MS, deployment.published())]  # (from when, which keys)
    signed = [(START_MS, START_MS, deployment.active())]  # (from, to, by which key)
    for step in [*history, 4 * 60 * MINUTE_MS]:
        began = deployment.now_ms
        if isinstance(step, int):
            observe(deployment, step, jwks, signed)
        else:
            with contextlib.suppress(RotationUnderWay, NotFound):
                deployment.rotate() if step == "rotate" else deployment.roll_back()
        jwks.append((deployment.now_ms, deployment.published()))
        signed.append((began, deployment.now_ms, deployment.active()))
    for _, until, key in signed:
        reads = [keys for at, keys in jwks if until - JWKS_CACHE_MS <= at <= until + TOKEN_LIFE_MS]
        before = [keys for at, keys in jwks if at < until - JWKS_CACHE_MS][-1:]
        assert all(key in keys for keys in before + reads)


def observe(
    deployment: Deployment, step_ms: int, jwks: list[tuple[int, set[str]]], signed: list[tuple[int, int, str]]
) -> None:
    """Let `step_ms` pass, looking at every moment in between at which a key changes its state."""
    until = deployment.now_ms + step_ms
    moments = {
        at
        for key in deployment.records
        for at in (key.schedule.active_at_ms, key.schedule.retire_at_ms, key.schedule.gone_at_ms)
        if at is not None and deployment.now_ms < at <= until
    }
    for moment in sorted(moments | {moment - 1 for moment in moments if moment - 1 > deployment.now_ms} | {until}):
        deployment.now_ms = moment
        jwks.append((moment, deployment.published()))
        signed.append((moment, moment, deployment.active()))
