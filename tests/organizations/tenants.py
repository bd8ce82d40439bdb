"""An organization with an owner, as the room itself makes it, and short words for what tests do in it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec

from tenantry.access.ceiling import Allowance, Ceiling
from tenantry.app.node import Node
from tenantry.core import scopes
from tenantry.core.principal import SYSTEM, Principal
from tenantry.core.scopes import TenantScope
from tenantry.journal import Reads, WriteSet
from tenantry.journal.schema import CUTS_OF, LEAF_ROWS
from tenantry.organizations import agents, blueprints, groups, lifecycle, services, users
from tenantry.organizations.blueprints import Declaration
from tenantry.organizations.users import Profile
from tests.stand.organizations import Organization

T = TypeVar("T")
P = ParamSpec("P")
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WIDE = Ceiling((Allowance("document", "viewer"), Allowance("document", "editor", ("1", "2"))))
NARROW = Ceiling((Allowance("document", "viewer"),))


class Tenant(msgspec.Struct, frozen=True, eq=False):
    """One organization as a test on `node` sees it."""

    node: Node
    scope: TenantScope
    owner: str

    @property
    def id(self) -> str:
        """The organization's id."""
        return self.scope.org

    @property
    def reads(self) -> Reads:
        """Reads of this organization."""
        return self.node.journal.reads(self.scope)

    @property
    def now(self) -> int:
        """The node's time, in milliseconds."""
        return self.node.clock.now_ms()

    @property
    def ledger(self) -> Organization:
        """The same as other rooms' tests see it."""
        return Organization(self.node, self.scope)

    def new(self, prefix: str) -> str:
        """A fresh id."""
        return self.node.ids.new(prefix)

    @asynccontextmanager
    async def begin(self, actor: Principal = SYSTEM, *, with_platform: bool = False) -> AsyncIterator[WriteSet]:
        """A write set of this organization."""
        async with self.node.journal.begin(self.scope, actor, with_platform=with_platform) as w:
            yield w

    async def run(
        self, use_case: Callable[Concatenate[WriteSet, Reads, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """A use case in a set of its own."""
        return await self.node.journal.run(self.scope, SYSTEM, use_case, *args, **kwargs)

    async def user(self, email: str = "anne@acme.example", name: str = "Anne") -> str:
        """A fresh user."""
        user = self.new("user")
        async with self.begin() as w:
            users.add(w, user, Profile(email, name), self.now)
        return user

    async def group(self, name: str = "", *members: str) -> str:
        """A fresh group with members."""
        group = self.new("group")
        async with self.begin() as w:
            groups.add(w, group, name or group, self.now)
            for member in members:
                groups.add_member(w, group, member, self.now)
        return group

    async def service(self, name: str = "worker") -> str:
        """A fresh service."""
        service = self.new("service")
        async with self.begin() as w:
            services.add(w, service, name, self.now)
        return service

    async def blueprint(self, ceiling: Ceiling = WIDE, *invokers: str) -> str:
        """A fresh blueprint; its agents live at most a day."""
        blueprint = self.new("blueprint")
        async with self.begin() as w:
            blueprints.add(w, blueprint, "helper", declared(ceiling, *invokers), self.now)
        return blueprint

    async def agent(self, *sponsors: str, **changed: Any) -> str:
        """A fresh agent of a fresh blueprint, the owner's if nobody else's."""
        agent = self.new("agent")
        blueprint = changed.pop("blueprint_id", None) or await self.blueprint()
        await self.run(agents.add, agent, self.an_agent(blueprint, *sponsors, **changed), self.now)
        return agent

    def an_agent(self, blueprint: str, *sponsors: str, **changed: Any) -> agents.NewAgent:
        """What an agent could be made of."""
        new = agents.NewAgent(
            blueprint_id=blueprint,
            blueprint_version=1,
            name="Helper",
            purpose="Answers questions about documents.",
            owner_id=self.owner,
            sponsors=sponsors or (self.owner,),
            ends_at_ms=self.now + HOUR_MS,
        )
        return msgspec.structs.replace(new, **changed)

    async def events(self) -> list[dict[str, Any]]:
        """The bodies of the log's leaves, in their order."""
        rows = await self.reads.all(LEAF_ROWS, first=0, most=10_000)
        return [msgspec.json.decode(row.body) for row in rows]

    async def told(self) -> list[str]:
        """The types of the log's events, in their order."""
        return [event["type"] for event in await self.events()]

    async def cuts(self) -> set[str]:
        """Every branch that was cut."""
        return {cut.id for cut in await self.reads.all(CUTS_OF, after="", most=10_000)}


def declared(ceiling: Ceiling = WIDE, *invokers: str) -> Declaration:
    """What a version of a blueprint could declare."""
    return Declaration(
        model="a-model",
        tools=("search",),
        ceiling=ceiling,
        agent_life_ms=DAY_MS,
        run_life_ms=HOUR_MS,
        invokers=invokers,
    )


async def begun(node: Node, name: str) -> Tenant:
    """A fresh organization with an owner."""
    scope, owner = scopes.of_job(node.ids.new("org")), node.ids.new("user")
    async with node.journal.begin(scope, SYSTEM, with_platform=True) as w:
        profile = Profile(f"owner@{name}.example", "The Owner")
        await lifecycle.begin(w, node.keyring, name, owner, profile, node.clock.now_ms())
    return Tenant(node, scope, owner)
