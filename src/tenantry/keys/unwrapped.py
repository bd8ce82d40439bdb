"""Data keys in use: unwrapped once and kept for a stated time, so that an absent root key does not stop a node at once.

For `FRESH_MS` after an unwrap the root key is not asked. Then it is asked again, and while it cannot be reached the key
goes on being used until `USABLE_MS` after the last unwrap that succeeded; after that every use is refused. Nothing
falls back to plain text.
"""

import asyncio
from collections import OrderedDict

from tenantry.core.clock import Clock
from tenantry.keys.aead import Damaged
from tenantry.keys.envelope import DataKey, unwrap_data_key
from tenantry.keys.root import DEADLINE_MS, RootKey, RootKeyUnreachable, WrongRootKey

FRESH_MS = 5 * 60_000
USABLE_MS = 15 * 60_000
RETRY_AFTER_MS = 2 * DEADLINE_MS
"""How long after a try that failed the next one waits, so that callers do not each wait out the deadline."""

KEPT_MAX = 4_096
"""Data keys one node holds; the longest unused goes first."""

_NEVER = float("-inf")


class UnwrappedKeys:
    """The data keys that one node has in use. Owned by one event loop."""

    def __init__(self, root: RootKey, clock: Clock) -> None:
        self._root = root
        self._clock = clock
        self._kept: OrderedDict[tuple[str, int], _Kept] = OrderedDict()

    async def get(self, org: str, version: int, wrapped: bytes) -> DataKey:
        """The data key of this organization and version, whose wrapped form the caller has read.

        Raises:
            RootKeyUnreachable: the root key cannot be asked and no usable key is left.
            WrongRootKey, Damaged: as `unwrap_data_key`; a key that was kept is dropped.
        """
        kept = self._entry(org, version)
        usable = self._usable(kept)
        if usable is not None and (self._age_ms(kept.unwrapped_at) < FRESH_MS or kept.lock.locked()):
            return usable
        async with kept.lock:
            return await self._renewed(kept, org, version, wrapped)

    def forget(self, org: str) -> None:
        """Drop every key of an organization: its data keys were destroyed."""
        for place in [place for place in self._kept if place[0] == org]:
            del self._kept[place]

    async def _renewed(self, kept: "_Kept", org: str, version: int, wrapped: bytes) -> DataKey:
        usable = self._usable(kept)
        if usable is not None and self._age_ms(kept.unwrapped_at) < FRESH_MS:
            return usable  # renewed while this caller waited
        if self._age_ms(kept.failed_at) < RETRY_AFTER_MS:
            if usable is None:
                raise RootKeyUnreachable(f"Root key {self._root.id!r} could not be reached, and no data key is usable.")
            return usable
        began = self._clock.boottime()
        try:
            kept.key = await unwrap_data_key(self._root, wrapped, org, version)
        except (WrongRootKey, Damaged):
            kept.key = None
            raise
        except RootKeyUnreachable:
            kept.failed_at = self._clock.boottime()
            kept.key = self._usable(kept)
            if kept.key is None:
                raise
            return kept.key
        kept.unwrapped_at = began
        return kept.key

    def _entry(self, org: str, version: int) -> "_Kept":
        kept = self._kept.setdefault((org, version), _Kept())
        self._kept.move_to_end((org, version))
        while len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)
        return kept

    def _usable(self, kept: "_Kept") -> DataKey | None:
        return kept.key if self._age_ms(kept.unwrapped_at) < USABLE_MS else None

    def _age_ms(self, at: float) -> float:
        return (self._clock.boottime() - at) * 1000


class _Kept:
    __slots__ = ("failed_at", "key", "lock", "unwrapped_at")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()  # one unwrap at a time for one key
        self.key: DataKey | None = None
        self.unwrapped_at = _NEVER
        self.failed_at = _NEVER
