"""A follower that remembers what it was told, for tests to wait for."""

import asyncio

from tenantry.app.node import Node
from tenantry.journal import Change


class Heard:
    """The changes of each organization in the order in which a node's followers were told. Pass it as `on_open`."""

    def __init__(self) -> None:
        self.changes: dict[str, list[Change]] = {}
        self._more = asyncio.Event()

    def __call__(self, node: Node) -> None:
        """Follow this node."""
        node.following.add(self)

    def apply(self, change: Change) -> None:
        """See `Follower`."""
        self.changes.setdefault(change.org, []).append(change)
        self._more.set()

    def revisions(self, org: str) -> list[int]:
        """The revisions told of an organization."""
        return [change.rev for change in self.changes.get(org, ())]

    async def until(self, org: str, rev: int, *, within_s: float = 5) -> None:
        """Wait until a revision was told.

        Raises:
            TimeoutError: it was not, in `within_s` seconds.
        """
        async with asyncio.timeout(within_s):
            while rev not in self.revisions(org):
                self._more.clear()
                await self._more.wait()
