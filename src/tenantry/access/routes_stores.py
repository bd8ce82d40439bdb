"""OpenFGA's HTTP API over what is kept: stores, models, tuples, changes, assertions."""

from datetime import datetime
from typing import Literal

import msgspec

from tenantry.access import bodies as b
from tenantry.access import permissions as may
from tenantry.access.bodies import Ulid
from tenantry.access.continuation import Listing
from tenantry.access.errors import AccessError, InvalidTuple, LimitExceeded
from tenantry.access.graph import Names
from tenantry.access.limits import MODEL_MAX_BYTES
from tenantry.access.plan import Plan, compile_model
from tenantry.access.question import admit
from tenantry.access.schema import (
    CHANGES_SINCE,
    STORES_NAMED,
    STORES_OF,
    TUPLES_OF,
    TUPLES_OF_OBJECT,
    TUPLES_OF_SUBJECT,
    TupleRow,
)
from tenantry.access.service import Service, tell
from tenantry.access.stores import (
    assertions_of,
    make_store,
    model_of,
    models_of,
    own_store,
    remove_store,
    set_assertions,
    store_of,
    write_model,
)
from tenantry.access.wire import from_wire
from tenantry.access.writing import Edit, write_tuples
from tenantry.core.clock import iso
from tenantry.core.ids import ulid
from tenantry.journal import Reads, WriteSet
from tenantry.web import Call, Dialect, Limits, Route, route

ASSERTIONS_MAX = 100
ASSERTIONS_MAX_BYTES = 65_536
"""What one model is held to in one store (OpenFGA: 64 KiB)."""

MODEL_LIMITS = Limits(body_bytes=4 * MODEL_MAX_BYTES, depth=120)
"""JSON with blanks; the model itself is measured when it is read."""

WRITE_LIMITS = Limits(body_bytes=1 << 20)


class InvalidStartTime(AccessError):
    """The time is no time."""

    code = "invalid_start_time"
    number = 2066
    sentence = "Invalid start time"


def kept_routes(service: Service) -> tuple[Route, ...]:
    """The routes over stores and what lies in them."""
    return (*_store_routes(service), *_model_routes(service), *_tuple_routes(service), *_assertion_routes(service))


def _store_routes(service: Service) -> tuple[Route, ...]:
    @route("POST", "/stores", may.MANAGE_STORES, status=201, dialect=Dialect.OPENFGA)
    async def create_store(call: Call, body: b.CreateStore) -> b.StoreGiven:
        """Make a store, with an application of its own behind it."""
        async with call.begin() as w:
            store = make_store(w, service.ids, body.name, service.clock.now_ms())
        tell(call, w.revision, "")
        return b.store_given(store)

    @route("GET", "/stores", may.READ_STORES, dialect=Dialect.OPENFGA)
    async def list_stores(call: Call, query: b.ListStores) -> b.Stores:
        """The organization's stores in the order in which they were made."""
        listing = Listing(call.scope.org, "", "stores", (query.name,))
        position = await service.continuation.position(listing, query.continuation_token)
        paged = {"after": position[0] if position else "", "most": query.page_size + 1}
        read, named = (STORES_NAMED, {"name": query.name}) if query.name else (STORES_OF, {})
        rows = await call.reads.all(read, **named, **paged)
        token = ""
        if len(rows) > query.page_size:
            rows = rows[: query.page_size]
            token = await service.continuation.token(listing, [rows[-1].id])
        return b.Stores([b.store_given(row) for row in rows], token)

    @route("GET", "/stores/{store_id}", may.READ_MODEL, dialect=Dialect.OPENFGA)
    async def get_store(call: Call, store_id: Ulid) -> b.StoreGiven:
        """One store."""
        return b.store_given(await store_of(call.reads, f"store_{store_id}"))

    @route("DELETE", "/stores/{store_id}", may.MANAGE_STORE, status=204, dialect=Dialect.OPENFGA)
    async def delete_store(call: Call, store_id: Ulid) -> None:
        """Remove a store: nothing is decided by it any more, and its tuples are out of reach."""
        store = await own_store(call.reads, f"store_{store_id}")
        async with call.begin() as w:
            remove_store(w, store, service.clock.now_ms())

    return (create_store, list_stores, get_store, delete_store)


def _model_routes(service: Service) -> tuple[Route, ...]:
    @route(
        "POST",
        "/stores/{store_id}/authorization-models",
        may.WRITE_MODEL,
        status=201,
        limits=MODEL_LIMITS,
        dialect=Dialect.OPENFGA,
    )
    async def write_authorization_model(call: Call, store_id: Ulid, body: b.WriteModel) -> b.ModelId:
        """Write a version of the model of the store's application; the store is decided by it from then on."""
        store = await own_store(call.reads, f"store_{store_id}")
        wire = body.wire()
        size = len(msgspec.json.encode(wire))
        if size > MODEL_MAX_BYTES:
            raise LimitExceeded(f"model exceeds size limit: {size} bytes vs {MODEL_MAX_BYTES} bytes")
        model = from_wire(wire)
        compile_model(model, Names())  # not the application's own names: one that is refused leaves none there
        async with call.begin() as w:
            version = write_model(w, service.ids, store, model, service.clock.now_ms())
        tell(call, w.revision, version)
        return b.ModelId(ulid(version))

    @route("GET", "/stores/{store_id}/authorization-models", may.READ_MODEL, dialect=Dialect.OPENFGA)
    async def read_authorization_models(call: Call, store_id: Ulid, query: b.Page) -> b.Models:
        """The versions of the model of the store's application, the newest first."""
        store = await store_of(call.reads, f"store_{store_id}")
        listing = Listing(call.scope.org, store.id, "models")
        position = await service.continuation.position(listing, query.continuation_token)
        rows = await models_of(call.journal, store, position[0] if position else "", query.page_size + 1)
        token = ""
        if len(rows) > query.page_size:
            rows = rows[: query.page_size]
            token = await service.continuation.token(listing, [rows[-1].id])
        return b.Models([b.model_given(row) for row in rows], token)

    @route("GET", "/stores/{store_id}/authorization-models/{id}", may.READ_MODEL, dialect=Dialect.OPENFGA)
    async def read_authorization_model(call: Call, store_id: Ulid, id: Ulid) -> b.OneModel:  # noqa: A002 - OpenFGA's name
        """One version."""
        store = await store_of(call.reads, f"store_{store_id}")
        return b.OneModel(b.model_given(await model_of(call.journal, store, f"model_{id}")))

    return (write_authorization_model, read_authorization_models, read_authorization_model)


def _tuple_routes(service: Service) -> tuple[Route, ...]:
    @route("POST", "/stores/{store_id}/read", may.READ_TUPLES, asks=True, dialect=Dialect.OPENFGA)
    async def read(call: Call, store_id: Ulid, body: b.Read) -> b.Tuples:
        """Tuples as they are stored: all, those of an object, or those of a type and a user."""
        store = await store_of(call.reads, f"store_{store_id}")
        wanted = body.tuple_key or b.Key()
        listing = Listing(call.scope.org, store.id, "tuples", (wanted.user, wanted.relation, wanted.object))
        position = await service.continuation.position(listing, body.continuation_token)
        rows = await _page(call.reads, store.id, body.tuple_key, position or [""] * 4, body.page_size + 1)
        token = ""
        if len(rows) > body.page_size:
            rows = rows[: body.page_size]
            last = rows[-1]
            token = await service.continuation.token(listing, [last.type, last.id, last.relation, last.subject])
        return b.Tuples([b.TupleGiven(b.key_given(row), iso(row.made_at)) for row in rows], token)

    @route("POST", "/stores/{store_id}/write", may.WRITE_TUPLES, limits=WRITE_LIMITS, dialect=Dialect.OPENFGA)
    async def write(call: Call, store_id: Ulid, body: b.Write) -> dict[str, str]:
        """Write and delete tuples, all or none."""
        store = await own_store(call.reads, f"store_{store_id}")
        asked = f"model_{body.authorization_model_id}" if body.authorization_model_id else ""
        model, plan = await service.models.plan(store, asked)
        edit = _edit(body)

        async def use_case(w: WriteSet, reads: Reads) -> WriteSet:
            await write_tuples(w, reads, store.id, plan, edit, service.clock.now_ms())
            return w

        w = await call.run(use_case)
        tell(call, w.revision or (await call.journal.head(call.scope)).rev, model)
        return {}

    @route("GET", "/stores/{store_id}/changes", may.READ_TUPLES, dialect=Dialect.OPENFGA)
    async def read_changes(call: Call, store_id: Ulid, query: b.ReadChanges) -> b.Changes:
        """What was written and deleted, in the order of revisions; the token leads on from the end, too."""
        store = await store_of(call.reads, f"store_{store_id}")
        listing = Listing(call.scope.org, store.id, "changes", (query.type,))
        position = await service.continuation.position(listing, query.continuation_token)
        rev, place = map(int, position or ["0", "0"])
        since = 0 if position else _start(query.start_time)
        given = {"rev": rev, "place": place, "since": since, "type": query.type, "most": query.page_size}
        rows = await call.reads.all(CHANGES_SINCE, store=store.id, **given)
        token = query.continuation_token
        if rows:
            token = await service.continuation.token(listing, [str(rows[-1].rev), str(rows[-1].place)])
        changes = [b.ChangeGiven(b.key_given(row), _OPERATIONS[row.added], iso(row.at)) for row in rows]
        return b.Changes(changes, token)

    return (read, write, read_changes)


def _assertion_routes(service: Service) -> tuple[Route, ...]:
    path = "/stores/{store_id}/assertions/{authorization_model_id}"

    @route("PUT", path, may.WRITE_MODEL, status=204, limits=WRITE_LIMITS, dialect=Dialect.OPENFGA)
    async def write_assertions(
        call: Call, store_id: Ulid, authorization_model_id: Ulid, body: b.WriteAssertions
    ) -> None:
        """Replace what a model is held to in this store; nothing here runs them."""
        store = await own_store(call.reads, f"store_{store_id}")
        model, plan = await service.models.plan(store, f"model_{authorization_model_id}")
        if len(body.assertions) > ASSERTIONS_MAX:
            raise LimitExceeded(f"The number of assertions exceeds the allowed limit of {ASSERTIONS_MAX}")
        encoded = [msgspec.Raw(msgspec.json.encode(one)) for one in body.assertions]
        if sum(map(len, map(bytes, encoded))) > ASSERTIONS_MAX_BYTES:
            raise LimitExceeded(f"The number of bytes exceeds the allowed limit of {ASSERTIONS_MAX_BYTES}")
        for one in body.assertions:
            admit(plan, one.tuple_key.tuple())
            _admit_contextual(plan, one.contextual_tuples)
        async with call.begin() as w:
            set_assertions(w, store, model, encoded)

    @route("GET", path, may.READ_MODEL, dialect=Dialect.OPENFGA)
    async def read_assertions(call: Call, store_id: Ulid, authorization_model_id: Ulid) -> b.Assertions:
        """What a model is held to in this store."""
        store = await store_of(call.reads, f"store_{store_id}")
        raw = await assertions_of(call.reads, store, f"model_{authorization_model_id}")
        return b.Assertions(authorization_model_id, [msgspec.json.decode(one, type=b.Assertion) for one in raw])

    return (write_assertions, read_assertions)


_OPERATIONS: dict[int, Literal["TUPLE_OPERATION_WRITE", "TUPLE_OPERATION_DELETE"]] = {
    0: "TUPLE_OPERATION_DELETE",
    1: "TUPLE_OPERATION_WRITE",
}


async def _page(reads: Reads, store: str, wanted: b.Key | None, position: list[str], most: int) -> list[TupleRow]:
    names = ("after_type", "after_id", "after_relation", "after_subject")
    paged = {"store": store, **dict(zip(names, position, strict=True)), "most": most}
    if wanted is None or wanted == b.Key():
        return await reads.all(TUPLES_OF, **paged)
    type_, _, id_ = wanted.object.partition(":")
    if not type_ or not (id_ or wanted.user):
        raise AccessError(
            "the 'tuple_key' field was provided but the object type field is required "
            "and both the object id and user cannot be empty"
        )
    given = {**paged, "type": type_, "relation": wanted.relation, "subject": wanted.user}
    if id_:
        return await reads.all(TUPLES_OF_OBJECT, id=id_, **given)
    return await reads.all(TUPLES_OF_SUBJECT, **given)


def _edit(body: b.Write) -> Edit:
    writes, deletes = body.writes or b.Writes(()), body.deletes or b.Deletes(())
    return Edit(
        tuple(key.tuple() for key in writes.tuple_keys),
        tuple(key.tuple() for key in deletes.tuple_keys),
        writes.on_duplicate or "error",
        deletes.on_missing or "error",
    )


def _start(text: str) -> int:
    """A time of RFC 3339 in milliseconds; the beginning for none."""
    if not text:
        return 0
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidStartTime from error
    if at.tzinfo is None:
        raise InvalidStartTime
    return int(at.timestamp() * 1000)


def _admit_contextual(plan: Plan, keys: tuple[b.Key, ...]) -> None:
    try:
        plan.vocabulary.admit_all(tuple(key.tuple() for key in keys))
    except InvalidTuple as error:
        raise AccessError(error.message) from error
