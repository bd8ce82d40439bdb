"""The official client (`openfga-sdk`), unchanged, over HTTP: OpenFGA's matrices, its sample stores, and each call once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import openfga_sdk as fga
import pytest
import yaml
from openfga_sdk.client import models as fga_client
from openfga_sdk.client.models.list_users_request import ClientListUsersRequest
from openfga_sdk.client.models.write_conflict_opts import ClientWriteRequestOnDuplicateWrites, ConflictOptions
from openfga_sdk.credentials import CredentialConfiguration, Credentials
from openfga_sdk.exceptions import ApiException, NotFoundException

from tenantry.access import errors
from tenantry.access.language import parse
from tenantry.access.wire import to_wire
from tests.access.stand import DOCUMENTS, Caller
from tests.access.test_openfga_matrix import DECIDED_NONETHELESS, KINDS, stages
from tests.access.test_sample_stores import FILES, STORES, parsed, tuples_of

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)

NUMBERS = {
    kind.code: kind.number
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.AccessError)
}


@asynccontextmanager
async def client_of(caller: Caller, model: object) -> AsyncIterator[fga.OpenFgaClient]:
    """The client, with a store of its own and a model."""
    credentials = Credentials(method="api_token", configuration=CredentialConfiguration(api_token=caller.token))
    url = f"http://127.0.0.1:{caller.server.port}"
    configuration = fga.ClientConfiguration(api_url=url, credentials=credentials)
    async with fga.OpenFgaClient(configuration) as client:
        store = await client.create_store(fga.CreateStoreRequest(name="matrix"))
        client.set_store_id(store.id)
        await write_model(client, model)
        yield client


async def write_model(client: fga.OpenFgaClient, model: object) -> None:
    """Write a model as the JSON that OpenFGA's own tools make of it."""
    body = msgspec.to_builtins(to_wire(parse(model).model)) if isinstance(model, str) else model
    await client._api.write_authorization_model(body)


def tuple_of(written: dict[str, Any]) -> fga_client.ClientTuple:
    condition = written.get("condition")
    return fga_client.ClientTuple(
        user=written["user"],
        relation=written["relation"],
        object=written["object"],
        condition=fga.RelationshipCondition(**condition) if condition else None,
    )


def tuples(given: list[dict[str, Any]] | None) -> list[fga_client.ClientTuple]:
    return [tuple_of(one) for one in given or ()]


async def answer(client: fga.OpenFgaClient, kind: str, assertion: dict[str, Any]) -> object:
    """What the server says to an assertion of a matrix: an answer, or the number of its error."""
    more, context = tuples(assertion.get("contextualTuples")), assertion.get("context")
    try:
        if kind == KINDS[0]:
            asked = tuple_of(assertion["tuple"])
            request = fga_client.ClientCheckRequest(
                asked.user, asked.relation, asked.object, contextual_tuples=more, context=context
            )
            return (await client.check(request)).allowed
        request = assertion["request"]
        if kind == KINDS[1]:
            listed = fga_client.ClientListObjectsRequest(
                request["user"], request["relation"], request["type"], contextual_tuples=more, context=context
            )
            return sorted((await client.list_objects(listed)).objects)
        return await users(client, request["object"], request["relation"], request["filters"][0], more, context)
    except ApiException as error:
        return NUMBERS[error.code or ""]


async def users(
    client: fga.OpenFgaClient,
    object_: str,
    relation: str,
    filter_: str,
    more: list[fga_client.ClientTuple],
    context: dict[str, Any] | None,
) -> list[str]:
    type_, _, id_ = object_.partition(":")
    of, _, through = filter_.partition("#")
    wanted = fga.UserTypeFilter(type=of, relation=through) if through else fga.UserTypeFilter(type=of)
    request = ClientListUsersRequest(
        object=fga.FgaObject(type=type_, id=id_),
        relation=relation,
        user_filters=[wanted],
        contextual_tuples=more,
        context=context,
    )
    return sorted(map(said, (await client.list_users(request)).users))


def documents(store: Path) -> dict[str, Any]:
    return yaml.safe_load(store.read_text("utf-8"))


def said(user: fga.User) -> str:
    if user.wildcard:
        return f"{user.wildcard.type}:*"
    if user.userset:
        return f"{user.userset.type}:{user.userset.id}#{user.userset.relation}"
    assert user.object is not None
    return f"{user.object.type}:{user.object.id}"


@pytest.mark.parametrize(("name", "upto"), stages())
async def test_the_matrix_comes_out_over_http_as_in_openfga(
    acme: Caller, name: str, upto: list[dict[str, Any]]
) -> None:
    async with client_of(acme, upto[0]["model"]) as client:
        for number, stage in enumerate(upto):
            if number:
                await write_model(client, stage["model"])
            if written := tuples(stage.get("tuples")):
                await client.write(fga_client.ClientWriteRequest(writes=written))
        differing: list[object] = []
        for kind in KINDS:
            for assertion in upto[-1].get(kind) or ():
                got = await answer(client, kind, assertion)
                expected = assertion.get("errorCode", assertion.get("expectation"))
                none = [] if isinstance(got, list) else False
                if got != (sorted(expected) if isinstance(expected, list) else expected or none):
                    differing.append((assertion.get("context"), got))
        assert differing == DECIDED_NONETHELESS.get(name, [])


@pytest.mark.parametrize("store", FILES, ids=lambda store: str(store.relative_to(STORES)))
async def test_a_sample_store_answers_over_http_as_its_own_tests_say(acme: Caller, store: Path) -> None:
    document = documents(store)
    async with client_of(acme, msgspec.to_builtins(to_wire(parsed(store).model))) as client:
        await client.write(fga_client.ClientWriteRequest(writes=tuples(tuples_of(store, document))))
        wrong: list[object] = []
        for test in document["tests"]:
            more = tuples(test.get("tuples"))
            for one in test.get("check") or ():
                for user in one.get("users") or [one["user"]]:
                    for object_ in one.get("objects") or [one["object"]]:
                        for relation, expected in one["assertions"].items():
                            asked = fga_client.ClientCheckRequest(user, relation, object_, more, one.get("context"))
                            if (await client.check(asked)).allowed is not expected:
                                wrong.append((user, relation, object_))
            for one in test.get("list_objects") or ():
                for relation, expected in one["assertions"].items():
                    asked = fga_client.ClientListObjectsRequest(
                        one["user"], relation, one["type"], more, context=one.get("context")
                    )
                    if sorted((await client.list_objects(asked)).objects) != sorted(expected):
                        wrong.append((one["user"], relation, one["type"]))
            for one in test.get("list_users") or ():
                for relation, expected in one["assertions"].items():
                    (of,) = one["user_filter"]
                    filter_ = f"{of['type']}#{of['relation']}" if "relation" in of else of["type"]
                    got = await users(client, one["object"], relation, filter_, more, one.get("context"))
                    if got != sorted(expected["users"]):
                        wrong.append((one["object"], relation, filter_))
        assert wrong == []


async def test_every_call_of_the_client_is_answered(acme: Caller) -> None:
    async with client_of(acme, f"model\n  schema 1.1\n{DOCUMENTS}") as client:
        store = await client.get_store()
        assert [one.id for one in (await client.list_stores({"page_size": 1})).stores] == [store.id]
        models = await client.read_authorization_models()
        model = models.authorization_models[0].id
        latest = await client.read_latest_authorization_model()
        named = await client.read_authorization_model({"authorization_model_id": model})
        assert latest == named

        anne = tuple_of({"user": "user:anne", "relation": "viewer", "object": "document:1"})
        bob = tuple_of({"user": "user:bob", "relation": "viewer", "object": "document:1"})
        await client.write_tuples([anne, bob])
        await client.delete_tuples([bob])
        ignoring = ConflictOptions(on_duplicate_writes=ClientWriteRequestOnDuplicateWrites.IGNORE)
        again: dict[str, Any] = {"conflict": ignoring}
        await client.write(fga_client.ClientWriteRequest(writes=[anne]), again)
        read = await client.read(fga.ReadRequestTupleKey(object="document:1"))
        assert [one.key.user for one in read.tuples] == ["user:anne"]
        changes = await client.read_changes(fga_client.ClientReadChangesRequest("document"), {"page_size": 10})
        assert [one.operation for one in changes.changes] == ["TUPLE_OPERATION_WRITE"] * 2 + ["TUPLE_OPERATION_DELETE"]

        check = fga_client.ClientCheckRequest("user:anne", "reader", "document:1")
        assert (await client.check(check, {"consistency": fga.ConsistencyPreference.HIGHER_CONSISTENCY})).allowed
        batch = await client.batch_check(
            fga_client.ClientBatchCheckRequest(
                checks=[
                    fga_client.ClientBatchCheckItem("user:anne", "reader", "document:1", "a"),
                    fga_client.ClientBatchCheckItem("user:bob", "reader", "document:1", "b"),
                ]
            )
        )
        assert {one.correlation_id: one.allowed for one in batch.result} == {"a": True, "b": False}
        expanded = await client.expand(fga_client.ClientExpandRequest("viewer", "document:1"))
        assert expanded.tree.root.name == "document:1#viewer"
        listed = fga_client.ClientListObjectsRequest("user:anne", "viewer", "document")
        assert (await client.list_objects(listed)).objects == ["document:1"]
        streamed = [one.object async for one in client.streamed_list_objects(listed)]
        assert streamed == ["document:1"]
        assert await users(client, "document:1", "viewer", "user", [], None) == ["user:anne"]
        relations = fga_client.ClientListRelationsRequest("user:anne", ["viewer", "banned"], "document:1")
        assert await client.list_relations(relations) == ["viewer"]

        assertion = fga_client.ClientAssertion("user:anne", "viewer", "document:1", expectation=True)
        await client.write_assertions([assertion], {"authorization_model_id": model})
        kept = await client.read_assertions({"authorization_model_id": model})
        assert [(one.tuple_key.user, one.expectation) for one in kept.assertions] == [("user:anne", True)]
        await client.delete_store()
        with pytest.raises(NotFoundException):
            await client.get_store()
