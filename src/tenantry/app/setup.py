"""Setting up: make or migrate the database, found the deployment, let this node join it."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from tenantry.app.config import Config
from tenantry.app.enrollment import enroll
from tenantry.app.node import ROOMS
from tenantry.core import scopes
from tenantry.core.clock import SystemClock
from tenantry.core.errors import NotFound, Unsafe
from tenantry.core.ids import PLATFORM, IdSource
from tenantry.core.principal import SYSTEM
from tenantry.journal import Journal, Pulse, foresee, found, join
from tenantry.journal.incarnation import KNOWN, DeploymentFounded
from tenantry.journal.mark import MarkFile
from tenantry.store import Schema, open_store, prepare


class SetUp(msgspec.Struct, frozen=True):
    """What setting up did."""

    migrations: list[str]
    founded: bool
    joined: bool
    enrolled: bool
    """A key of this node's commands was registered: on PostgreSQL, where no socket lies beside the database."""


async def set_up(config: Config, *, rooms: Iterable[Schema] = ROOMS, contract: bool = False) -> SetUp:
    """Bring database and state directory to where `open_node` can begin; doing it again changes nothing.

    Without the migrator's connection string nothing is migrated; an older database is then refused. A node that has a mark
    keeps it: `check_in` holds it against the database, and so finds a restored one out. With `contract`, what only the previous
    version's servers needed is removed; nothing is expanded then.

    Raises:
        Unsafe: to contract was asked for, and an expand step or the migrator is missing.
        Unsafe: a server holds the database file, a role could bypass row security, or this node has seen another deployment.
        Unavailable: PostgreSQL cannot be reached.
    """
    rooms = tuple(rooms)
    clock = SystemClock()
    state = Path(config.state)
    joined_before = _mark_file(state).read() is not None
    where = config.where()
    migrations: list[str] = []
    if where.file is not None or where.migrator_url:
        migrations = await prepare(where, rooms, phase="contract" if contract else "expand")
    elif contract:
        raise Unsafe("The configuration names no migrator of PostgreSQL.", hint="Contract on a machine that has it.")
    engine = await open_store(where, rooms, clock, development=config.development, on_broken=lambda: None)
    try:
        if joined_before and not await engine.survey(KNOWN):
            raise Unsafe(
                "The database holds no deployment, but this node has seen one: it was lost or replaced.",
                hint="Restore a backup; to begin anew, use an empty state directory.",
            )
        ids, journal = IdSource(clock), Journal(engine, clock, Pulse())
        fresh = await found(engine, ids, clock, config.issuer)
        await _open_log(journal, config.issuer)
        if joined_before:
            await foresee(engine, state, config.issuer)  # refuses the mark of another deployment
        else:
            await join(engine, state)
        enrolled = bool(where.urls) and await enroll(journal, ids, clock, state)
    finally:
        await engine.close()
    return SetUp(migrations, fresh, joined=not joined_before, enrolled=enrolled)


async def _open_log(journal: Journal, issuer: str) -> None:
    """Begin the platform's log, unless an earlier run did."""
    try:
        await journal.head(scopes.of_platform())
    except NotFound:
        async with journal.begin(scopes.of_platform(), SYSTEM) as w:
            w.open_log()
            w.record(DeploymentFounded(PLATFORM, issuer))


def _mark_file(state: Path) -> MarkFile:
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    return MarkFile(state)
