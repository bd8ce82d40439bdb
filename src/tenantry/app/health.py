"""Whether a node is ready for requests, and what keeps it from being. Read from memory: asking costs the database nothing."""

import msgspec

from tenantry.core.clock import Clock
from tenantry.core.limits import CLOCK_SKEW_MS
from tenantry.journal import Lease, Pulse
from tenantry.journal.duties import DUTY_MS

FULL_MS = 5_000
"""How long a node stays unready after a write found no space; the next ones then show whether there is some again."""


class Health(msgspec.Struct, frozen=True):
    """How a node is. Every cause mends itself once what is behind it does."""

    storage_full: bool
    """A write of the last `FULL_MS` found no space. Reads and what was cut hold."""
    stale: bool
    """It has not heard from the database recently enough to say yes."""
    skew_ms: int
    """How far its clock is from the database's; not ready past `CLOCK_SKEW_MS`."""
    unsigned_ms: int
    """How long nobody has been able to sign the logs; not ready past `DUTY_MS`, by which another node has taken over if one can."""

    @property
    def ready(self) -> bool:
        """Whether it takes requests."""
        return not self.causes()

    def causes(self) -> list[str]:
        """What keeps it from being ready."""
        causes = {
            "writes find no space (storage_full)": self.storage_full,
            "it has heard nothing from the database (stale)": self.stale,
            "its clock is not the database's (skew)": self.skew_ms > CLOCK_SKEW_MS,
            "nobody can sign the logs (unsigned)": self.unsigned_ms > DUTY_MS,
        }
        return [cause for cause, holds in causes.items() if holds]


def health_of(lease: Lease, pulse: Pulse, clock: Clock) -> Health:
    """How the node of this lease and pulse is now."""
    return Health(
        storage_full=(clock.boottime() - pulse.full_at) * 1000 < FULL_MS,
        stale=not lease.holds(),
        skew_ms=pulse.skew_ms,
        unsigned_ms=pulse.unsigned_ms(clock.now_ms()),
    )
