"""An organization of a test: its scope on a node, ways to write in it, and all it holds, to compare before and after."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from tenantry.app.node import Node
from tenantry.audit import log
from tenantry.audit.schema import LAST_CHECKPOINT, CheckpointRow
from tenantry.cli.demo import ledger
from tenantry.core import scopes
from tenantry.core.principal import SYSTEM, Principal
from tenantry.core.scopes import TenantScope
from tenantry.journal import Change, Head, LeafRow, Reads, WriteSet
from tenantry.journal.schema import CHANGES, CUTS_OF, LEAF_ROWS, Cut

_ALL = 100_000
_SEQUENCED_WITHIN_S = 5.0  # the promise is one second; that one is measured where nothing else runs


class Holdings(msgspec.Struct, frozen=True):
    """Everything an organization holds: two that are equal mean that nothing came of what happened between."""

    head: Head
    changes: list[Change]
    leaves: list[LeafRow]
    cuts: list[Cut]
    entries: list[ledger.Entry]
    members: list[ledger.Name]
    vouchers: list[ledger.Name]

    def events(self) -> list[dict[str, Any]]:
        """The bodies of the leaves, in their order."""
        return [msgspec.json.decode(leaf.body) for leaf in self.leaves]


class Organization(msgspec.Struct, frozen=True, eq=False):
    """One organization as a test on `node` sees it."""

    node: Node
    scope: TenantScope

    @property
    def id(self) -> str:
        """The organization's id."""
        return self.scope.org

    @property
    def reads(self) -> Reads:
        """Reads of this organization."""
        return self.node.journal.reads(self.scope)

    @asynccontextmanager
    async def begin(self, actor: Principal = SYSTEM, *, with_platform: bool = False) -> AsyncIterator[WriteSet]:
        """A write set of this organization."""
        async with self.node.journal.begin(self.scope, actor, with_platform=with_platform) as w:
            yield w

    async def add_entry(self, account: str = "cash", amount: int = 1) -> str:
        """A set that makes a revision; gives the entry's id."""
        entry = self.node.ids.new("ledger")
        async with self.begin() as w:
            ledger.add_entry(w, entry, account, amount)
        return entry

    async def add_member(self, name: str, actor: Principal = SYSTEM) -> None:
        """A set that commutes with its like."""
        async with self.begin(actor) as w:
            ledger.add_member(w, name)

    async def spend(self, voucher: str, actor: Principal = SYSTEM) -> None:
        """A set that makes no revision, and on PostgreSQL shares its transaction."""
        async with self.begin(actor) as w:
            ledger.spend(w, voucher, self.node.clock.now_ms())

    async def cut(self, branch: str) -> int:
        """End a branch; gives the revision."""
        async with self.begin() as w:
            ledger.cut(w, branch)
        return w.revision

    async def issue(self, *path: str) -> Principal:
        """A credential that descends from `path`."""
        return await ledger.issue(self.node.journal, self.node.cuts, self.scope, "user_of_a_test", path)

    async def checkpointed(self) -> CheckpointRow:
        """The newest checkpoint once it covers every leaf there is now; the sequencer has a second for it."""
        leaves = (await self.node.journal.head(self.scope)).leaves
        until = time.monotonic() + _SEQUENCED_WITHIN_S
        while True:
            rows = await self.reads.all(LAST_CHECKPOINT)
            if rows and rows[0].size >= leaves:
                return rows[0]
            assert time.monotonic() < until, f"{leaves} leaves are not under a checkpoint after {_SEQUENCED_WITHIN_S} s"
            await self.node.engine.changed(0.02)

    async def export(self, folder: Path) -> CheckpointRow:
        """The log up to its newest checkpoint, in a folder."""
        keys = await self.node.checkpoint_keys.published(self.id)
        return await log.export(self.node.journal, self.scope, SYSTEM, folder, keys)

    async def holdings(self) -> Holdings:
        """All that is here, from the primary."""
        return Holdings(
            head=await self.node.journal.head(self.scope),
            changes=await self.reads.all(CHANGES, after=0, most=_ALL),
            leaves=await self.reads.all(LEAF_ROWS, first=0, most=_ALL),
            cuts=await self.reads.all(CUTS_OF, after="", most=_ALL),
            entries=await self.reads.all(ledger.ENTRIES_OF),
            members=await self.reads.all(ledger.MEMBERS_OF),
            vouchers=await self.reads.all(ledger.VOUCHERS_OF),
        )


async def open_organization(node: Node) -> Organization:
    """A fresh organization with its log opened."""
    organization = Organization(node, scopes.of_job(node.ids.new("org")))
    async with organization.begin() as w:
        ledger.open_ledger(w)
    return organization


def on(node: Node, organization: Organization) -> Organization:
    """The same organization as another node sees it."""
    return Organization(node, organization.scope)
