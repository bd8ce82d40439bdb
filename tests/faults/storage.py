"""A deployment whose disk is under test, on either database, with nodes in processes of their own."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec

from tenantry.app.config import Config
from tenantry.cli.demo.cluster import Cluster
from tests.faults.disk import Disk
from tests.faults.whole import StoredOf
from tests.stand.nodes import NodeProcess, node_process

Answer = dict[str, Any]


class Storage(msgspec.Struct, frozen=True, eq=False):
    """`cluster` is what writes to the disk; without one it is the node itself."""

    config: Config
    disk: Disk
    folder: Path
    stored: StoredOf
    cluster: Cluster | None = None

    @property
    def env(self) -> Mapping[str, str]:
        """What a node's process is started with."""
        return {} if self.cluster else self.disk.env

    def node(self) -> AbstractAsyncContextManager[NodeProcess]:
        """A node in a process of its own."""
        return node_process(self.config, self.folder, env=self.env)

    def lose_power(self) -> None:
        """Everything stops and forgets what was not synced; a cluster starts again. Nodes on SQLite are dead already."""
        if self.cluster is not None:
            self.cluster.kill()
        self.disk.power_loss()
        if self.cluster is not None:
            self.cluster.start(self.disk.env)


async def until(holds: Callable[[], Awaitable[bool]], within_s: float, what: str) -> float:
    """Wait for a condition; gives the seconds it took."""
    began = time.monotonic()
    while not await holds():
        assert time.monotonic() - began < within_s, f"not within {within_s} s: {what}"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def told(node: NodeProcess, what: str, **args: Any) -> Answer:
    """Tell a node something; if it ends meanwhile the outcome is unknown."""
    try:
        return await node.do(what, **args)
    except ConnectionError:
        return {"ok": False, "error": "outcome_unknown"}


async def opened(node: NodeProcess) -> str:
    """A fresh organization."""
    ready = await node.ready
    assert ready["ok"], ready
    return (await node.do("open"))["org"]
