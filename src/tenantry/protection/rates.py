"""Rates: how often somebody may come, by the generic cell rate algorithm: one number for each who comes, no window that opens all at once.

They are kept in memory, a node for itself, and guard against load alone; what guards a secret is counted in the database.
"""

from collections import OrderedDict
from collections.abc import Hashable

from tenantry.core.clock import Clock
from tenantry.core.errors import Throttled
from tenantry.web import Rate

KEPT_MAX = 100_000
"""Callers remembered, about 200 bytes each; beyond it the one who came longest ago is forgotten, and begins anew."""


class TooOften(Throttled):
    """Somebody came more often than a limit admits."""

    code = "too_often"
    sentence = "This was asked too often."


class Rates:
    """Who came when. Owned by the event loop."""

    def __init__(self, clock: Clock, *, kept: int = KEPT_MAX) -> None:
        self._clock = clock
        self._most = kept
        self._due: OrderedDict[Hashable, float] = OrderedDict()

    def check(self, *asked: tuple[Hashable, Rate]) -> None:
        """Refuse if one more coming under one of the keys would not fit; nothing is counted. For limits on what failed, known afterwards.

        Raises:
            TooOften: with the time after which it fits.
        """
        now_ms = self._clock.boottime() * 1000
        late_ms = max(
            (self._next(key, rate, now_ms) - now_ms - rate.every_ms * rate.burst for key, rate in asked), default=0
        )
        if late_ms > 0:
            raise TooOften(hint="Come back a little later.", retry_after_ms=int(late_ms) + 1)

    def take(self, *asked: tuple[Hashable, Rate]) -> None:
        """Count one coming under each key, or under none if one of them is full.

        Raises:
            TooOften: with the time after which it fits.
        """
        self.check(*asked)
        now_ms = self._clock.boottime() * 1000
        for key, rate in asked:
            self._due[key] = self._next(key, rate, now_ms)
            self._due.move_to_end(key)
        while len(self._due) > self._most:
            self._due.popitem(last=False)

    def _next(self, key: Hashable, rate: Rate, now_ms: float) -> float:
        return max(self._due.get(key, now_ms), now_ms) + rate.every_ms
