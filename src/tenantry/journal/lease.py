"""The lease to say yes: a node that has not heard from the changelog for 700 ms says nothing.

It runs from the moment at which the last successful read *began*, on a clock that counts sleep, so that a process that was stopped wakes
up refusing. No other clock is compared. A node may also say nothing about a single organization: one whose changes it could not apply.
"""

from tenantry.core.clock import Clock
from tenantry.core.errors import Stale
from tenantry.core.limits import LEASE_MS


class Lease:
    """Whether this node may say yes. Renewed by the reading task alone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heard: float | None = None
        self.withheld: set[str] = set()
        """Organizations of which this node has heard something that it cannot apply: about these it says nothing."""

    def renew(self, began: float) -> None:
        """A read of the changelog that began at `began` (boot time, seconds) has succeeded and is applied."""
        self._heard = began

    def lose(self) -> None:
        """What this node heard counts no more: the database lives another life."""
        self._heard = None

    def age_ms(self) -> float:
        """Milliseconds since the last successful read began; infinite before the first."""
        return float("inf") if self._heard is None else (self._clock.boottime() - self._heard) * 1000

    def holds(self, *organizations: str) -> bool:
        """Whether this node may say yes now, for these organizations."""
        return self.age_ms() < LEASE_MS and self.withheld.isdisjoint(organizations)

    def check(self, *organizations: str) -> None:
        """Refuse unless the lease holds for these organizations.

        Raises:
            Stale: it has run out, or one of them is withheld.
        """
        if not self.holds(*organizations):
            raise Stale(hint="Ask again in a second, or ask another node.", retry_after_ms=LEASE_MS)
