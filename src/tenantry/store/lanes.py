"""A bounded queue that is fair by organization: a tenant with a thousand waiting sets delays its own, not its neighbour's."""

from collections import deque
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
            Throttled: the queue is full; nothing was added.
        """
        if self._size >= self._limit:
            raise Throttled("Too many writes are waiting.", hint="Try again in a second.")
        self._lanes.setdefault(lane, deque()).append(item)
        self._size += 1

    def take(self, most: int) -> list[T]:
        """Up to `most` items, one of each lane in turn; the lanes served go to the back."""
        taken: list[T] = []
        while self._lanes and len(taken) < most:
            lane = next(iter(self._lanes))
            items = self._lanes.pop(lane)
            taken.append(items.popleft())
            if items:
                self._lanes[lane] = items
        self._size -= len(taken)
        return taken
