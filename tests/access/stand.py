"""The room on a node of a test: graphs that follow, models, the log of decisions, and ways to ask and write."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import msgspec

from tenantry.access.decision_log import DecisionLog
from tenantry.access.decisions import NOW, At, Decisions
from tenantry.access.graphs import KEPT_TUPLES, Graphs
from tenantry.access.language import parse
from tenantry.access.models import Models
from tenantry.access.sources import Standing, TupleSource
from tenantry.access.stores import make_store, store_of, write_model
from tenantry.access.writing import Edit, Written, write_tuples
from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.core.principal import SYSTEM
from tenantry.journal import Reads, WriteSet
from tests.access.store import key, keys
from tests.stand.nodes import node_of
from tests.stand.organizations import Organization, open_organization

DOCUMENTS = """
type user
type group
  relations
    define member: [user, group#member]
type folder
  relations
    define viewer: [user, group#member]
type document
  relations
    define parent: [folder]
    define banned: [user]
    define viewer: [user, user:*, group#member] or viewer from parent
    define reader: viewer but not banned
"""


class Access(msgspec.Struct, frozen=True, eq=False):
    """The room on one node."""

    node: Node
    models: Models
    graphs: Graphs
    log: DecisionLog
    decisions: Decisions


@asynccontextmanager
async def access_on(
    config: Config,
    *,
    sources: Iterable[TupleSource] = (),
    standing: Standing | None = None,
    kept_tuples: int = KEPT_TUPLES,
) -> AsyncIterator[Access]:
    """A node with the room, for the block."""
    made: list[Access] = []

    def add(node: Node) -> None:
        models = Models(node.journal)
        graphs = Graphs(node.journal, models, node.lease, node.clock, sources, kept_tuples=kept_tuples)
        node.following.add(graphs)
        log = DecisionLog(node.journal, node.clock, node.ids)
        made.append(Access(node, models, graphs, log, Decisions(graphs, models, log, standing)))

    async with node_of(config, on_open=add):
        (access,) = made
        access.log.start()
        try:
            yield access
        finally:
            await access.graphs.close()
            access.decisions.close()
            await access.log.close()


class Tenant(msgspec.Struct, frozen=True, eq=False):
    """An organization with a store, as a test on `access` sees it."""

    access: Access
    organization: Organization
    store: str

    async def write(self, *tuples: str, without: tuple[str, ...] = ()) -> int:
        """Write and delete tuples in one set; gives the revision."""
        return await self.edit(Edit(tuple(Written(one) for one in keys(*tuples)), keys(*without)))

    async def edit(self, edit: Edit) -> int:
        """Write what an edit says, again when only somebody else was faster."""
        row = await store_of(self.organization.reads, self.store)
        _, plan = await self.access.models.plan(row)
        revision = 0

        async def use_case(w: WriteSet, reads: Reads) -> WriteSet:
            await write_tuples(w, reads, self.store, plan, edit, self.access.node.clock.now_ms())
            return w

        w = await self.access.node.journal.run(self.organization.scope, SYSTEM, use_case)
        return w.revision or revision

    async def allows(self, question: str, *, at_least: int = 0, contextual: tuple[str, ...] = ()) -> bool:
        """Check, at a revision or now."""
        decision = await self.access.decisions.check(
            self.organization.scope,
            self.store,
            key(question),
            contextual=keys(*contextual),
            at=At(revision=at_least) if at_least else NOW,
        )
        return decision.allowed


async def tenant(access: Access, definitions: str = DOCUMENTS, *, name: str = "atlas") -> Tenant:
    """A fresh organization with a store and a model."""
    organization = await open_organization(access.node)
    async with organization.begin() as w:
        store = make_store(w, access.node.ids, name, access.node.clock.now_ms())
    model = parse(f"model\n  schema 1.1\n{definitions}").model
    async with organization.begin() as w:
        write_model(w, access.node.ids, store, model, access.node.clock.now_ms())
    return Tenant(access, organization, store.id)


def on(access: Access, there: Tenant) -> Tenant:
    """The same store as another node sees it."""
    return Tenant(access, Organization(access.node, there.organization.scope), there.store)
