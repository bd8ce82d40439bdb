"""Places: how much of a node one caller and one organization may take at a time, so that a flood of theirs is first of all their own."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from tenantry.core.errors import Throttled
from tenantry.core.principal import Principal

CALLER_MAX = 128
"""Requests of one caller that a node answers at a time."""

ORGANIZATION_MAX = 256
"""Requests about one organization that a node answers at a time: a quarter of what it answers at all."""

STREAMS_CALLER_MAX = 256
"""Streams of one caller that a node keeps open."""

STREAMS_ORGANIZATION_MAX = 1_024
"""Streams about one organization that a node keeps open: a quarter of what it keeps at all."""

COME_BACK_MS = 1_000


class TooManyAtOnce(Throttled):
    """Too many requests of one caller, or about one organization, are under way."""

    code = "too_many_at_once"
    sentence = "Too many of your requests are under way."


class Places:
    """Who takes how many places now: of answers under way, or of streams that are open. Owned by the event loop."""

    def __init__(self, *, streams: bool = False) -> None:
        self._streams = streams
        self._taken: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def taken(self, caller: Principal, organization: str) -> Iterator[None]:
        """A place of each for the block.

        Raises:
            TooManyAtOnce: one of them has none left.
        """
        one, all_ = (caller.org, caller.id), (organization, "")
        limits = (STREAMS_CALLER_MAX, STREAMS_ORGANIZATION_MAX) if self._streams else (CALLER_MAX, ORGANIZATION_MAX)
        if self._taken[one] >= limits[0] or self._taken[all_] >= limits[1]:
            raise TooManyAtOnce(hint="Wait for some of them to be answered.", retry_after_ms=COME_BACK_MS)
        self._taken.update((one, all_))
        try:
            yield
        finally:
            self._taken.subtract((one, all_))
            for name in (one, all_):
                if not self._taken[name]:
                    del self._taken[name]
