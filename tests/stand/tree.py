"""Branches for tests: a principal's kinds as another room would tell of them, and sessions, grants and runs below."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from tenantry.app.config import Config
from tenantry.app.node import Node, open_node
from tenantry.core.clock import Clock
from tenantry.core.limits import PAGE_ROWS
from tenantry.core.principal import SYSTEM
from tenantry.journal import Journal, Reads
from tenantry.keys.keyring import Keyring
from tenantry.sessions import branches
from tenantry.sessions.feed import Feed
from tenantry.sessions.kinds import OWN, Credential, Kinds
from tenantry.sessions.receipts import Receipts, Verifiers
from tenantry.sessions.schema import Branch
from tests.stand.credentials import ISSUER
from tests.stand.nodes import ALL_ROOMS
from tests.stand.organizations import Organization


class Register:
    """Principals of a kind, kept in memory: what a room that has their table tells of them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.known: dict[str, Credential] = {}

    def add(self, org: Organization, *path: str) -> str:
        """A principal at the end of a path, the organization left out; made at the revision 0."""
        self.known[path[-1]] = Credential(self.name, path[-1], (org.id, *path), 0)
        return path[-1]

    async def children(self, reads: Reads, parents: Sequence[str], after: str, at_ms: int) -> Sequence[Credential]:
        """See `CredentialKind`: these never end."""
        del at_ms
        below = (one for one in self.known.values() if one.path[-2] in parents and one.id > after)
        return sorted((one for one in below if one.path[0] == reads.org), key=lambda one: one.id)[:PAGE_ROWS]

    async def exists(self, reads: Reads, branch: str) -> bool:
        """See `CredentialKind`."""
        return branch in self.known and self.known[branch].path[0] == reads.org


class Forest(msgspec.Struct, frozen=True, eq=False):
    """A node with the sessions room put together as `app/` does."""

    node: Node
    kinds: Kinds
    receipts: Receipts
    feed: Feed
    users: Register
    agents: Register


@asynccontextmanager
async def forest(config: Config, clock: Clock | None = None, **feed: Any) -> AsyncIterator[Forest]:
    """A node of a deployment, with receipts derived and the feed on."""
    users, agents = Register("user"), Register("agent")
    kinds = Kinds((*OWN, users, agents))
    made: list[Forest] = []
    receipts: list[Receipts] = []

    def derivers(_: Journal, keyring: Keyring, clock: Clock) -> list[Receipts]:
        receipts.append(Receipts(kinds, (Verifiers(),), keyring, clock, ISSUER))
        return receipts

    def on_open(node: Node) -> None:
        known = {"incarnation": node.incarnation.number, "issuer": ISSUER} | feed
        told = Feed(node.id, node.engine, node.journal, node.cuts, node.lease, node.clock, **known)
        node.following.add(told)
        made.append(Forest(node, kinds, receipts[0], told, users, agents))

    async with open_node(config, rooms=ALL_ROOMS, derivers=derivers, clock=clock, on_open=on_open):
        made[0].feed.start()
        yield made[0]


async def made(org: Organization, kind: str, *above: str, principal: str = "", **more: Any) -> Branch:
    """A branch below others, the organization left out."""
    new = branches.New(
        id=org.node.ids.new(kind),
        parent=more.pop("parent", above[-1]),
        principal=principal or above[0],
        above=(org.id, *above),
        rev=(await org.node.journal.head(org.scope)).rev,
        **more,
    )
    async with org.begin(SYSTEM) as w:
        return await branches.make(w, org.reads, new, org.node.clock.now_ms())
