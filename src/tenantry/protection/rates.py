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

    def take(self, *asked: tuple[Hashable, Rate]) -> None:
        """Count one coming under each key, or under none if one of them is full.

        Raises:
            TooOften: with the time after which it fits.
        """
        now_ms = self._clock.boottime() * 1000
        due = [(key, rate, max(self._due.get(key, now_ms), now_ms) + rate.every_ms) for key, rate in asked]
        late_ms = max((at - now_ms - rate.every_ms * rate.burst for _, rate, at in due), default=0)
        if late_ms > 0:
            raise TooOften(hint="Come back a little later.", retry_after_ms=int(late_ms) + 1)
        for key, _, at in due:
            self._due[key] = at
            self._due.move_to_end(key)
        while len(self._due) > self._most:
            self._due.popitem(last=False)
