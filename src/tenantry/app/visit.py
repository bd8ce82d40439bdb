"""A visit: a deployment's database opened for one command, without becoming a node that follows, derives or answers.

On SQLite a visit holds the file, so no server runs meanwhile; on PostgreSQL it is one more guest.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from tenantry.app.checkpoints import CheckpointKeys
from tenantry.app.config import Config
from tenantry.app.node import ROOMS
from tenantry.app.root import root_key
from tenantry.audit.sequencer import Sequencer
from tenantry.core.clock import Clock, SystemClock
from tenantry.core.errors import Unsafe
from tenantry.core.ids import IdSource
from tenantry.core.scopes import TenantScope
from tenantry.journal import Duties, Journal, NotOurs, Pulse, foresee
from tenantry.keys.keyring import Keyring
from tenantry.store import Engine, open_store


class Visit(msgspec.Struct, frozen=True, eq=False):
    """What a command needs of the deployment."""

    engine: Engine
    clock: Clock
    journal: Journal
    duties: Duties
    sequencer: Sequencer
    checkpoint_keys: CheckpointKeys

    async def sequence(self, scope: TenantScope) -> None:
        """Bring the organization's checkpoint up to its newest event, unless a node is at it: that one does so within a second."""
        try:
            duty = await self.duties.take(self.sequencer.name)
        except NotOurs:
            return
        try:
            while await self.sequencer.do(scope.org, duty):
                await self.duties.renew(duty)
        finally:
            await self.duties.release(duty)


@asynccontextmanager
async def visit(config: Config) -> AsyncIterator[Visit]:
    """Open the database for the block.

    Raises:
        Unsafe: a server holds the file, the set-up would void a promise, or the data lives another life than this node knew.
        Unavailable: the database cannot be reached.
    """
    clock = SystemClock()
    ids = IdSource(clock)
    engine = await open_store(config.where(), ROOMS, clock, development=config.development, on_broken=lambda: None)
    try:
        if reason := await foresee(engine, Path(config.state), config.issuer):
            raise Unsafe(
                f"The data lives another life than this node knew ({reason}).",
                hint="Start a server first: it begins the new incarnation.",
            )
        journal = Journal(engine, clock, Pulse())
        keyring = Keyring(journal, clock, ids, await root_key(config))
        await keyring.check()
        keys = CheckpointKeys(keyring, clock, config.issuer)
        sequencer = Sequencer(engine, journal, clock, keys.host, keys.signer)
        yield Visit(engine, clock, journal, Duties(engine, clock, ids.new("node")), sequencer, keys)
    finally:
        await engine.close()
