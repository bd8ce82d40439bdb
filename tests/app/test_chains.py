"""Agents that act, for a user or for themselves, on the whole server: what their records say bounds what they are told and let do."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import msgspec
import pytest

from tenantry.app.config import Config
from tenantry.core import scopes
from tenantry.oauth.assertion import TYPE
from tenantry.oauth.dpop import digest_of
from tests.app.test_authzen import Asker, asker
from tests.app.test_callers import Company, Whole, whole
from tests.oauth.keys import KeyPair

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)

MODEL = """
type user
type agent
type document
  relations
    define viewer: [user, agent]
    define editor: [user, agent]
"""
VIEW: dict[str, Any] = {"allow": [{"type": "document", "relation": "viewer"}]}
BOTH: dict[str, Any] = {"allow": [*VIEW["allow"], {"type": "document", "relation": "editor"}]}
NOBODYS = "agent_01J00000000000000000000000"


@pytest.fixture
async def server(fresh: Config) -> AsyncIterator[Whole]:
    """A whole server of this test alone."""
    async with whole(fresh) as made:
        yield made


class Made(msgspec.Struct, frozen=True):
    """An agent and its blueprint."""

    id: str
    blueprint: str


async def agent(company: Company, declared: dict[str, Any], own: dict[str, Any] | None = None) -> Made:
    """A fresh agent with a ceiling of its own within its blueprint's."""
    now = company.whole.rooms.node.clock.now_ms()
    declaration = {"model": "m", "ceiling": declared, "agent_life_ms": 3_600_000, "run_life_ms": 60_000}
    blueprint = await company.ask(
        "POST", "/v1/blueprints", json={"name": "Helper", "declaration": {**declaration, "invokers": [company.owner]}}
    )
    assert blueprint.status_code == 201, blueprint.text
    new = {
        "blueprint_id": blueprint.json()["id"],
        "blueprint_version": 1,
        "name": "Helper",
        "purpose": "Answers questions.",
        "owner_id": company.owner,
        "sponsors": [company.owner],
        "ends_at_ms": now + 3_000_000,
    }
    made = await company.ask("POST", "/v1/agents", json={**new, "ceiling": own} if own else new)
    assert made.status_code == 201, made.text
    return Made(made.json()["id"], new["blueprint_id"])


async def ask(there: Asker, operation: str, relation: str, *actors: str, subject: str = "user:anne") -> dict[str, Any]:
    """What our own interface says of a question about document 1, by everything that was written."""
    rev = (await there.company.whole.rooms.node.journal.head(scopes.of_job(there.company.org))).rev
    asked = {"subject": subject, "relation": relation, "object": "document:1", "actors": actors, "at_least": rev}
    answer = await there.company.ask("POST", f"/v1/stores/store_{there.store}/{operation}", json=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_chain_may_what_all_of_it_may_and_a_denial_names_who_says_no(server: Whole) -> None:
    there = await asker(server, MODEL, ["document:1#viewer@user:anne", "document:1#editor@user:anne"])
    wide, narrow = await agent(there.company, BOTH), await agent(there.company, BOTH, VIEW)
    small = await agent(there.company, VIEW)
    assert (await ask(there, "check", "editor", wide.id))["allowed"]
    by_own = await ask(there, "check", "editor", wide.id, narrow.id)
    assert (by_own["allowed"], by_own["because"]) == (False, f"the ceiling of {narrow.id}")
    assert [(one["kind"], one["party"]) for one in by_own["said"] if not one["allowed"]] == [("actor", narrow.id)]
    explained = await ask(there, "explain", "editor", small.id)
    assert explained["sentence"] == (
        f"No: user:anne has editor to document:1, but the ceiling of {small.id} "
        f"and the ceiling of the blueprint {small.blueprint} do not allow it."
    )
    by_subject = await ask(there, "check", "editor", wide.id, subject="user:bob")
    assert (by_subject["allowed"], by_subject["because"]) == (False, "what user:bob may do")


async def test_whoever_lost_its_access_acts_for_nobody(server: Whole) -> None:
    there = await asker(server, MODEL, ["document:1#viewer@user:anne"])
    made = await agent(there.company, VIEW)
    assert (await ask(there, "check", "viewer", made.id))["allowed"]
    ended = await there.company.ask("POST", f"/v1/agents/{made.id}/deactivate", json={})
    assert ended.status_code == 200, ended.text
    denied = await ask(there, "check", "viewer", made.id)
    assert (denied["allowed"], denied["because"]) == (False, f"inactive: {made.id}")


async def test_an_actor_of_another_organization_is_refused_like_one_that_never_was(server: Whole) -> None:
    there, globex = await asker(server, MODEL, ["document:1#viewer@user:anne"]), await server.found("Globex")
    theirs = (await agent(globex, BOTH)).id
    path = f"/v1/stores/store_{there.store}/check"
    asked = {"subject": "user:anne", "relation": "viewer", "object": "document:1"}
    refused = [await there.company.ask("POST", path, json={**asked, "actors": [one]}) for one in (theirs, NOBODYS)]
    assert [one.status_code for one in refused] == [404, 404]
    assert refused[0].json() == refused[1].json()
    many = [(await agent(there.company, VIEW)).id] * 6
    assert (await there.company.ask("POST", path, json={**asked, "actors": many[:5]})).json()["allowed"]
    assert (await there.company.ask("POST", path, json={**asked, "actors": many})).status_code == 400


async def test_an_agent_that_is_asked_about_is_bounded_by_its_record_at_every_door(server: Whole) -> None:
    there = await asker(server, MODEL)
    made, visitor = await agent(there.company, BOTH, VIEW), await let_in(there.company)
    subjects = [f"agent:{made.id}", f"agent:{visitor}", f"agent:{NOBODYS}"]
    keys = [{"user": one, "relation": r, "object": "document:1"} for one in subjects for r in ("viewer", "editor")]
    store = f"/stores/{there.store}"
    written = await there.company.ask("POST", f"{store}/write", json={"writes": {"tuple_keys": keys}})
    inside = {**there.company.inside, "Tenantry-At-Least": written.headers["Tenantry-Revision"]}

    async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await server.console.post(path, headers=inside, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    allowed = [True, False, True, False, False, False]
    assert [(await post(f"{store}/check", {"tuple_key": one}))["allowed"] for one in keys] == allowed
    checks = [{"correlation_id": str(n), "tuple_key": one} for n, one in enumerate(keys)]
    result = (await post(f"{store}/batch-check", {"checks": checks}))["result"]
    assert [result[str(n)]["allowed"] for n in range(6)] == allowed
    for relation, listed in (("viewer", ["document:1"]), ("editor", [])):
        body = {"type": "document", "relation": relation, "user": subjects[0]}
        assert (await post(f"{store}/list-objects", body))["objects"] == listed
        users = {"object": {"type": "document", "id": "1"}, "relation": relation, "user_filters": [{"type": "agent"}]}
        found = {one["object"]["id"] for one in (await post(f"{store}/list-users", users))["users"]}
        assert found == ({made.id, visitor} if relation == "viewer" else set())


async def let_in(company: Company) -> str:
    """A visiting agent that may view documents."""
    body = {"name": "V", "client_id": "https://agents.example/client.json", "ceiling": VIEW, "behind": [company.owner]}
    made = await company.ask("POST", "/v1/visiting-agents", json=body)
    assert made.status_code == 201, made.text
    return made.json()["id"]


async def test_an_agent_is_let_in_at_a_route_within_its_ceilings_and_only_a_denial_is_noted(server: Whole) -> None:
    there = await asker(server, MODEL, ["document:1#viewer@user:anne"])
    checks = {"allow": [{"type": "store", "relation": "can_check"}]}
    let_in, kept_out = await agent(there.company, checks), await agent(there.company, VIEW)
    for made in (let_in, kept_out):
        role = f"/v1/stores/store_{there.store}/roles/checker/holders/{made.id}"
        assert (await there.company.ask("PUT", role)).status_code == 204
    allowed, refused = [await (await bearer(there.company, one.id)).asks(there.store) for one in (let_in, kept_out)]
    assert (allowed.status_code, allowed.json()["allowed"]) == (200, True)
    assert (refused.status_code, "ceiling" in refused.json()["message"]) == (403, True)
    await server.rooms.log.flush()
    auditor = await (await there.company.service("auditor")).token()
    decided = (await server.client.get("/v1/decisions", headers=auditor)).json()["items"]
    noted = [(one["caller"], one["relation"], one["allowed"], one["request"]) for one in decided]
    assert noted == [
        (kept_out.id, "can_check", False, refused.headers["X-Request-Id"]),
        (let_in.id, "viewer", True, allowed.headers["X-Request-Id"]),
    ]
    assert decided[0]["because"] == f"the ceiling of {kept_out.id}"


class Bearer(msgspec.Struct, frozen=True, eq=False):
    """An agent with its token and the key that it is bound to."""

    company: Company
    pair: KeyPair
    token: str

    async def asks(self, store: str) -> httpx2.Response:
        """Whether Anne may view document 1, asked by the agent."""
        whole_, path = self.company.whole, f"/stores/{store}/check"
        url, now_ms = f"{whole_.rooms.issuer}{path}", whole_.rooms.node.clock.now_ms()
        proof = self.pair.proof(now_ms, htu=url, ath=digest_of(self.token))
        body = {"tuple_key": {"user": "user:anne", "relation": "viewer", "object": "document:1"}}
        headers = {"Authorization": f"DPoP {self.token}", "DPoP": proof}
        return await whole_.client.post(path, headers=headers, json=body)


async def bearer(company: Company, agent_id: str) -> Bearer:
    """The agent as it calls the server's own interface."""
    pair, server = KeyPair.generate(), company.whole
    jwk = {name: pair.public[name] for name in ("kty", "crv", "x", "y")}
    added = await company.ask("POST", f"/v1/agents/{agent_id}/keys", json={"jwk": jwk})
    assert added.status_code == 201, added.text
    nonce = ""
    while True:
        now_ms = server.rooms.node.clock.now_ms()
        assertion = pair.assertion(agent_id, added.json()["id"], now_ms)
        proof = {"client_assertion_type": TYPE, "client_assertion": assertion}
        form = {"grant_type": "client_credentials", "resource": server.rooms.issuer, **proof}
        headers = {"DPoP": pair.proof(now_ms, nonce=nonce or None)}
        answer = await server.client.post("/oauth/token", data=form, headers=headers)
        if nonce:
            assert answer.status_code == 200, answer.text
            return Bearer(company, pair, answer.json()["access_token"])
        nonce = answer.headers["DPoP-Nonce"]
