"""The stage of the demonstration: a PostgreSQL cluster with three node processes, and a SQLite file with one."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tenantry.app.config import Config, DatabaseConfig, RootKeyConfig
from tenantry.app.node import ROOMS
from tenantry.app.setup import set_up
from tenantry.cli.demo import ledger
from tenantry.cli.demo.cluster import Cluster
from tenantry.cli.demo.driver import NodeProcess, node_process
from tenantry.cli.demo.play import accepted, expect
from tenantry.cli.demo.tamper import Exports
from tenantry.core.clock import SystemClock
from tenantry.core.ids import IdSource
from tenantry.keys.root import generate
from tenantry.store import make_roles, plan_roles

if TYPE_CHECKING:
    from tenantry.cli.demo.atlas_world import World

ALL_ROOMS = (*ROOMS, ledger.SCHEMA)
ISSUER = "https://demo.example"
NODES = 3


class Stage:
    """What the scenes share. Everything that runs ends with the `async with` block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = SystemClock()
        self.ids = IdSource(self.clock)
        self.nodes: list[NodeProcess] = []
        self.exports: Exports
        self.atlas: World
        self.acme = self.globex = self.initech = self.hooli = ""
        """Two organizations on PostgreSQL, two on SQLite."""
        self.running = AsyncExitStack()
        generate(folder / "root.key")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        # What a thread is at goes on when the play is ended: a cluster that starts must be there to be stopped.
        await asyncio.get_running_loop().shutdown_default_executor()
        await self.running.aclose()

    async def start_postgres(self) -> None:
        """Start a cluster as a newcomer would find one, and set a deployment up in it, durable as in production."""
        self.cluster = await asyncio.to_thread(self.running.enter_context, Cluster(fsync=True))
        await asyncio.to_thread(self.cluster.create_database, "tenantry")
        self.superuser = self.cluster.conninfo("tenantry")
        roles = await plan_roles(self.superuser)
        await make_roles(self.superuser, roles)
        urls = roles.urls
        where = DatabaseConfig(app=urls.app, follower=urls.follower, worker=urls.worker, migrator=roles.migrator_url)
        self.postgres = self.configured(where, "node-1")
        await set_up(self.postgres, rooms=ALL_ROOMS)

    async def start_nodes(self) -> None:
        """Three nodes in processes of their own, each with a state directory of its own."""
        configs = [self.configured(self.postgres.database, f"node-{number}") for number in range(1, NODES + 1)]
        for config in configs[1:]:
            await set_up(config, rooms=ALL_ROOMS)
        self.nodes = list(await asyncio.gather(*map(self._node, configs)))
        self.acme = accepted(await self.nodes[0].do("open"))["org"]
        self.globex = accepted(await self.nodes[1].do("open"))["org"]

    async def start_sqlite(self) -> None:
        """One node on a file."""
        self.sqlite = self.configured(DatabaseConfig(file=str(self.folder / "tenantry.db")), "node-sqlite")
        await set_up(self.sqlite, rooms=ALL_ROOMS)
        self.single = await self._node(self.sqlite)
        self.initech = accepted(await self.single.do("open"))["org"]
        self.hooli = accepted(await self.single.do("open"))["org"]

    async def second_on_the_file(self) -> dict[str, Any]:
        """What a second process that opens the same file says."""
        folder = self.folder / "second"
        folder.mkdir()
        async with node_process(self.sqlite, folder) as second:
            return await second.ready

    async def settled(self, what: str, look: Callable[[], Awaitable[bool]], within_ms: int) -> float:
        """Look until it is so; returns after how many milliseconds it was.

        Raises:
            NotAsPromised: it was not within `within_ms`.
        """
        began = self.clock.boottime()
        while not await look():
            expect((self.clock.boottime() - began) * 1000 < within_ms, f"{what}: not within {within_ms} ms")
            await asyncio.sleep(0.005)
        return (self.clock.boottime() - began) * 1000

    def configured(self, database: DatabaseConfig, name: str) -> Config:
        """A node on this database, with a state directory of its own."""
        root_key = RootKeyConfig(file=str(self.folder / "root.key"))
        return Config(issuer=ISSUER, state=str(self.folder / name), database=database, root_key=root_key)

    async def _node(self, config: Config) -> NodeProcess:
        node = await self.running.enter_async_context(node_process(config, Path(config.state)))
        accepted(await node.ready)
        return node
