"""What topics stand on: fresh databases with durability on, the journal over them, organizations with an open ledger."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from benchmarks.measure import Machine, Pace, Skipped
from tenantry.app.config import Config
from tenantry.app.setup import set_up
from tenantry.cli.demo import ledger
from tenantry.cli.demo.cluster import Cluster, ClusterError
from tenantry.core.clock import SystemClock
from tenantry.core.ids import IdSource
from tenantry.core.principal import SYSTEM
from tenantry.core.scopes import TenantScope
from tenantry.journal import Journal, WriteSet
from tenantry.journal.compose import compose
from tenantry.journal.event import Origin
from tenantry.journal.pulse import Pulse
from tenantry.store import Engine, Schema, Step, open_store
from tests.stand.databases import postgres_database, sqlite_database
from tests.stand.nodes import ALL_ROOMS, configured


class Ground:
    """The run's folder, machine and pace, and its one PostgreSQL cluster, started when first asked for."""

    def __init__(self, folder: Path, machine: Machine, pace: Pace) -> None:
        self.folder = folder
        self.machine = machine
        self.pace = pace
        self._made = 0
        self._cluster: Cluster | None = None
        self._held = ExitStack()

    def close(self) -> None:
        """Stop the cluster."""
        self._held.close()

    async def deployment(self, engine: str, *extra: Schema) -> Config:
        """A fresh deployment on `sqlite` or `postgres` that loses nothing it acknowledged.

        Raises:
            Skipped: PostgreSQL is not installed.
        """
        self._made += 1
        folder = self.folder / str(self._made)
        folder.mkdir()
        database = (
            sqlite_database(folder)
            if engine == "sqlite"
            else postgres_database(self._cluster_of(), f"bench_{self._made}")
        )
        config = configured(database, folder / "state", development=False)
        await set_up(config, rooms=(*ALL_ROOMS, *extra))
        return config

    def empty_database(self, name: str) -> str:
        """An empty database of the cluster, for a peer: what it connects with.

        Raises:
            Skipped: PostgreSQL is not installed.
        """
        cluster = self._cluster_of()
        cluster.create_database(name)
        return cluster.conninfo(database=name)

    def _cluster_of(self) -> Cluster:
        if self._cluster is None:
            try:
                self._cluster = self._held.enter_context(Cluster(fsync=True))
            except ClusterError as error:
                raise Skipped(f"no PostgreSQL: {error}") from error
        return self._cluster


class Writing(msgspec.Struct, frozen=True, eq=False):
    """The write path of a node, without what follows it."""

    engine: Engine
    journal: Journal
    clock: SystemClock
    ids: IdSource

    async def organizations(self, count: int) -> list[TenantScope]:
        """Fresh organizations, each with its log open."""
        scopes = [ledger.scope_of(self.ids.new("org")) for _ in range(count)]
        for scope in scopes:
            async with self.journal.begin(scope, SYSTEM) as w:
                ledger.open_ledger(w)
        return scopes

    def steps(self, w: WriteSet) -> list[Step]:
        """The statements that a set becomes, for a baseline to send by itself; their leaves are encoded here, once."""
        return compose(w, SYSTEM, Origin(), self.clock.now_ms(), dialect="sqlite").steps


@asynccontextmanager
async def writing(config: Config, *extra: Schema) -> AsyncIterator[Writing]:
    """Open the store of a deployment for writing."""
    clock = SystemClock()
    engine = await open_store(config.where(), (*ALL_ROOMS, *extra), clock, on_broken=lambda: None)
    try:
        yield Writing(engine, Journal(engine, clock, Pulse()), clock, IdSource(clock))
    finally:
        await engine.close()
