"""The one clock. Nothing else in the server reads the time; tests pass their own."""

import functools
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for what is stored and shown, boot time for what is waited for."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC; may jump."""
        ...

    def boottime(self) -> float:
        """Seconds since boot, never going back, counting the time a machine or process was asleep."""
        ...


class SystemClock:
    """The machine's clock. `CLOCK_BOOTTIME`, unlike `CLOCK_MONOTONIC`, goes on while the machine sleeps."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def boottime(self) -> float:
        return time.clock_gettime(_BOOTTIME)


_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def iso(at_ms: int) -> str:
    """`at_ms` as RFC 3339 in UTC with milliseconds, the one spelling used in logs and exports."""
    return f"{_second(at_ms // 1000)}.{at_ms % 1000:03d}Z"


@functools.lru_cache(maxsize=8)
def _second(at_s: int) -> str:
    """To the second, of which a busy log writes many leaves."""
    return datetime.fromtimestamp(at_s, UTC).isoformat()[:19]
