"""A bounded queue that is fair by organization: a tenant with a thousand waiting sets delays its own, not its neighbour's."""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from tenantry.core.errors import Throttled

T = TypeVar("T")


class Lanes(Generic[T]):
    """Items by lane, taken in turn one of each lane. Not thread-safe: its owner holds a lock or runs on one thread."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lanes: dict[str, deque[T]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, lane: str, item: T) -> None:
        """Add an item at the end of its lane.

        Raises:
            Throttled: `limit` items wait and this lane has its share of them, or twice as many wait; nothing was added.
        """
        waiting = self._lanes.get(lane)
        if self._size >= self._limit:
            mine = len(waiting) if waiting is not None else 0
            if mine * len(self._lanes) >= self._limit or self._size >= 2 * self._limit:
                raise Throttled("Too many writes are waiting.", hint="Try again in a second.")
        if waiting is None:
            waiting = self._lanes[lane] = deque()
        waiting.append(item)
        self._size += 1

    def put_back(self, lane: str, items: list[T]) -> None:
        """Return items that were taken and cannot go yet to the front of their lane, in the order they had."""
        self._lanes.setdefault(lane, deque()).extendleft(reversed(items))
        self._size += len(items)

    def take(self, most: int) -> list[T]:
        """Up to `most` items, one of each lane in turn; the lanes served go to the back."""
        taken: list[T] = []
        while self._lanes and len(taken) < most:
            taken.append(self._first(next(iter(self._lanes))))
        return taken

    def next(self, may: Callable[[str], bool]) -> T | None:
        """The next item of the first lane that `may` be served now."""
        lane = next((lane for lane in self._lanes if may(lane)), None)
        return None if lane is None else self._first(lane)

    def _first(self, lane: str) -> T:
        items = self._lanes.pop(lane)
        item = items.popleft()
        if items:
            self._lanes[lane] = items
        self._size -= 1
        return item
