"""Who calls the whole server, and what the engine lets them do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from tenantry.app.callers import AccessDenied
from tenantry.app.config import Config
from tenantry.app.listening import beside
from tenantry.app.rooms import Rooms, open_rooms
from tenantry.core.ids import PLATFORM
from tenantry.journal.event import tag
from tests.oauth.keys import KeyPair
from tests.stand.http import Served, local_client, served

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)

MODEL = {
    "schema_version": "1.1",
    "type_definitions": [
        {"type": "user"},
        {
            "type": "doc",
            "relations": {"viewer": {"this": {}}},
            "metadata": {"relations": {"viewer": {"directly_related_user_types": [{"type": "user"}]}}},
        },
    ],
}


class Whole(msgspec.Struct, frozen=True, eq=False):
    """The whole server, with the console's client and everybody else's."""

    rooms: Rooms
    served: Served
    console: httpx2.AsyncClient

    @property
    def client(self) -> httpx2.AsyncClient:
        """Over TCP, where nobody is trusted."""
        return self.served.client

    async def found(self, name: str) -> "Company":
        """An organization, made and entered by the console."""
        body = {"name": name, "owner": {"email": "ann@example.com", "display_name": "Ann"}}
        made = (await self.console.post("/v1/organizations", json=body)).json()
        org = made["organization"]["id"]
        entry = (await self.console.post(f"/v1/organizations/{org}/entries", json={"reason": "set-up"})).json()["id"]
        return Company(self, org, made["owner_id"], {"Tenantry-Entry": f"{org}/{entry}"}, entry)


class Company(msgspec.Struct, frozen=True, eq=False):
    """An organization, and the console's entry into it."""

    whole: Whole
    org: str
    owner: str
    inside: dict[str, str]
    entry: str

    async def ask(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """As the operator who is inside."""
        return await self.whole.console.request(method, path, headers=self.inside, **more)

    async def service(self, *roles: str) -> "Service":
        """A service with a secret and these roles."""
        made = (await self.ask("POST", "/v1/services", json={"name": "worker"})).json()["id"]
        secret = (await self.ask("POST", f"/v1/workloads/{made}/secrets", json={})).json()["secret"]
        for role in roles:
            assert (await self.ask("PUT", f"/v1/roles/{role}/holders/{made}")).status_code == 204
        return Service(self.whole, made, secret)

    async def leaves(self, kind: str) -> list[dict[str, Any]]:
        """The events of a kind in its log."""
        from tenantry.core import scopes  # noqa: PLC0415
        from tests.stand.organizations import Organization  # noqa: PLC0415

        held = await Organization(self.whole.rooms.node, scopes.of_job(self.org)).holdings()
        return [event for event in held.events() if event["type"] == kind]


class Service(msgspec.Struct, frozen=True, eq=False):
    """A service that proves itself by a secret."""

    whole: Whole
    id: str
    secret: str

    async def token(self, **more: str) -> dict[str, str]:
        """The header of a token for the server's own interface."""
        issuer = self.whole.rooms.issuer
        form = {"grant_type": "client_credentials", "resource": issuer, **more}
        answer = await self.whole.client.post("/oauth/token", data=form, auth=(self.id, self.secret))
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}


@asynccontextmanager
async def whole(config: Config) -> AsyncIterator[Whole]:
    """The whole server over a deployment."""
    async with (
        open_rooms(config) as rooms,
        served(
            rooms.node, config, routes=rooms.routes(), admit=rooms.callers.admit, refused=rooms.callers.refused
        ) as running,
        local_client(beside(Path(config.database.file))) as console,
    ):
        yield Whole(rooms, running, console)


@pytest.fixture
async def server(fresh: Config) -> AsyncIterator[Whole]:
    """A whole server of this test alone."""
    async with whole(fresh) as made:
        yield made


async def test_the_console_founds_an_organization_and_enters_it_for_a_reason_that_its_log_tells(server: Whole) -> None:
    acme = await server.found("Acme")
    (entered,) = await acme.leaves("operator.entered")
    assert entered["data"]["reason"] == "set-up"
    users = await acme.ask("GET", "/v1/users")
    assert [user["id"] for user in users.json()["items"]] == [acme.owner]
    made = await acme.ask("POST", "/v1/services", json={"name": "worker"})
    (added,) = await acme.leaves("service.added")
    assert added["actor"] == [acme.entry, "console"]
    assert made.status_code == 201


async def test_outside_the_socket_nobody_is_the_console(server: Whole) -> None:
    acme = await server.found("Acme")
    for headers in ({}, acme.inside, {"Authorization": "Bearer console"}):
        assert (await server.client.get("/v1/users", headers=headers)).status_code == 401


async def test_an_entry_leads_into_its_own_organization_until_it_ends(server: Whole) -> None:
    acme, globex = await server.found("Acme"), await server.found("Globex")
    assert (await acme.ask("GET", "/v1/users")).status_code == 200
    stolen = {"Tenantry-Entry": f"{globex.org}/{acme.entry}"}
    assert (await server.console.get("/v1/users", headers=stolen)).status_code == 404
    ended = await server.console.post(f"/v1/organizations/{acme.org}/entries/{acme.entry}/end")
    assert ended.status_code == 200
    assert (await acme.ask("GET", "/v1/users")).status_code in (401, 409)
    assert (await globex.ask("GET", "/v1/users")).status_code == 200


async def test_an_operator_who_may_not_enter_any_more_is_outside_at_once(server: Whole) -> None:
    acme, backend = await server.found("Acme"), Company(server, PLATFORM, "", {}, "")
    operator = await backend.service("admin")
    token = await operator.token()
    path = f"/v1/organizations/{acme.org}/entries"
    entry = (await server.client.post(path, headers=token, json={"reason": "a ticket"})).json()["id"]
    inside = {**token, "Tenantry-Entry": f"{acme.org}/{entry}"}
    assert (await server.client.get("/v1/users", headers=inside)).status_code == 200
    assert (await server.console.delete(f"/v1/roles/admin/holders/{operator.id}")).status_code == 204
    assert (await server.client.get("/v1/users", headers=inside)).status_code == 403


async def test_a_service_may_do_what_its_role_says_and_its_organization_remembers_what_it_was_refused(
    server: Whole,
) -> None:
    acme = await server.found("Acme")
    auditor, admin = await (await acme.service("auditor")).token(), await (await acme.service("admin")).token()
    assert (await server.client.get("/v1/users", headers=auditor)).status_code == 200
    body = {"name": "another"}
    assert (await server.client.post("/v1/services", headers=admin, json=body)).status_code == 201
    refused = await server.client.post("/v1/services", headers=auditor, json=body)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    (denied,) = await acme.leaves(tag(AccessDenied))
    assert denied["data"] == {"object": f"organization:{acme.org}", "permission": "can_manage_workloads"}


async def test_who_is_refused_again_and_again_does_not_flood_the_log(server: Whole) -> None:
    acme = await server.found("Acme")
    nobody = await (await acme.service()).token()
    for _ in range(30):
        assert (await server.client.post("/v1/services", headers=nobody, json={"name": "x"})).status_code == 403
    assert len(await acme.leaves(tag(AccessDenied))) == 10


async def test_what_callers_are_refused_is_counted_and_shown_to_their_organization_alone(server: Whole) -> None:
    acme, globex = await server.found("Acme"), await server.found("Globex")
    service = await acme.service("auditor")
    token = await service.token()
    assert (await server.client.post("/v1/services", headers=token, json={"name": "x"})).status_code == 403
    assert (await server.client.get(f"/v1/users/{globex.owner}", headers=token)).status_code == 404
    await server.rooms.signals.flush()
    shown = (await server.client.get("/v1/signals", headers=token)).json()["items"]
    assert {(one["kind"], one["subject"]) for one in shown} == {("forbidden", service.id), ("unknown_id", service.id)}
    theirs = await (await globex.service("auditor")).token()
    assert (await server.client.get("/v1/signals", headers=theirs)).json()["items"] == []


async def test_a_scope_narrows_a_token_and_widens_nothing(server: Whole) -> None:
    acme = await server.found("Acme")
    service = await acme.service("auditor")
    narrow = await service.token(scope="can_read_users")
    assert (await server.client.get("/v1/users", headers=narrow)).status_code == 200
    other = await server.client.get("/v1/services", headers=narrow)
    assert (other.status_code, other.json()["code"]) == (403, "insufficient_scope")
    wide = await service.token(scope="can_read_users can_manage_users")
    made = {"email": "bob@example.com", "display_name": "Bob"}
    assert (await server.client.post("/v1/users", headers=wide, json=made)).status_code == 403


async def test_a_token_ends_with_its_service_at_once(server: Whole) -> None:
    acme = await server.found("Acme")
    kept, gone = await acme.service("auditor"), await acme.service("auditor")
    by_kept, by_gone = await kept.token(), await gone.token()
    assert (await server.client.get("/v1/users", headers=by_gone)).status_code == 200
    assert (await acme.ask("POST", f"/v1/services/{gone.id}/deactivate", json={})).status_code == 200
    assert (await server.client.get("/v1/users", headers=by_gone)).status_code == 401
    assert (await server.client.get("/v1/users", headers=by_kept)).status_code == 200


async def test_a_bound_token_is_for_whoever_proves_its_key_and_each_proof_once(server: Whole) -> None:
    acme = await server.found("Acme")
    service, pair = await acme.service("auditor"), KeyPair.generate()
    now_ms, issuer = server.rooms.node.clock.now_ms(), server.rooms.issuer
    form = {"grant_type": "client_credentials", "resource": issuer}
    asked = await server.client.post(
        "/oauth/token",
        data=form,
        auth=(service.id, service.secret),
        headers={"DPoP": pair.proof(now_ms, htu=f"{issuer}/oauth/token")},
    )
    nonce = asked.headers["DPoP-Nonce"]
    proof = pair.proof(now_ms, htu=f"{issuer}/oauth/token", nonce=nonce)
    answer = await server.client.post(
        "/oauth/token", data=form, auth=(service.id, service.secret), headers={"DPoP": proof}
    )
    token = answer.json()["access_token"]

    def headers(by: KeyPair, path: str = "/v1/users") -> dict[str, str]:
        from tenantry.oauth.dpop import digest_of  # noqa: PLC0415

        made = by.proof(now_ms, htm="GET", htu=f"{issuer}{path}", ath=digest_of(token))
        return {"Authorization": f"DPoP {token}", "DPoP": made}

    first = headers(pair)
    assert (await server.client.get("/v1/users", headers=first)).status_code == 200
    assert (await server.client.get("/v1/users", headers=first)).status_code == 401
    assert (await server.client.get("/v1/users", headers=headers(KeyPair.generate()))).status_code == 401
    assert (await server.client.get("/v1/users", headers=headers(pair, "/v1/services"))).status_code == 401
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await server.client.get("/v1/users", headers=bearer)).status_code == 401


async def test_a_platforms_service_asks_in_the_store_of_each_organization_that_uses_its_application(
    server: Whole,
) -> None:
    """The application's model is the platform's, the tuples are each organization's, and nobody else's."""
    kind = {"name": "Atlas", "kind": "first_party"}
    atlas = (await server.console.post("/v1/applications", json=kind)).json()["id"]
    acme, globex = await server.found("Acme"), await server.found("Globex")
    stores = {}
    for company in (acme, globex):
        made = await company.ask("POST", f"/v1/applications/{atlas}/stores", json={"name": "Atlas"})
        assert made.status_code == 201, made.text
        stores[company.org] = made.json()["id"].removeprefix("store_")
    backend = Company(server, PLATFORM, "", {}, "")
    service = await backend.service()
    token = await service.token()
    question = {"tuple_key": {"user": "user:anne", "relation": "viewer", "object": "doc:1"}}

    async def status(org: str, store: str) -> int:
        headers = {**token, "Tenantry-Organization": org}
        return (await server.client.post(f"/stores/{store}/check", headers=headers, json=question)).status_code

    assert await status(acme.org, stores[acme.org]) == 403
    path = f"/v1/applications/{atlas}/roles/checker/holders/{service.id}"
    assert (await server.console.put(path)).status_code == 204
    assert await status(acme.org, stores[acme.org]) == 400  # there is no model yet
    assert await status(acme.org, stores[globex.org]) == 404
    private = (await acme.ask("POST", "/stores", json={"name": "private"})).json()["id"]
    assert await status(acme.org, private) == 404
    await acme.ask("POST", f"/stores/{private}/authorization-models", json=MODEL)
    assert await status(acme.org, private) == 404
