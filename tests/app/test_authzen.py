"""AuthZEN's Authorization API 1.0 on the whole server: its interop payloads, which store is meant, and what is no answer.

The policies of the payloads are in `tests/data/authzen-interop/SOURCE.md`; here they are models and tuples.
"""

import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

import tenantry_sdk as sdk
from tenantry.access.language import parse
from tenantry.access.wire import to_wire
from tenantry.app.config import Config
from tenantry.core.ids import PLATFORM
from tests.app.test_callers import Company, Whole, whole

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)

INTEROP = Path(__file__).parents[1] / "data" / "authzen-interop"

DOCUMENTS = """
type user
type document
  relations
    define viewer: [user]
    define editor: [user with on_weekdays]
    define gone: [user] and viewer

condition on_weekdays(day: string, resource_open: bool) {
  day != "sunday" && resource_open
}
"""


@pytest.fixture
async def server(fresh: Config) -> AsyncIterator[Whole]:
    """A whole server of this test alone."""
    async with whole(fresh) as made:
        yield made


class Asker(msgspec.Struct, frozen=True, eq=False):
    """An organization's service that may ask in its store."""

    company: Company
    store: str
    headers: dict[str, str]

    async def ask(self, path: str, body: object, **more: str) -> httpx2.Response:
        """As the service; further headers are named with underscores."""
        headers = {**self.headers, **{name.replace("_", "-"): value for name, value in more.items()}}
        return await self.company.whole.client.post(f"/access/v1/{path}", headers=headers, json=body)

    async def decides(self, body: object) -> bool:
        """The decision on one question."""
        answer = await self.ask("evaluation", body)
        assert answer.status_code == 200, answer.text
        return answer.json()["decision"]


def wire_key(text: str) -> dict[str, str]:
    """A tuple; objects and users may be addresses, with an @ of their own."""
    object_, _, rest = text.partition("#")
    relation, _, user = rest.partition("@")
    return {"user": user, "relation": relation, "object": object_}


async def make_store(company: Company, model: str, tuples: Iterable[str]) -> str:
    """A store with a model and tuples."""
    store = (await company.ask("POST", "/stores", json={"name": "atlas"})).json()["id"]
    body = msgspec.to_builtins(to_wire(parse(f"model\n  schema 1.1\n{model}").model))
    written = await company.ask("POST", f"/stores/{store}/authorization-models", json=body)
    assert written.status_code == 201, written.text
    keys = [wire_key(one) for one in tuples]
    for first in range(0, len(keys), 100):
        writes = {"writes": {"tuple_keys": keys[first : first + 100]}}
        answer = await company.ask("POST", f"/stores/{store}/write", json=writes)
        assert answer.status_code == 200, answer.text
    return store


async def asker(server: Whole, model: str = DOCUMENTS, tuples: Iterable[str] = (), name: str = "Acme") -> Asker:
    """An organization with one store, and a service that may ask there."""
    company = await server.found(name)
    store = await make_store(company, model, tuples)
    service = await company.service()
    role = f"/v1/stores/store_{store}/roles/checker/holders/{service.id}"
    assert (await company.ask("PUT", role)).status_code == 204
    return Asker(company, store, await service.token())


def question(subject: str, action: str, resource: str, **more: object) -> dict[str, Any]:
    """One question."""
    (subject_type, subject_id), (type_, id_) = subject.split(":"), resource.split(":")
    return {
        "subject": {"type": subject_type, "id": subject_id},
        "action": {"name": action},
        "resource": {"type": type_, "id": id_},
        **more,
    }


def payload(name: str) -> dict[str, list[dict[str, Any]]]:
    """The questions of a file, with their answers."""
    return json.loads((INTEROP / name).read_text())


TODO = """
type user
  relations
    define can_read_user: [user:*]
type system
  relations
    define evil_genius: [user]
    define admin: [user]
    define editor: [user] or admin
    define viewer: [user] or editor
type todo
  relations
    define system: [system]
    define owner: [user]
    define can_read_todos: viewer from system
    define can_create_todo: editor from system
    define editing_owner: owner and can_create_todo
    define can_update_todo: editing_owner or evil_genius from system
    define can_delete_todo: editing_owner or admin from system
"""
PEOPLE = {"rick": "0", "morty": "1", "summer": "2", "beth": "3", "jerry": "4"}
ROLES = {
    "rick": ("admin", "evil_genius"),
    "morty": ("editor",),
    "summer": ("editor",),
    "beth": ("viewer",),
    "jerry": ("viewer",),
}


def opaque(name: str) -> str:
    """The id of one of the people in the payloads."""
    return f"CiRmZD{'AEIMQ'[int(PEOPLE[name])]}2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs"


def todo_tuples(cases: list[dict[str, Any]], *, by_address: bool) -> set[str]:
    """The policy, over the users and todos of these questions."""
    addresses = {one["request"]["subject"]["id"] for one in cases} if by_address else set[str]()
    found: set[str] = set()

    def ids(name: str) -> list[str]:
        return [one for one in addresses if one.startswith(name)] if by_address else [opaque(name)]

    for name, roles in ROLES.items():
        found |= {f"system:todos#{role}@user:{one}" for role in roles for one in ids(name)}
    for case in cases:
        resource = case["request"]["resource"]
        thing = f"{resource['type']}:{resource['id']}"
        if resource["type"] == "user":
            found.add(f"{thing}#can_read_user@user:*")
            continue
        found.add(f"{thing}#system@system:todos")
        owner = resource.get("properties", resource).get("ownerID", "")
        if owner:
            found |= {f"{thing}#owner@user:{one}" for one in ids(owner.partition("@")[0])}
    return found


@pytest.mark.parametrize("version", ["00", "01", "02"])
async def test_the_todo_payloads_are_decided_as_the_interop_expects(server: Whole, version: str) -> None:
    cases = payload(f"todo/decisions-authorization-api-1_0-{version}.json")
    singles = cases["evaluation"]
    there = await asker(server, TODO, todo_tuples(singles, by_address=version == "00"))
    assert len(singles) == 40
    for one in singles:
        assert await there.decides(one["request"]) is one["expected"], one["request"]
    for many in cases.get("evaluations", []):
        answer = await there.ask("evaluations", many["request"])
        assert answer.json()["evaluations"] == many["expected"]


GATEWAY = """
type identity
type role
  relations
    define holder: [identity]
type route
  relations
    define GET: [role#holder]
    define POST: [role#holder]
    define PUT: [role#holder]
    define DELETE: [role#holder]
"""


async def test_the_gateway_payloads_are_decided_as_the_interop_expects(server: Whole) -> None:
    cases = payload("gateway/decisions.json")["evaluation"]
    tuples = {f"role:{role}#holder@identity:{opaque(name)}" for name, roles in ROLES.items() for role in roles}
    for role in ("viewer", "editor", "admin", "evil_genius"):
        tuples |= {f"route:{path}#GET@role:{role}#holder" for path in ("/users/{userId}", "/todos")}
        if role != "viewer":
            tuples |= {f"route:/todos#POST@role:{role}#holder"}
            tuples |= {f"route:/todos/{{todoId}}#{verb}@role:{role}#holder" for verb in ("PUT", "DELETE")}
    there = await asker(server, GATEWAY, tuples)
    assert len(cases) == 25
    for one in cases:
        assert await there.decides(one["request"]) is one["expected"], one["request"]


RECORDS = """
type user
type company
  relations
    define manager: [user]
type department
  relations
    define company: [company]
    define member: [user]
    define managed: member and manager from company
    define manager: manager from company
type record
  relations
    define owner: [user]
    define department: [department]
    define view: owner or member from department or manager from department
    define edit: owner or managed from department
    define delete: owner
"""
OWNERS = {
    "alice": "Sales",
    "bob": "Legal",
    "carol": "Legal",
    "dan": "Finance",
    "erin": "Finance",
    "felix": "Accounting",
}
DEPARTMENTS = [
    *("Legal", "Legal", "Legal", "Accounting", "Legal", "Accounting", "Sales", "Legal", "Accounting", "Sales"),
    *("Accounting", "Legal", "Sales", "Accounting", "Finance", "Legal", "Legal", "Accounting", "Legal", "Accounting"),
]
"""Of the records 101 to 120, which are owned in turn."""


def record_tuples() -> set[str]:
    """The policy of the searches."""
    found = {f"company:all#manager@user:{name}" for name in ("alice", "dan")}
    for name, department in OWNERS.items():
        found |= {f"department:{department}#member@user:{name}", f"department:{department}#company@company:all"}
    for n, department in enumerate(DEPARTMENTS):
        found |= {
            f"record:{101 + n}#owner@user:{[*OWNERS][n % 6]}",
            f"record:{101 + n}#department@department:{department}",
        }
    return found


async def test_the_search_payloads_find_what_the_interop_expects(server: Whole) -> None:
    there = await asker(server, RECORDS, record_tuples())
    for kind, count in (("subject", 60), ("resource", 18)):
        cases = payload(f"search/{kind}.json")["evaluation"]
        assert len(cases) == count
        for one in cases:
            answer = await there.ask(f"search/{kind}", one["request"])
            found = answer.json()
            assert found["results"] == one["expected"]["results"], one["request"]
            assert found["page"] == {"next_token": ""}


async def test_a_search_for_actions_names_the_relations_that_the_subject_has(server: Whole) -> None:
    there = await asker(server, RECORDS, record_tuples())
    asked = {"subject": {"type": "user", "id": "alice"}, "resource": {"type": "record", "id": "101"}}
    found = (await there.ask("search/action", asked)).json()["results"]
    assert [one["name"] for one in found] == ["delete", "edit", "owner", "view"]
    asked["subject"]["id"] = "nobody"
    assert (await there.ask("search/action", asked)).json()["results"] == []


async def test_a_search_goes_on_page_by_page_and_with_the_same_question_alone(server: Whole) -> None:
    there = await asker(server, RECORDS, record_tuples())
    asked = {"subject": {"type": "user", "id": "alice"}, "action": {"name": "view"}, "resource": {"type": "record"}}
    token, found = "", list[str]()
    while True:
        page = (await there.ask("search/resource", {**asked, "page": {"token": token, "limit": 7}})).json()
        found += [one["id"] for one in page["results"]]
        token = page["page"]["next_token"] or token
        if not page["page"]["next_token"]:
            break
    assert found == [str(n) for n in range(101, 121)]
    other = {**asked, "action": {"name": "edit"}, "page": {"token": token, "limit": 7}}
    assert (await there.ask("search/resource", other)).status_code == 400


@pytest.mark.parametrize(
    ("semantic", "decisions"),
    [
        ("execute_all", [True, False, True, False]),
        ("deny_on_first_deny", [True, False]),
        ("permit_on_first_permit", [True]),
    ],
)
async def test_many_questions_are_asked_until_one_is_decided_as_their_semantic_says(
    server: Whole, semantic: str, decisions: list[bool]
) -> None:
    there = await asker(server, tuples=[f"document:{n}#viewer@user:anne" for n in (1, 3)])
    parts = [{"resource": {"type": "document", "id": str(n)}} for n in (1, 2, 3, 4)]
    body = question("user:anne", "viewer", "document:0", evaluations=parts)
    answer = await there.ask("evaluations", {**body, "options": {"evaluations_semantic": semantic}})
    assert [one["decision"] for one in answer.json()["evaluations"]] == decisions


async def test_of_many_questions_one_without_an_answer_is_denied_and_says_why(server: Whole) -> None:
    there = await asker(server, tuples=["document:1#viewer@user:anne"])
    whole_ = question("user:anne", "viewer", "document:1")
    parts = [whole_, {**whole_, "action": {"name": "nothing"}}, {"subject": whole_["subject"]}, whole_]
    evaluated = (await there.ask("evaluations", {"evaluations": parts})).json()["evaluations"]
    assert [one["decision"] for one in evaluated] == [True, False, False, True]
    assert [one.get("context", {}).get("error", {}).get("status") for one in evaluated] == [None, 400, 400, None]
    one = await there.ask("evaluations", whole_)
    assert one.json() == {"decision": True}
    assert (await there.ask("evaluations", {"subject": whole_["subject"]})).status_code == 400


async def test_what_context_and_properties_say_is_known_to_conditions(server: Whole) -> None:
    there = await asker(server)
    editor = {"user": "user:anne", "relation": "editor", "object": "document:1", "condition": {"name": "on_weekdays"}}
    writes = {"writes": {"tuple_keys": [editor]}}
    assert (await there.company.ask("POST", f"/stores/{there.store}/write", json=writes)).status_code == 200
    asked = question("user:anne", "editor", "document:1", context={"day": "monday"})
    for open_ in (True, False):
        asked["resource"]["properties"] = {"open": open_}
        assert await there.decides(asked) is open_
    undecided = await there.ask("evaluation", question("user:anne", "editor", "document:1"))
    assert undecided.status_code == 400
    assert isinstance(undecided.json(), str)


WRONG: dict[str, dict[str, Any]] = {
    "no subject": {"subject": msgspec.UNSET},
    "no id": {"subject": {"type": "user"}},
    "a userset": {"subject": {"type": "user", "id": "anne#viewer"}},
    "everybody": {"subject": {"type": "user", "id": "*"}},
    "two names": {"resource": {"type": "document", "id": "1:2"}},
    "a type within": {"subject": {"type": "user:a", "id": "anne"}},
    "no such action": {"action": {"name": "nothing"}},
    "no such type": {"resource": {"type": "nothing", "id": "1"}},
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_is_no_question_is_refused_in_a_sentence_and_never_decided(server: Whole, name: str) -> None:
    there = await asker(server, tuples=["document:1#viewer@user:anne"])
    right = question("user:anne", "viewer", "document:1", more="ignored")
    assert await there.decides(right)
    wrong = {key: value for key, value in {**right, **WRONG[name]}.items() if value is not msgspec.UNSET}
    refused = await there.ask("evaluation", wrong)
    assert refused.status_code == 400
    assert isinstance(refused.json(), str)


async def test_of_several_stores_one_is_named_and_the_permission_counts_there_alone(server: Whole) -> None:
    there = await asker(server, tuples=["document:1#viewer@user:anne"])
    asked = question("user:anne", "viewer", "document:1")
    assert await there.decides(asked)
    second = await make_store(there.company, DOCUMENTS, ["document:1#viewer@user:anne"])
    unnamed = await there.ask("evaluation", asked)
    assert (unnamed.status_code, "Tenantry-Store" in unnamed.json()) == (400, True)
    for name in (there.store, f"store_{there.store}"):
        assert (await there.ask("evaluation", asked, Tenantry_Store=name)).json() == {"decision": True}
    assert (await there.ask("evaluation", asked, Tenantry_Store=second)).status_code == 403
    assert (await there.ask("evaluation", asked, Tenantry_Store="other")).status_code == 404


async def test_the_store_of_another_organization_is_answered_like_one_that_never_was(server: Whole) -> None:
    there, globex = await asker(server), await asker(server, tuples=["document:1#viewer@user:anne"], name="Globex")
    asked = question("user:anne", "viewer", "document:1")
    theirs = await there.ask("evaluation", asked, Tenantry_Store=globex.store)
    never = await there.ask("evaluation", asked, Tenantry_Store="01J00000000000000000000000")
    assert (theirs.status_code, theirs.json()) == (never.status_code, never.json())
    assert theirs.status_code == 403


async def test_the_configuration_names_addresses_that_answer_and_an_answer_carries_the_id_of_its_request(
    server: Whole,
) -> None:
    there = await asker(server, tuples=["document:1#viewer@user:anne"])
    said = (await server.client.get("/.well-known/authzen-configuration")).json()
    assert said["policy_decision_point"] == server.rooms.issuer
    path = said["access_evaluation_endpoint"].removeprefix(f"{server.rooms.issuer}/access/v1/")
    answer = await there.ask(path, question("user:anne", "viewer", "document:1"), X_Request_ID="mine-1")
    assert (answer.status_code, answer.headers["X-Request-ID"]) == (200, "mine-1")


async def test_the_sdk_decides_in_authzens_words(server: Whole) -> None:
    there = await asker(server, tuples=["document:1#viewer@user:anne"])
    await make_store(there.company, DOCUMENTS, [])
    token = sdk.Token(there.headers["Authorization"].removeprefix("Bearer "))
    async with sdk.Client(str(server.client.base_url), credential=token, store=there.store) as client:
        assert await client.decide(("user", "anne"), "viewer", ("document", "1"))
        assert not await client.decide(("user", "bob"), "viewer", ("document", "1"))
        with pytest.raises(sdk.Refused):
            await client.decide(("user", "anne"), "nothing", ("document", "1"))
    async with sdk.Client(str(server.client.base_url), credential=token) as client:
        with pytest.raises(sdk.Refused):
            await client.decide(("user", "anne"), "viewer", ("document", "1"))


async def test_a_platforms_service_asks_in_the_store_of_the_organization_that_it_names(server: Whole) -> None:
    kind = {"name": "Atlas", "kind": "first_party"}
    atlas = (await server.console.post("/v1/applications", json=kind)).json()["id"]
    acme, globex = await server.found("Acme"), await server.found("Globex")
    stores = {}
    for company in (acme, globex):
        made = await company.ask("POST", f"/v1/applications/{atlas}/stores", json={"name": "Atlas"})
        stores[company.org] = made.json()["id"]
    service = await Company(server, PLATFORM, "", {}, "").service()
    path = f"/v1/applications/{atlas}/roles/checker/holders/{service.id}"
    assert (await server.console.put(path)).status_code == 204
    token = await service.token()

    async def answer(org: str, **headers: str) -> tuple[int, str]:
        sent = {**token, "Tenantry-Organization": org, **{name.replace("_", "-"): v for name, v in headers.items()}}
        body = question("user:anne", "viewer", "document:1")
        got = await server.client.post("/access/v1/evaluation", headers=sent, json=body)
        return got.status_code, got.json()

    admitted = await answer(acme.org)
    assert (admitted[0], "No authorization models" in admitted[1]) == (400, True)
    assert await answer(acme.org, Tenantry_Store=stores[acme.org]) == admitted
    assert (await answer(acme.org, Tenantry_Store=stores[globex.org]))[0] == 404
    private = await make_store(acme, DOCUMENTS, [])
    assert (await answer(acme.org, Tenantry_Store=private))[0] == 404
    unnamed = await answer(acme.org)
    assert (unnamed[0], "Tenantry-Store" in unnamed[1]) == (400, True)
