"""OpenFGA's HTTP API over what is decided: check, batch-check, expand, and the lists."""

from collections.abc import AsyncGenerator

import msgspec

from tenantry.access import bodies as b
from tenantry.access import permissions as may
from tenantry.access.batch import Item
from tenantry.access.bodies import Ulid
from tenantry.access.decisions import STREAM_MAX, At, Decision
from tenantry.access.errors import AccessError
from tenantry.access.service import Service, asking_of, at_of, tell
from tenantry.access.tuples import TupleKey
from tenantry.web import Call, Dialect, Limits, Route, Stream, route

LIMITS = Limits(body_bytes=512 << 10)
"""OpenFGA takes contextual tuples and contexts of 512 KiB."""


def deciding_routes(service: Service) -> tuple[Route, ...]:
    """The routes that answer questions."""
    return (*_check_routes(service), *_list_routes(service))


def _check_routes(service: Service) -> tuple[Route, ...]:
    decisions = service.decisions

    @route("POST", "/stores/{store_id}/check", may.CHECK, asks=True, limits=LIMITS, dialect=Dialect.OPENFGA)
    async def check(call: Call, store_id: Ulid, body: b.Check) -> b.Allowed:
        """Whether a user has a relation to an object."""
        decision = await decisions.check(
            call.scope,
            f"store_{store_id}",
            body.tuple_key.tuple(),
            contextual=_contextual(body.contextual_tuples),
            context=body.context,
            at=await _at(call, body),
            asking=asking_of(call),
        )
        tell(call, decision.revision, decision.model)
        return b.Allowed(decision.allowed)

    @route("POST", "/stores/{store_id}/batch-check", may.CHECK, asks=True, limits=LIMITS, dialect=Dialect.OPENFGA)
    async def batch_check(call: Call, store_id: Ulid, body: b.BatchCheck) -> b.BatchAnswer:
        """Many questions, each answered by itself at one revision."""
        answers = await decisions.batch_check(
            call.scope,
            f"store_{store_id}",
            [
                Item(one.correlation_id, one.tuple_key.tuple(), _contextual(one.contextual_tuples), one.context)
                for one in body.checks
            ],
            at=await _at(call, body),
            asking=asking_of(call),
        )
        decided = next((one for one in answers.values() if isinstance(one, Decision)), None)
        if decided is not None:
            tell(call, decided.revision, decided.model)
        return b.BatchAnswer({name: _result(one) for name, one in answers.items()})

    @route("POST", "/stores/{store_id}/expand", may.CHECK, asks=True, limits=LIMITS, dialect=Dialect.OPENFGA)
    async def expand(call: Call, store_id: Ulid, body: b.Expand) -> b.ExpandAnswer:
        """One level of how a relation to an object is made up."""
        key = body.tuple_key
        expanded = await decisions.expand(
            call.scope,
            f"store_{store_id}",
            key.object,
            key.relation,
            contextual=_contextual(body.contextual_tuples),
            at=await _at(call, body),
        )
        tell(call, expanded.revision, expanded.model)
        return b.ExpandAnswer(b.Tree(expanded.root))

    return (check, batch_check, expand)


def _list_routes(service: Service) -> tuple[Route, ...]:
    decisions = service.decisions

    async def objects(call: Call, store_id: str, body: b.ListObjects, **most: int) -> list[str]:
        listed = await decisions.list_objects(
            call.scope,
            f"store_{store_id}",
            body.user,
            body.relation,
            body.type,
            contextual=_contextual(body.contextual_tuples),
            context=body.context,
            at=await _at(call, body),
            asking=asking_of(call),
            **most,
        )
        tell(call, listed.revision, listed.model)
        return listed.items

    @route("POST", "/stores/{store_id}/list-objects", may.CHECK, asks=True, limits=LIMITS, dialect=Dialect.OPENFGA)
    async def list_objects(call: Call, store_id: Ulid, body: b.ListObjects) -> b.Objects:
        """Every object of a type to which a user has a relation; more than a list may hold are an error."""
        return b.Objects(await objects(call, store_id, body))

    @route(
        "POST", "/stores/{store_id}/streamed-list-objects", may.CHECK, asks=True, limits=LIMITS, dialect=Dialect.OPENFGA
    )
    async def streamed_list_objects(call: Call, store_id: Ulid, body: b.ListObjects) -> Stream:
        """The same, one by one and more of them: complete before the first is sent."""
        return Stream(_lines(await objects(call, store_id, body, most=STREAM_MAX)), "application/json")

    @route("POST", "/stores/{store_id}/list-users", may.CHECK, asks=True, limits=LIMITS, dialect=Dialect.OPENFGA)
    async def list_users_of_relation(call: Call, store_id: Ulid, body: b.ListUsers) -> b.Users:
        """Every user of a kind who has a relation to an object; more than a list may hold are an error."""
        (wanted,) = body.user_filters
        listed = await decisions.list_users(
            call.scope,
            f"store_{store_id}",
            f"{body.object.type}:{body.object.id}",
            body.relation,
            f"{wanted.type}#{wanted.relation}" if wanted.relation else wanted.type,
            contextual=_tuples(body.contextual_tuples or ()),
            context=body.context,
            at=await _at(call, body),
            asking=asking_of(call),
        )
        tell(call, listed.revision, listed.model)
        return b.Users([b.user_given(one) for one in listed.items])

    return (list_objects, streamed_list_objects, list_users_of_relation)


async def _at(call: Call, body: b.Check | b.BatchCheck | b.Expand | b.ListObjects | b.ListUsers) -> At:
    model = f"model_{body.authorization_model_id}" if body.authorization_model_id else ""
    return await at_of(call, model, newest=body.consistency == "HIGHER_CONSISTENCY")


def _contextual(given: b.Keys | None) -> tuple[TupleKey, ...]:
    return _tuples(given.tuple_keys) if given is not None else ()


def _tuples(given: tuple[b.Key, ...]) -> tuple[TupleKey, ...]:
    return tuple(key.tuple() for key in given)


def _result(answer: Decision | AccessError) -> b.BatchResult:
    if isinstance(answer, AccessError):
        return b.BatchResult(error=b.CheckError(answer.code, answer.message))
    return b.BatchResult(allowed=answer.allowed)


async def _lines(objects: list[str]) -> AsyncGenerator[bytes, None]:
    for one in objects:
        yield msgspec.json.encode({"result": {"object": one}}) + b"\n"
