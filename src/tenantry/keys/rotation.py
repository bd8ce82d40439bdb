"""When a signing key is published, signs, and goes away: pure rules over the records of keys.

A **line** is the keys of one `Use` and one algorithm; one of them signs at a time. A new key is published
`PUBLISH_AHEAD_MS` before its first signature, so that every relying party's cached JWKS has it by then; the old one
stays until what it signed has ended and those caches are over. Signatures that last (checkpoints, receipts) are
verified for ever: such a key stops signing, but stays.

Callers pass only keys that were not cut: a compromised key neither verifies nor can be rolled back to.
"""

from collections.abc import Iterable, Sequence

import msgspec

from tenantry.core.errors import Conflict, NotFound
from tenantry.core.limits import CLOCK_SKEW_MS
from tenantry.keys.signing import Algorithm, PublicKey, Purpose, Schedule, State, Use

JWKS_CACHE_MS = 60 * 60_000
"""How long a relying party may keep a JWKS: the `max-age` it is served with."""

MARGIN_MS = 12 * CLOCK_SKEW_MS
"""Signer's, publisher's and verifier's clocks that differ, a slow answer, a node that has yet to hear."""

PUBLISH_AHEAD_MS = JWKS_CACHE_MS + MARGIN_MS

SIGNATURE_LIVES_MS: dict[Purpose, int | None] = {
    Purpose.ACCESS_TOKEN: 60 * 60_000,  # the longest-lived: a service's, where its resource follows the feed
    Purpose.AUDIT_CHECKPOINT: None,
    Purpose.RECEIPT: None,
}
"""How long what a key of this purpose signed can be valid; None: for ever."""


class RotationUnderWay(Conflict):
    """A key of this line is published and waits for its first use."""

    code = "rotation_under_way"


class Rotation(msgspec.Struct, frozen=True):
    """The plan of a key to be made, and the keys whose plans changed: written together or not at all."""

    successor: Schedule
    changed: tuple[PublicKey, ...]


def published(keys: Iterable[PublicKey], use: Use, now_ms: int) -> list[PublicKey]:
    """The keys of `use` that belong into its JWKS: whatever signs, will sign, or signed what may still be valid."""
    return [key for key in keys if key.use == use and key.state(now_ms) is not State.RETIRED]


def active_key(keys: Iterable[PublicKey], use: Use, algorithm: Algorithm, now_ms: int) -> PublicKey:
    """The key of this line that signs now.

    Raises:
        NotFound: none does.
    """
    active = [key for key in _line(keys, use, algorithm) if key.state(now_ms) is State.ACTIVE]
    if not active:
        raise NotFound(f"No {algorithm} key signs {use.purpose} for {use.issuer}.")
    return max(active, key=lambda key: (key.schedule.active_at_ms, key.id))


def verification_key(keys: Iterable[PublicKey], kid: str, use: Use, now_ms: int) -> PublicKey:
    """The published key of `use` with this `kid`. Who holds a copy of the keys re-reads them once on `NotFound`.

    Raises:
        NotFound: no such key is published.
    """
    for key in published(keys, use, now_ms):
        if key.kid() == kid:
            return key
    raise NotFound(f"No published key of {use.issuer} has this kid.")


def rotate(keys: Sequence[PublicKey], use: Use, algorithm: Algorithm, now_ms: int) -> Rotation:
    """Plan the next key of a line; the present one signs until the next one does.

    The first key of a use is active at once: nobody holds a JWKS without it. The first one of a second algorithm is
    published ahead.

    Raises:
        RotationUnderWay: the line's next key is not in use yet. Wait, or `roll_back`.
    """
    line = _line(keys, use, algorithm)
    waiting = [key for key in line if key.state(now_ms) is State.UPCOMING]
    if waiting:
        raise RotationUnderWay(
            f"Key {waiting[0].id} is published and signs from {waiting[0].schedule.active_at_ms} on.",
            hint="Wait until it does, or roll it back.",
        )
    ahead_ms = PUBLISH_AHEAD_MS if published(keys, use, now_ms) else 0
    successor = Schedule(published_at_ms=now_ms, active_at_ms=now_ms + ahead_ms)
    active = (key for key in line if key.state(now_ms) is State.ACTIVE)
    return Rotation(successor, tuple(_retired(key, successor.active_at_ms) for key in active))


def bring_forward(keys: Sequence[PublicKey], use: Use, algorithm: Algorithm, now_ms: int) -> PublicKey | None:
    """The line's waiting key, signing from now on; None if none waits.

    For a line of which nothing signs, its active key cut: better than a new key, since some relying parties hold it already.
    """
    waiting = [key for key in _line(keys, use, algorithm) if key.state(now_ms) is State.UPCOMING]
    first = min(waiting, key=lambda key: (key.schedule.active_at_ms, key.id), default=None)
    return None if first is None else _with_plan(first, active_at_ms=now_ms)


def roll_back(keys: Sequence[PublicKey], use: Use, algorithm: Algorithm, now_ms: int) -> tuple[PublicKey, ...]:
    """Undo the last rotation of a line: the keys whose plans change, to be written together.

    A successor that has not signed is withdrawn; one that has stays published as any retiring key does. The predecessor
    signs again, at once, because it never left the JWKS.

    Raises:
        NotFound: no predecessor is still published.
    """
    line = _line(keys, use, algorithm)
    current = [key for key in line if key.state(now_ms) in (State.ACTIVE, State.UPCOMING)]
    last = max(current, key=lambda key: key.schedule.active_at_ms, default=None)
    earlier = [] if last is None else [key for key in line if _precedes(key, last, now_ms)]
    if last is None or not earlier:
        raise NotFound(f"No earlier {algorithm} key of {use.issuer} is still published.", hint="Rotate instead.")
    predecessor = max(earlier, key=lambda key: key.schedule.retire_at_ms or 0)  # not one that was itself rolled back
    restored = _with_plan(predecessor, retire_at_ms=None, gone_at_ms=None)
    if now_ms + MARGIN_MS < last.schedule.active_at_ms:
        return restored, _with_plan(last, retire_at_ms=now_ms, gone_at_ms=now_ms)
    return restored, _retired(last, now_ms)


def _precedes(key: PublicKey, last: PublicKey, now_ms: int) -> bool:
    before = key.schedule.active_at_ms < last.schedule.active_at_ms
    return before and key.state(now_ms) in (State.ACTIVE, State.RETIRING)


def _line(keys: Iterable[PublicKey], use: Use, algorithm: Algorithm) -> list[PublicKey]:
    return [key for key in keys if key.use == use and key.algorithm is algorithm]


def _retired(key: PublicKey, retire_at_ms: int) -> PublicKey:
    """`key` with its end planned: gone once its last signature has ended and no cached JWKS needs it."""
    life_ms = SIGNATURE_LIVES_MS[key.use.purpose]
    gone_at_ms = None if life_ms is None else retire_at_ms + life_ms + JWKS_CACHE_MS + MARGIN_MS
    return _with_plan(key, retire_at_ms=retire_at_ms, gone_at_ms=gone_at_ms)


def _with_plan(key: PublicKey, **changes: int | None) -> PublicKey:
    return msgspec.structs.replace(key, schedule=msgspec.structs.replace(key.schedule, **changes))
