"""The one clock. Nothing else here reads the time; tests pass their own."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for what a token states, boot time for what is waited for."""

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC; may jump."""
        ...

    def boottime(self) -> float:
        """Seconds since boot, never going back, counting the time a machine or process was asleep."""
        ...


class SystemClock:
    """The machine's clock. `CLOCK_BOOTTIME`, unlike `CLOCK_MONOTONIC`, goes on while the machine sleeps."""

    def now(self) -> float:
        return time.time()

    def boottime(self) -> float:
        return time.clock_gettime(_BOOTTIME) if _BOOTTIME is not None else time.monotonic()


_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
