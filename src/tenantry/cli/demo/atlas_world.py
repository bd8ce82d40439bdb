"""The product "Atlas" and its customers, as the play sets them up: three servers, an operator, two organizations with everybody in them."""

import asyncio
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from joserfc import jwk

from tenantry.app.config import HttpConfig, to_toml
from tenantry.app.enrollment import read_operator_key
from tenantry.app.setup import set_up
from tenantry.cli.demo.atlas_servers import Caller, Said, given, ran, server
from tenantry.cli.demo.stage import ALL_ROOMS, ISSUER, NODES, Stage

FILE = Path(__file__).with_name("atlas.yaml")
DAY_MS = 24 * 3_600_000


class Customer(msgspec.Struct, eq=False):
    """An organization that uses Atlas. `inside` is the operator, entered; `service` its own workload, an admin of it."""

    org: str
    inside: Caller
    people: dict[str, str] = {}
    group: str = ""
    store: str = ""
    service: Caller | None = None
    agent: Caller | None = None

    @property
    def admin(self) -> Caller:
        """Its service."""
        assert self.service is not None
        return self.service

    @property
    def robot(self) -> Caller:
        """Its agent."""
        assert self.agent is not None
        return self.agent


class World:
    """What the scenes of Atlas share. The servers end with the stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.config = stage.folder / "operator.toml"
        """What the operator's commands are told."""

        self.ats: list[httpx2.AsyncClient] = []
        self.application = ""
        self.operator: Caller
        self.backend: Caller
        self.acme: Customer
        self.globex: Customer

    @property
    def at(self) -> httpx2.AsyncClient:
        """The server that is asked where it does not matter."""
        return self.ats[0]

    async def start(self, running: AsyncExitStack) -> None:
        """Serve the deployment on PostgreSQL by three processes; the operator is whoever has the key that set-up enrolled."""
        configs = [self.stage.configured(self.stage.postgres.database, f"atlas-{n}") for n in range(1, NODES + 1)]
        for config in configs:
            await set_up(config, rooms=ALL_ROOMS)
        http = HttpConfig(listen="127.0.0.1:0")
        serving = (server(msgspec.structs.replace(one, http=http), Path(one.state)) for one in configs)
        self.ats = list(await asyncio.gather(*(running.enter_async_context(one) for one in serving)))
        http = HttpConfig(listen=f"127.0.0.1:{self.at.base_url.port}")
        reached = msgspec.structs.replace(
            configs[0], http=http, development=True
        )  # there is no proxy before the server
        self.config.write_text(to_toml(reached), encoding="utf-8")
        enrolled = read_operator_key(Path(reached.state))
        self.operator = Caller(ISSUER, enrolled.client_id, enrolled.key)
        given(await self.operator.sign_in(self.at))

    async def apply(self, file: Path) -> tuple[int, dict[str, Any]]:
        """Run `tenantry apply` on a file; how it ended and what it said."""
        return await ran("apply", str(file), "--yes", "--config", str(self.config))

    def why(self) -> str:
        """The denial that was explained, as `tenantry check` is asked for it."""
        dan, acme = self.acme.people["Dan"], self.acme
        return (
            f"{acme.store} user:{dan} can_edit document:plan --explain --organization {acme.org} --config {self.config}"
        )

    async def hire(self) -> None:
        """Atlas's own backend: a service of the platform that asks, and no more, in the store that each customer has in Atlas."""
        self.backend = await self.service_of(self.operator, "Atlas")
        path = f"/v1/applications/{self.application}/roles/checker/holders/{self.backend.id}"
        given(await self.operator.ask(self.at, "PUT", path))
        given(await self.backend.sign_in(self.at))

    async def customer(self, name: str, *people: str) -> Customer:
        """An organization with a store in Atlas; its first person is its owner, its service administers and audits it."""
        first, *others = people
        mail = name.lower()
        owner = {"email": f"{first.lower()}@{mail}.example", "display_name": first}
        begun = given(await self._own("/v1/organizations", {"name": name, "owner": owner}))
        org = begun["organization"]["id"]
        entry = given(await self._own(f"/v1/organizations/{org}/entries", {"reason": "set up"}))["id"]
        inside = self.operator.within(Tenantry_Entry=f"{org}/{entry}")
        made = Customer(org, inside, {first: begun["owner_id"]})
        for one in others:
            person = {"email": f"{one.lower()}@{mail}.example", "display_name": one}
            made.people[one] = given(await inside.ask(self.at, "POST", "/v1/users", person))["id"]
        made.group = given(await inside.ask(self.at, "POST", "/v1/groups", {"name": "Editors"}))["id"]
        store = await inside.ask(self.at, "POST", f"/v1/applications/{self.application}/stores", {"name": name})
        made.store = given(store)["id"]
        made.service = await self.service_of(inside, f"{name} sync")
        for role in ("admin", "auditor"):
            given(await inside.ask(self.at, "PUT", f"/v1/roles/{role}/holders/{made.service.id}"))
        given(await made.service.sign_in(self.at))
        return made

    async def service_of(self, by: Caller, name: str) -> Caller:
        """A service with a registered key, which it alone holds."""
        made = given(await by.ask(self.at, "POST", "/v1/services", {"name": name}))["id"]
        caller = Caller(ISSUER, made, jwk.ECKey.generate_key("P-256"))
        given(await by.ask(self.at, "POST", f"/v1/workloads/{made}/keys", {"jwk": caller.public}))
        return caller

    async def agent_of(self, customer: Customer, name: str, sponsor: str, ceiling: dict[str, Any]) -> Caller:
        """An agent with a blueprint, a sponsor and a ceiling, who proves itself by a key that its tokens are bound to."""
        kind = {"model": "any", "ceiling": ceiling, "agent_life_ms": DAY_MS, "run_life_ms": DAY_MS}
        ask, at = customer.admin.ask, self.at
        blueprint = given(await ask(at, "POST", "/v1/blueprints", {"name": name, "declaration": kind}))["id"]
        wanted = {
            "blueprint_id": blueprint,
            "blueprint_version": 1,
            "name": name,
            "purpose": "summarize documents",
            "owner_id": sponsor,
            "sponsors": [sponsor],
            "ends_at_ms": self.stage.clock.now_ms() + DAY_MS // 2,
        }
        made = given(await ask(at, "POST", "/v1/agents", wanted))["id"]
        caller = Caller(ISSUER, made, jwk.ECKey.generate_key("P-256"), bound=True)
        given(await ask(at, "POST", f"/v1/agents/{made}/keys", {"jwk": caller.public}))
        return caller

    def write(self, customer: Customer, *tuples: tuple[str, str, str]) -> Awaitable[Said]:
        """Write who has which relation to what into the customer's store."""
        named = [{"user": user, "relation": relation, "object": object_} for user, relation, object_ in tuples]
        path = f"/stores/{customer.store.removeprefix('store_')}/write"
        return customer.admin.ask(self.at, "POST", path, {"writes": {"tuple_keys": named}})

    def _own(self, path: str, body: object) -> Awaitable[Said]:
        return self.operator.ask(self.at, "POST", path, body)
