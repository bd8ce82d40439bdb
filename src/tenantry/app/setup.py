"""Setting up: make or migrate the database, found the deployment, let this node join it."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from tenantry.app.config import Config
from tenantry.app.node import ROOMS
from tenantry.core import scopes
from tenantry.core.clock import SystemClock
from tenantry.core.ids import PLATFORM, IdSource
from tenantry.core.principal import SYSTEM
from tenantry.journal import Event, Journal, Pulse, Target, found, join
from tenantry.journal.mark import MarkFile
from tenantry.store import Schema, open_store, prepare


class DeploymentFounded(Event, tag="deployment.founded", frozen=True):
    """The deployment began: the first leaf of the platform's log."""

    platform: Target
    issuer: str


class SetUp(msgspec.Struct, frozen=True):
    """What setting up did."""

    migrations: list[str]
    founded: bool
    joined: bool


async def set_up(config: Config, *, rooms: Iterable[Schema] = ROOMS) -> SetUp:
    """Bring database and state directory to where `open_node` can begin; doing it again changes nothing.

    A node that has a mark keeps it: `check_in` holds it against the database, and so finds a restored one out.

    Raises:
        Unsafe: a server holds the database file, or a role could bypass row security.
        Unavailable: PostgreSQL cannot be reached.
    """
    rooms = tuple(rooms)
    clock = SystemClock()
    Path(config.state).mkdir(mode=0o700, parents=True, exist_ok=True)
    migrations = await prepare(config.where(), rooms)
    engine = await open_store(config.where(), rooms, clock, development=config.development, on_broken=lambda: None)
    try:
        fresh = await found(engine, IdSource(clock), clock, config.issuer)
        if fresh:
            async with Journal(engine, clock, Pulse()).begin(scopes.of_platform(), SYSTEM) as w:
                w.open_log()
                w.record(DeploymentFounded(PLATFORM, config.issuer))
        joined = MarkFile(Path(config.state)).read() is None
        if joined:
            await join(engine, Path(config.state))
    finally:
        await engine.close()
    return SetUp(migrations, fresh, joined)
