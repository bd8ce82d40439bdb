"""OpenFGA's HTTP API, over HTTP: what it takes, gives and refuses, and in which words."""

import asyncio

import msgspec
import pytest

from tenantry.access.continuation import Continuation, InvalidToken, Listing
from tenantry.access.limits import LIST_MAX
from tenantry.access.system import SYSTEM_STORE, system_model
from tenantry.core.ids import ulid
from tests.access.stand import Access, Caller, wire_keys
from tests.access.store import keys

NOWHERE = "01J00000000000000000000000"


async def test_a_store_is_made_read_listed_and_removed(acme: Caller) -> None:
    made = await acme.post("/stores", {"name": "atlas"})
    store = made.json()
    assert (made.status_code, set(store)) == (201, {"id", "name", "created_at", "updated_at"})
    assert (await acme.get(f"/stores/{store['id']}")).json() == store
    assert (await acme.get("/stores")).json() == {"stores": [store], "continuation_token": ""}
    assert (await acme.send("DELETE", f"/stores/{store['id']}")).status_code == 204
    gone = await acme.get(f"/stores/{store['id']}")
    assert (gone.status_code, gone.json()["code"]) == (404, "store_id_not_found")
    assert (await acme.get("/stores")).json()["stores"] == []


async def test_stores_are_listed_page_by_page_and_by_name(acme: Caller) -> None:
    names = [f"store {n}" for n in range(5)]
    for name in names:
        await acme.post("/stores", {"name": name})
    listed, token = [], ""
    while True:
        page = (await acme.get(f"/stores?page_size=2&continuation_token={token}")).json()
        listed += [one["name"] for one in page["stores"]]
        token = page["continuation_token"]
        if not token:
            break
    assert listed == names
    named = (await acme.get("/stores?name=store%203")).json()
    assert [one["name"] for one in named["stores"]] == ["store 3"]


async def test_a_model_is_a_version_and_the_newest_decides(acme: Caller) -> None:
    path = await acme.store("type user\ntype document\n  relations\n    define viewer: [user]\n")
    await acme.write(path, "document:1#viewer@user:anne")
    first = (await acme.get(f"{path}/authorization-models")).json()["authorization_models"][0]
    assert first["type_definitions"][0]["type"] == "user"
    second = {**{k: v for k, v in first.items() if k != "id"}, "type_definitions": [{"type": "user"}]}
    written = await acme.post(f"{path}/authorization-models", second)
    listed = (await acme.get(f"{path}/authorization-models")).json()["authorization_models"]
    assert [one["id"] for one in listed] == [written.json()["authorization_model_id"], first["id"]]
    one = (await acme.get(f"{path}/authorization-models/{first['id']}")).json()
    assert one == {"authorization_model": first}
    (asked,) = wire_keys("document:1#viewer@user:anne")
    newest = await acme.post(f"{path}/check", {"tuple_key": asked})
    assert (newest.status_code, newest.json()["code"]) == (400, "validation_error")
    older = await acme.post(f"{path}/check", {"tuple_key": asked, "authorization_model_id": first["id"]})
    assert older.json() == {"allowed": True, "resolution": ""}
    assert older.headers["Openfga-Authorization-Model-Id"] == first["id"]


async def test_a_model_that_does_not_stand_is_not_written(acme: Caller) -> None:
    path = await acme.store()
    wrong = {
        "schema_version": "1.1",
        "type_definitions": [{"type": "a", "relations": {"r": {"computedUserset": {"relation": "nothing"}}}}],
    }
    refused = await acme.post(f"{path}/authorization-models", wrong)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_authorization_model")
    assert len((await acme.get(f"{path}/authorization-models")).json()["authorization_models"]) == 1


async def test_a_store_without_a_model_and_a_model_that_is_not_there_have_names(acme: Caller) -> None:
    made = await acme.post("/stores", {"name": "atlas"})
    (asked,) = wire_keys("document:1#viewer@user:anne")
    none = await acme.post(f"/stores/{made.json()['id']}/check", {"tuple_key": asked})
    assert (none.status_code, none.json()["code"]) == (400, "latest_authorization_model_not_found")
    path = await acme.store()
    unknown = await acme.post(f"{path}/check", {"tuple_key": asked, "authorization_model_id": NOWHERE})
    assert (unknown.status_code, unknown.json()["code"]) == (400, "authorization_model_not_found")


async def test_what_was_written_is_decided_at_once_when_the_revision_is_named(acme: Caller) -> None:
    path = await acme.store()
    written = await acme.write(path, "document:1#viewer@user:anne")
    assert (written.status_code, written.json()) == (200, {})
    rev = written.headers["Tenantry-Revision"]
    assert await acme.allows(path, "document:1#viewer@user:anne", Tenantry_At_Least=rev)
    removed = await acme.write(path, without=("document:1#viewer@user:anne",))
    (asked,) = wire_keys("document:1#viewer@user:anne")
    body = {"tuple_key": asked, "consistency": "HIGHER_CONSISTENCY"}
    answer = await acme.post(f"{path}/check", body)
    assert answer.json()["allowed"] is False
    assert int(answer.headers["Tenantry-Revision"]) >= int(removed.headers["Tenantry-Revision"])


WRITES = {
    "duplicate": (["document:1#viewer@user:a"] * 2, [], "cannot_allow_duplicate_tuples_in_one_request"),
    "both": (
        ["document:1#viewer@user:a"],
        ["document:1#viewer@user:a"],
        "cannot_allow_duplicate_tuples_in_one_request",
    ),
    "nothing": ([], [], "invalid_write_input"),
    "existing": (["document:1#viewer@user:there", "document:1#viewer@user:b"], [], "write_failed_due_to_invalid_input"),
    "missing": (["document:1#viewer@user:b"], ["document:1#viewer@user:c"], "write_failed_due_to_invalid_input"),
    "too many": ([f"document:{n}#viewer@user:a" for n in range(101)], [], "exceeded_entity_limit"),
    "unknown type": (["nothing:1#viewer@user:a"], [], "validation_error"),
    "unknown relation": (["document:1#nothing@user:a"], [], "validation_error"),
    "not assignable": (["document:1#reader@user:a"], [], "validation_error"),
    "implicit": (["group:1#member@group:1#member"], [], "validation_error"),
    "malformed": (["document:1#viewer@anne"], [], "validation_error"),
}


@pytest.mark.parametrize("name", WRITES)
async def test_a_write_that_is_refused_writes_nothing(acme: Caller, name: str) -> None:
    writes, deletes, code = WRITES[name]
    path = await acme.store()
    await acme.write(path, "document:1#viewer@user:there")
    refused = await acme.write(path, *writes, without=tuple(deletes))
    assert (refused.status_code, refused.json()["code"]) == (400, code)
    left = (await acme.post(f"{path}/read", {})).json()["tuples"]
    assert [one["key"]["user"] for one in left] == ["user:there"]


async def test_a_hundred_tuples_are_written_at_once(acme: Caller) -> None:
    path = await acme.store()
    assert (await acme.write(path, *(f"document:{n}#viewer@user:a" for n in range(100)))).status_code == 200


async def test_what_is_to_be_ignored_is_ignored_and_the_rest_is_written(acme: Caller) -> None:
    path = await acme.store()
    await acme.write(path, "document:1#viewer@user:there")
    body = {
        "writes": {
            "tuple_keys": wire_keys("document:1#viewer@user:there", "document:1#viewer@user:new"),
            "on_duplicate": "ignore",
        },
        "deletes": {"tuple_keys": wire_keys("document:1#viewer@user:gone"), "on_missing": "ignore"},
    }
    for _ in range(2):
        assert (await acme.post(f"{path}/write", body)).status_code == 200
    left = (await acme.post(f"{path}/read", {})).json()["tuples"]
    assert [one["key"]["user"] for one in left] == ["user:new", "user:there"]


async def test_many_who_write_the_same_tuple_are_one_writer_and_refusals(acme: Caller) -> None:
    path = await acme.store()
    answers = await asyncio.gather(*(acme.write(path, "document:1#viewer@user:anne") for _ in range(10)))
    assert sorted(one.status_code for one in answers) == [200] + [400] * 9
    changes = (await acme.get(f"{path}/changes")).json()["changes"]
    assert len(changes) == 1


async def test_tuples_are_read_by_object_by_user_and_all_page_by_page(acme: Caller) -> None:
    path = await acme.store()
    every = [f"document:{n}#viewer@user:{who}" for n in range(4) for who in ("anne", "bob")]
    await acme.write(path, *every, "folder:1#viewer@user:anne")

    async def read(**tuple_key: str) -> list[str]:
        found, token = [], ""
        while True:
            body = {"page_size": 3, "continuation_token": token}
            page = (await acme.post(f"{path}/read", {**body, "tuple_key": tuple_key} if tuple_key else body)).json()
            found += [f"{t['key']['object']}#{t['key']['relation']}@{t['key']['user']}" for t in page["tuples"]]
            token = page["continuation_token"]
            if not token:
                return found

    assert await read() == [*every, "folder:1#viewer@user:anne"]
    assert await read(object="document:2") == every[4:6]
    assert await read(object="document:", user="user:anne") == every[::2]
    assert await read(object="document:2", user="user:bob", relation="viewer") == [every[5]]
    refused = await acme.post(f"{path}/read", {"tuple_key": {"object": "document:"}})
    assert (refused.status_code, refused.json()["code"]) == (400, "validation_error")


async def test_changes_are_read_in_order_and_the_token_leads_on(acme: Caller) -> None:
    path = await acme.store()
    await acme.write(path, "document:1#viewer@user:anne", "folder:1#viewer@user:anne")
    await acme.write(path, without=("document:1#viewer@user:anne",))
    token, seen = "", []
    for _ in range(4):
        page = (await acme.get(f"{path}/changes?page_size=1&continuation_token={token}")).json()
        seen += [(c["tuple_key"]["object"], c["operation"]) for c in page["changes"]]
        token = page["continuation_token"]
    write, delete = "TUPLE_OPERATION_WRITE", "TUPLE_OPERATION_DELETE"
    assert seen == [("document:1", write), ("folder:1", write), ("document:1", delete)]
    await acme.write(path, "document:2#viewer@user:anne")
    page = (await acme.get(f"{path}/changes?continuation_token={token}")).json()
    assert [c["tuple_key"]["object"] for c in page["changes"]] == ["document:2"]
    of_type = (await acme.get(f"{path}/changes?type=folder")).json()["changes"]
    assert [c["tuple_key"]["object"] for c in of_type] == ["folder:1"]


async def test_acc_23_a_token_of_another_store_filter_list_or_tenant_is_refused(acme: Caller, globex: Caller) -> None:
    """ACC-23: an edited or foreign token is refused with the advice to read again from the start; never a silent gap."""
    path, other, theirs = await acme.store(), await acme.store(), await globex.store()
    for who, where in ((acme, path), (acme, other), (globex, theirs)):
        await who.write(where, "document:1#viewer@user:anne", "document:2#viewer@user:anne")
    token = (await acme.get(f"{path}/changes?page_size=1")).json()["continuation_token"]
    assert (await acme.get(f"{path}/changes?continuation_token={token}")).status_code == 200
    edited = token[:-6] + ("AAAAAA" if token[-6:] != "AAAAAA" else "BBBBBB")
    read = {"continuation_token": token}
    for refused in (
        await acme.get(f"{path}/changes?continuation_token={edited}"),
        await acme.get(f"{path}/changes?continuation_token=nonsense"),
        await acme.get(f"{path}/changes?type=document&continuation_token={token}"),
        await acme.get(f"{other}/changes?continuation_token={token}"),
        await globex.get(f"{theirs}/changes?continuation_token={token}"),
        await acme.post(f"{path}/read", read),
        await acme.get(f"/stores?continuation_token={token}"),
    ):
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_continuation_token")
        assert "Read again from the start" in refused.json()["message"]


async def test_many_questions_are_answered_by_themselves(acme: Caller) -> None:
    path = await acme.store()
    await acme.write(path, "document:1#viewer@user:anne")
    checks = [
        {"tuple_key": one, "correlation_id": f"c{n}"}
        for n, one in enumerate(
            wire_keys("document:1#reader@user:anne", "document:1#reader@user:bob", "document:1#nothing@user:anne")
        )
    ]
    checks.append(
        {
            "tuple_key": checks[1]["tuple_key"],
            "correlation_id": "more",
            "contextual_tuples": {"tuple_keys": wire_keys("document:1#viewer@user:bob")},
        }
    )
    answer = (await acme.post(f"{path}/batch-check", {"checks": checks})).json()["result"]
    assert answer["c0"] == {"allowed": True}
    assert answer["c1"] == {"allowed": False}
    assert answer["c2"]["error"]["input_error"] == "validation_error"
    assert answer["more"] == {"allowed": True}


async def test_a_batch_of_more_than_fifty_or_of_one_name_twice_is_refused(acme: Caller) -> None:
    path = await acme.store()
    (asked,) = wire_keys("document:1#viewer@user:anne")
    checks = [{"tuple_key": asked, "correlation_id": f"c{n}"} for n in range(51)]
    assert (await acme.post(f"{path}/batch-check", {"checks": checks[:50]})).status_code == 200
    many = await acme.post(f"{path}/batch-check", {"checks": checks})
    assert (many.status_code, many.json()["code"]) == (400, "validation_error")
    twice = await acme.post(f"{path}/batch-check", {"checks": [checks[0], checks[0]]})
    assert (twice.status_code, twice.json()["code"]) == (400, "validation_error")


async def test_lists_are_complete_or_an_error(acme: Caller) -> None:
    path = await acme.store()
    named = [f"document:{n}" for n in range(LIST_MAX + 1)]
    for n in range(0, LIST_MAX, 100):
        await acme.write(path, *(f"{one}#viewer@user:anne" for one in named[n : n + 100]))
    asked = {"user": "user:anne", "relation": "viewer", "type": "document"}
    whole = (await acme.post(f"{path}/list-objects", asked)).json()["objects"]
    assert whole == sorted(named[:LIST_MAX])
    await acme.write(path, f"{named[-1]}#viewer@user:anne")
    asked["consistency"] = "HIGHER_CONSISTENCY"
    refused = await acme.post(f"{path}/list-objects", asked)
    assert (refused.status_code, refused.json()["code"]) == (400, "exceeded_entity_limit")
    streamed = await acme.post(f"{path}/streamed-list-objects", asked)
    lines = [msgspec.json.decode(line)["result"]["object"] for line in streamed.text.splitlines()]
    assert sorted(lines) == sorted(named)


async def test_users_are_listed_in_their_three_forms(acme: Caller) -> None:
    path = await acme.store()
    await acme.write(
        path, "document:1#viewer@user:anne", "document:1#viewer@user:*", "document:1#viewer@group:g#member"
    )
    asked = {"object": {"type": "document", "id": "1"}, "relation": "viewer"}
    users = (await acme.post(f"{path}/list-users", {**asked, "user_filters": [{"type": "user"}]})).json()["users"]
    assert users == [{"wildcard": {"type": "user"}}, {"object": {"type": "user", "id": "anne"}}]
    filter_ = {"type": "group", "relation": "member"}
    sets = (await acme.post(f"{path}/list-users", {**asked, "user_filters": [filter_]})).json()["users"]
    assert sets == [{"userset": {"type": "group", "id": "g", "relation": "member"}}]


async def test_a_relation_is_made_up_one_level(acme: Caller) -> None:
    path = await acme.store()
    await acme.write(path, "document:1#viewer@user:anne")
    key = {"object": "document:1", "relation": "viewer"}
    root = (await acme.post(f"{path}/expand", {"tuple_key": key})).json()["tree"]["root"]
    assert root["union"]["nodes"][0]["leaf"]["users"]["users"] == ["user:anne"]


async def test_assertions_are_kept_for_each_model(acme: Caller) -> None:
    path = await acme.store()
    model = (await acme.get(f"{path}/authorization-models")).json()["authorization_models"][0]["id"]
    at = f"{path}/assertions/{model}"
    assert (await acme.get(at)).json() == {"authorization_model_id": model, "assertions": []}
    (asked,) = wire_keys("document:1#viewer@user:anne")
    written = await acme.send("PUT", at, {"assertions": [{"tuple_key": asked, "expectation": False}]})
    assert written.status_code == 204
    (kept,) = (await acme.get(at)).json()["assertions"]
    assert (kept["tuple_key"]["user"], kept["expectation"]) == ("user:anne", False)
    wrong = {**asked, "relation": "nothing"}
    refused = await acme.send("PUT", at, {"assertions": [{"tuple_key": wrong, "expectation": True}]})
    assert (refused.status_code, refused.json()["code"]) == (400, "validation_error")


async def test_ten_01_a_store_of_another_tenant_is_as_one_that_never_was(acme: Caller, globex: Caller) -> None:
    """TEN-01: every route of a store answers the same for another tenant's as for an id that never existed."""
    theirs = await globex.store()
    await globex.write(theirs, "document:1#viewer@user:anne")
    (asked,) = wire_keys("document:1#viewer@user:anne")
    model = (await globex.get(f"{theirs}/authorization-models")).json()["authorization_models"][0]
    bodies = {
        ("GET", ""): None,
        ("DELETE", ""): None,
        ("GET", "/authorization-models"): None,
        ("GET", f"/authorization-models/{model['id']}"): None,
        ("POST", "/authorization-models"): {"type_definitions": [{"type": "user"}]},
        ("POST", "/read"): {},
        ("POST", "/write"): {"writes": {"tuple_keys": [asked]}},
        ("GET", "/changes"): None,
        ("POST", "/check"): {"tuple_key": asked},
        ("POST", "/batch-check"): {"checks": [{"tuple_key": asked, "correlation_id": "c"}]},
        ("POST", "/expand"): {"tuple_key": {"object": "document:1", "relation": "viewer"}},
        ("POST", "/list-objects"): {"user": "user:anne", "relation": "viewer", "type": "document"},
        ("POST", "/streamed-list-objects"): {"user": "user:anne", "relation": "viewer", "type": "document"},
        ("POST", "/list-users"): {
            "object": {"type": "document", "id": "1"},
            "relation": "viewer",
            "user_filters": [{"type": "user"}],
        },
        ("GET", f"/assertions/{model['id']}"): None,
        ("PUT", f"/assertions/{model['id']}"): {"assertions": []},
    }
    before = await globex.organization.holdings()
    for (method, rest), body in bodies.items():
        foreign = await acme.send(method, f"{theirs}{rest}", body)
        never = await acme.send(method, f"/stores/{NOWHERE}{rest}", body)
        assert (foreign.status_code, foreign.json()) == (never.status_code, never.json())
        assert (foreign.status_code, foreign.json()["code"]) == (404, "store_id_not_found"), rest
    assert await globex.organization.holdings() == before


async def test_a_model_of_another_tenant_is_as_one_that_never_was(acme: Caller, globex: Caller) -> None:
    mine, theirs = await acme.store(), await globex.store()
    model = (await globex.get(f"{theirs}/authorization-models")).json()["authorization_models"][0]["id"]
    (asked,) = wire_keys("document:1#viewer@user:anne")
    for at in (model, NOWHERE):
        refused = await acme.post(f"{mine}/check", {"tuple_key": asked, "authorization_model_id": at})
        assert (refused.status_code, refused.json()["code"]) == (400, "authorization_model_not_found")


async def test_the_system_store_can_be_asked_and_read_and_not_written(acme: Caller) -> None:
    path = f"/stores/{ulid(SYSTEM_STORE)}"
    await acme.store()
    (shipped,) = (await acme.get(f"{path}/authorization-models")).json()["authorization_models"]
    assert shipped["id"] == ulid(system_model())
    read = (
        await acme.post(
            f"{path}/read", {"tuple_key": {"object": "store:", "user": f"organization:{acme.organization.id}"}}
        )
    ).json()
    assert [one["key"]["relation"] for one in read["tuples"]] == ["organization"]
    owner = f"organization:{acme.organization.id}#owner@user:mallory"
    assert not await acme.allows(path, owner)
    for refused in (
        await acme.write(path, owner),
        await acme.post(f"{path}/authorization-models", {"type_definitions": [{"type": "user"}]}),
        await acme.send("DELETE", path),
    ):
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert not await acme.allows(path, owner)


async def test_an_unknown_member_of_a_question_is_refused(acme: Caller) -> None:
    path = await acme.store()
    (asked,) = wire_keys("document:1#viewer@user:anne")
    refused = await acme.post(f"{path}/check", {"tuple_key": asked, "contextual_tupels": {"tuple_keys": []}})
    assert (refused.status_code, refused.json()["code"]) == (400, "validation_error")


ODD = ["document:*", "document:a b", "document:a\u0000b", "document:a#b", "document:a:b", "document:", ":1", "x" * 260]


@pytest.mark.parametrize("object_", ODD)
async def test_acc_15_an_id_that_is_none_is_refused_everywhere(acme: Caller, object_: str) -> None:
    """ACC-15: a malformed id is 400; never a pattern, never another object."""
    path = await acme.store()
    await acme.write(path, "document:1#viewer@user:*")
    key = {"user": "user:anne", "relation": "viewer", "object": object_}
    for refused in (
        await acme.post(f"{path}/check", {"tuple_key": key}),
        await acme.post(f"{path}/write", {"writes": {"tuple_keys": [key]}}),
    ):
        assert (refused.status_code, refused.json()["code"]) == (400, "validation_error")


async def test_decisions_are_found_in_their_log(access: Access, acme: Caller) -> None:
    path = await acme.store()
    await acme.write(path, "document:1#viewer@user:anne")
    assert await acme.allows(path, "document:1#viewer@user:anne")
    assert not await acme.allows(path, "document:1#viewer@user:bob")
    await access.log.flush()
    found = (await acme.get("/v1/decisions")).json()
    assert [(one["subject"], one["allowed"]) for one in found["items"]] == [("user:bob", False), ("user:anne", True)]
    assert {one["caller"] for one in found["items"]} == {acme.id}
    denied = (await acme.get("/v1/decisions?allowed=false&object=document:1&relation=viewer")).json()["items"]
    assert [one["subject"] for one in denied] == ["user:bob"]
    first = (await acme.get("/v1/decisions?limit=1")).json()
    second = (await acme.get(f"/v1/decisions?limit=1&after={first['next']}")).json()
    assert [one["subject"] for one in second["items"]] == ["user:anne"]
    assert second["next"] is None


async def test_an_answer_is_explained_to_whoever_may_read_tuples(acme: Caller) -> None:
    path = await acme.store()
    await acme.write(path, "document:1#viewer@user:anne", "document:1#banned@user:anne")
    store = f"/v1/stores/store_{path.rpartition('/')[2]}"
    asked = {"subject": "user:anne", "relation": "reader", "object": "document:1"}
    answer = (await acme.post(f"{store}/check", asked)).json()
    assert answer["allowed"] is False
    explained = (await acme.post(f"{store}/explain", asked)).json()
    assert explained["answer"] == answer
    (banned,) = keys("document:1#banned@user:anne")
    assert explained["explanation"]["decided"] == [msgspec.to_builtins(banned)]


async def test_acc_07_ten_thousand_bans_in_one_call_are_refused_whole(acme: Caller) -> None:
    """ACC-07: more tuples than one write may hold are none written, with OpenFGA's code; never a 200 for less."""
    path = await acme.store()
    refused = await acme.write(path, *(f"document:1#banned@user:{n}" for n in range(10_000)))
    assert (refused.status_code, refused.json()["code"]) == (400, "exceeded_entity_limit")
    assert (await acme.post(f"{path}/read", {})).json()["tuples"] == []


async def test_acc_21_what_is_too_large_is_refused_in_openfgas_words(acme: Caller) -> None:
    """ACC-21: batches, contexts, contextual tuples and models beyond the limits are refused before they cost anything."""
    path = await acme.store()
    (asked,) = wire_keys("document:1#viewer@user:anne")
    contextual = wire_keys(*(f"document:{n}#viewer@user:a" for n in range(101)))
    types = [{"type": f"t{n}"} for n in range(5_000)]
    many = [{"tuple_key": {"user": "u:1"}, "correlation_id": f"c{n}"} for n in range(5_000)]
    batch = await acme.post(f"{path}/batch-check", {"checks": many})
    assert (batch.status_code, batch.json()["code"]) == (400, "validation_error")
    for refused in (
        await acme.post(f"{path}/check", {"tuple_key": asked, "contextual_tuples": {"tuple_keys": contextual}}),
        await acme.post(f"{path}/check", {"tuple_key": asked, "context": {"x": "a" * 100_000}}),
        await acme.post(f"{path}/authorization-models", {"type_definitions": types}),
    ):
        assert (refused.status_code, refused.json()["code"]) == (400, "exceeded_entity_limit"), refused.text
    head = f"POST {path}/check HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {acme.token}\r\nContent-Length: 5000000\r\n\r\n"
    huge = await acme.server.raw(head.encode())
    assert huge.startswith(b"HTTP/1.1 413 ")
    assert b'"exceeded_entity_limit"' in huge


async def test_a_tuple_keeps_its_condition_and_one_under_another_is_in_conflict(acme: Caller) -> None:
    path = await acme.store(
        "type user\ntype document\n  relations\n    define viewer: [user, user with on_call]\n"
        "condition on_call(now: int, until: int) {\n  now < until\n}\n"
    )
    (key,) = wire_keys("document:1#viewer@user:anne")
    conditional = {**key, "condition": {"name": "on_call", "context": {"until": 10}}}
    written = await acme.post(f"{path}/write", {"writes": {"tuple_keys": [conditional]}})
    assert written.status_code == 200
    (kept,) = (await acme.post(f"{path}/read", {})).json()["tuples"]
    assert kept["key"] == conditional
    answers = [
        (await acme.post(f"{path}/check", {"tuple_key": key, "context": {"now": now}})).json()["allowed"]
        for now in (5, 15, 5)
    ]
    assert answers == [True, False, True]
    for again, status, code in ((conditional, 200, None), (key, 409, "Aborted")):
        body = {"writes": {"tuple_keys": [again], "on_duplicate": "ignore"}}
        answer = await acme.post(f"{path}/write", body)
        assert (answer.status_code, answer.json().get("code")) == (status, code)
    undecided = await acme.post(f"{path}/check", {"tuple_key": key})
    assert (undecided.status_code, undecided.json()["code"]) == (400, "validation_error")


async def test_acc_23_a_token_from_before_a_restore_is_refused(access: Access, acme: Caller) -> None:
    """ACC-23: a token of an older life of the data leads nowhere, and says to read again from the start."""
    await acme.store()
    listing = Listing(acme.organization.id, "", "stores")
    now = access.node.incarnation.number
    before, after = (Continuation(access.node.keyring, number) for number in (now, now + 1))
    token = await before.token(listing, ["1"])
    assert await before.position(listing, token) == ["1"]
    with pytest.raises(InvalidToken) as refused:
        await after.position(listing, token)
    assert "start" in refused.value.hint
