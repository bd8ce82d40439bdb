"""A node: a process that opened the store, checked in to the deployment's life and follows its journal."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import msgspec

from tenantry.access.schema import SCHEMA as ACCESS
from tenantry.app.checkpoints import CheckpointKeys
from tenantry.app.config import Config
from tenantry.app.health import Health, health_of
from tenantry.app.root import root_key
from tenantry.audit.checking import Checker
from tenantry.audit.schema import SCHEMA as AUDIT
from tenantry.audit.sequencer import Sequencer
from tenantry.core.clock import Clock, SystemClock
from tenantry.core.errors import TenantryError
from tenantry.core.ids import IdSource
from tenantry.journal import (
    Cuts,
    Deriver,
    Deriving,
    Duties,
    Following,
    Incarnation,
    Journal,
    Lease,
    Marking,
    Pulse,
    Work,
    Working,
    check_in,
)
from tenantry.journal.mark import Destruction
from tenantry.journal.schema import SCHEMA as JOURNAL
from tenantry.keys.keyring import Keyring
from tenantry.keys.published import PublishedKeys
from tenantry.keys.root import RootKey
from tenantry.keys.schema import SCHEMA as KEYS
from tenantry.oauth.once import SCHEMA as OAUTH
from tenantry.oauth.once import Forgetting
from tenantry.organizations.lifecycle import destroy_again
from tenantry.organizations.schema import SCHEMA as ORGANIZATIONS
from tenantry.protection.signals import SCHEMA as PROTECTION
from tenantry.sessions.schema import SCHEMA as SESSIONS
from tenantry.store import Engine, Schema, open_store

ROOMS: tuple[Schema, ...] = (JOURNAL, KEYS, AUDIT, ACCESS, ORGANIZATIONS, SESSIONS, PROTECTION, OAUTH)
"""What every deployment keeps in its database, in the order in which it is made."""


Derivers = Callable[[Journal, Keyring, Clock], Iterable[Deriver]]
"""Makes what derives tables on a node, of what they need of it."""


class Node(msgspec.Struct, frozen=True, eq=False):
    """What a use case needs of the node that runs it."""

    id: str
    engine: Engine
    clock: Clock
    ids: IdSource
    journal: Journal
    lease: Lease
    pulse: Pulse
    following: Following
    cuts: Cuts
    duties: Duties
    incarnation: Incarnation
    keyring: Keyring
    published_keys: PublishedKeys
    checkpoint_keys: CheckpointKeys
    works: tuple[Working, ...]
    """What this node does when it holds the duty: deriving each table and, last, sequencing and checking the logs."""

    checker: Checker

    forgetting: Working
    """Forgets, while it holds the duty, what clients presented once and could not present again anyway. It follows nothing."""

    ended: asyncio.Event
    """Set when the process must end: storage failed, or the database lives another life."""

    def health(self) -> Health:
        """Whether this node is ready for requests, and why not."""
        return health_of(self.lease, self.pulse, self.clock)


@asynccontextmanager
async def open_node(
    config: Config,
    *,
    rooms: Iterable[Schema] = ROOMS,
    derivers: Derivers = lambda *_: (),
    clock: Clock | None = None,
    root: RootKey | None = None,
    on_open: Callable[[Node], None] | None = None,
) -> AsyncIterator[Node]:
    """Open the store, check in, follow; and let go of everything at the end of the block.

    `root` keeps the root key in place of what the configuration names. `on_open` is called before following starts, so that it can add
    followers of its own.

    Raises:
        Unsafe: the set-up would void a promise, or there is no root key.
        Unavailable: the database cannot be reached.
    """
    clock = clock or SystemClock()
    ids = IdSource(clock)
    ended = asyncio.Event()
    async with AsyncExitStack() as opened:
        engine = await open_store(config.where(), rooms, clock, development=config.development, on_broken=ended.set)
        opened.push_async_callback(engine.close)
        root = root or await root_key(config)
        node = await _check_in(config, engine, clock, ids, ended, derivers, root)
        marking = Marking(Path(config.state), node.incarnation.mark, engine)
        *deriving, sequencing = node.works
        for follower in (node.cuts, node.published_keys, marking, *deriving):
            node.following.add(follower)
        for recorder in (sequencing, marking):
            node.following.add_recorder(recorder)
        if on_open is not None:
            on_open(node)
        await node.following.start()
        opened.push_async_callback(_last_mark, marking, ended)
        opened.push_async_callback(asyncio.wait, {asyncio.create_task(marking.keep())})
        opened.callback(marking.close)
        opened.push_async_callback(node.following.close)
        for work in (*node.works, node.forgetting):
            work.start()
            opened.push_async_callback(work.close)
        yield node


async def _last_mark(marking: Marking, ended: asyncio.Event) -> None:
    """Write what was seen at the end; if that fails the mark is a second behind, as after a kill."""
    with suppress(TenantryError, OSError):
        await (marking.remember() if ended.is_set() else marking.write())


async def _check_in(
    config: Config,
    engine: Engine,
    clock: Clock,
    ids: IdSource,
    ended: asyncio.Event,
    derivers: Derivers,
    root: RootKey,
) -> Node:
    pulse = Pulse()
    journal, lease, name = Journal(engine, clock, pulse), Lease(clock), ids.new("node")
    duties = Duties(engine, clock, name)

    keyring = Keyring(journal, clock, ids, root)
    await keyring.check()

    async def destroy(entry: Destruction) -> None:
        await destroy_again(journal, keyring, entry)

    incarnation = await check_in(engine, journal, duties, ids, clock, Path(config.state), config.issuer, destroy)
    checkpoint_keys = CheckpointKeys(keyring, clock, config.issuer)
    deriving: list[Work] = [Deriving(deriver, engine, journal) for deriver in derivers(journal, keyring, clock)]
    sequencer = Sequencer(engine, journal, clock, checkpoint_keys.host, checkpoint_keys.signer)
    checker = Checker(journal)
    forgetting = Forgetting(engine, journal, clock)
    return Node(
        id=name,
        engine=engine,
        clock=clock,
        ids=ids,
        journal=journal,
        lease=lease,
        pulse=pulse,
        following=Following(engine, clock, lease, pulse, ended.set),
        cuts=Cuts(journal, lease, clock, incarnation.number),
        duties=duties,
        incarnation=incarnation,
        keyring=keyring,
        published_keys=PublishedKeys(journal, clock),
        checkpoint_keys=checkpoint_keys,
        works=(
            *(Working(work, duties, clock, ended.set) for work in deriving),
            Working(sequencer, duties, clock, ended.set, checker.turn),
        ),
        checker=checker,
        forgetting=Working(forgetting, duties, clock, ended.set, forgetting.turn),
        ended=ended,
    )
