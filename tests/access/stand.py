"""The room on a node of a test: graphs that follow, models, the log of decisions, and ways to ask and write."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import httpx2
import msgspec

from tenantry.access.continuation import Continuation
from tenantry.access.decision_log import DecisionLog
from tenantry.access.decisions import NOW, At, Decisions
from tenantry.access.graphs import KEPT_TUPLES, Graphs
from tenantry.access.language import parse
from tenantry.access.models import Models
from tenantry.access.service import Service
from tenantry.access.sources import Ceilings, Standing, TupleSource
from tenantry.access.stores import make_store, store_of, write_model
from tenantry.access.wire import to_wire
from tenantry.access.writing import Edit, write_tuples
from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.core.clock import Clock
from tenantry.core.principal import SYSTEM, Principal
from tenantry.journal import Reads, WriteSet
from tests.access.store import key, keys
from tests.stand.http import Served
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
    ceilings: Ceilings | None = None,
    kept_tuples: int = KEPT_TUPLES,
    clock: Clock | None = None,
) -> AsyncIterator[Access]:
    """A node with the room, for the block."""
    made: list[Access] = []

    def add(node: Node) -> None:
        models = Models(node.journal)
        graphs = Graphs(node.journal, models, node.lease, node.clock, sources, kept_tuples=kept_tuples)
        node.following.add(graphs)
        log = DecisionLog(node.journal, node.clock, node.ids)
        made.append(Access(node, models, graphs, log, Decisions(graphs, models, log, standing, ceilings)))

    async with node_of(config, clock=clock, on_open=add):
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
        return await self.edit(Edit(keys(*tuples), keys(*without)))

    async def edit(self, edit: Edit) -> int:
        """Write what an edit says, again when only somebody else was faster."""
        row = await store_of(self.organization.reads, self.store)
        _, plan = await self.access.models.plan(row)

        async def use_case(w: WriteSet, reads: Reads) -> WriteSet:
            await write_tuples(w, reads, self.store, plan, edit, self.access.node.clock.now_ms())
            return w

        w = await self.access.node.journal.run(self.organization.scope, SYSTEM, use_case)
        return w.revision

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


def service_of(access: Access) -> Service:
    """What the routes are closed over."""
    node = access.node
    continuation = Continuation(node.keyring, node.incarnation.number)
    return Service(access.decisions, access.models, continuation, node.ids, node.clock, "https://id.example.com")


class Caller(msgspec.Struct, frozen=True, eq=False):
    """Somebody of an organization, over HTTP."""

    organization: Organization
    server: Served
    token: str
    id: str

    async def send(self, method: str, path: str, body: object = None, **headers: str) -> httpx2.Response:
        """One request; `headers` are named with underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent["Authorization"] = f"Bearer {self.token}"
        return await self.server.client.request(method, path, json=body, headers=sent)

    async def get(self, path: str) -> httpx2.Response:
        """Read."""
        return await self.send("GET", path)

    async def post(self, path: str, body: object, **headers: str) -> httpx2.Response:
        """Ask or write."""
        return await self.send("POST", path, body, **headers)

    async def store(self, definitions: str = DOCUMENTS) -> str:
        """A store with a model; gives the path of its routes."""
        made = await self.post("/stores", {"name": "atlas"})
        assert made.status_code == 201, made.text
        path = f"/stores/{made.json()['id']}"
        model = to_wire(parse(f"model\n  schema 1.1\n{definitions}").model)
        written = await self.post(f"{path}/authorization-models", msgspec.to_builtins(model))
        assert written.status_code == 201, written.text
        return path

    async def write(self, path: str, *tuples: str, without: tuple[str, ...] = ()) -> httpx2.Response:
        """Write and delete tuples."""
        body: dict[str, object] = {}
        if tuples:
            body["writes"] = {"tuple_keys": wire_keys(*tuples)}
        if without:
            body["deletes"] = {"tuple_keys": wire_keys(*without)}
        return await self.post(f"{path}/write", body)

    async def allows(self, path: str, question: str, **headers: str) -> bool:
        """Check."""
        (asked,) = wire_keys(question)
        answer = await self.post(f"{path}/check", {"tuple_key": asked}, **headers)
        assert answer.status_code == 200, answer.text
        return answer.json()["allowed"]


def wire_keys(*tuples: str) -> list[dict[str, str]]:
    """Tuples as the interface takes them."""
    return [{"user": one.user, "relation": one.relation, "object": one.object} for one in keys(*tuples)]


async def caller(access: Access, server: Served) -> Caller:
    """Somebody of a fresh organization, who may call everything."""
    organization = await open_organization(access.node)
    who = access.node.ids.new("service")
    server.enter(who, Principal(who, organization.id, None))
    return Caller(organization, server, who, who)
