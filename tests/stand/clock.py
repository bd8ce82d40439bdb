"""A clock that moves when told, for tests of what time does."""

from tenantry.core.clock import SystemClock


class ManualClock:
    """Begins at the machine's time, which a database compares its own with, and then stands still."""

    def __init__(self) -> None:
        system = SystemClock()
        self._now_ms = system.now_ms()
        self._boottime = system.boottime()

    def now_ms(self) -> int:
        return self._now_ms

    def boottime(self) -> float:
        return self._boottime

    def advance(self, ms: int) -> None:
        """Let `ms` milliseconds pass, on the wall and since boot."""
        self._now_ms += ms
        self._boottime += ms / 1000
