"""Stores and the models they are pinned to: what is recorded when they come, move and go.

A store is one organization's tuples in one application. Its models belong to the application's owner; a store that the interface makes has
an application of its own behind it, and is its own owner. A model's versions never change: a store is moved to another, or stays.
"""

import msgspec

from tenantry.access.errors import AccessError
from tenantry.access.model import Model
from tenantry.access.permissions import STORE as STORE_HEADER
from tenantry.access.schema import (
    ADD_MODEL,
    ADD_STORE,
    ASSERTIONS_OF,
    MODEL,
    MODELS_OF,
    MOVE_STORE,
    PIN_MODEL,
    REMOVE_STORE,
    SET_ASSERTIONS,
    STORE,
    STORES_BEHIND,
    STORES_OF,
    ModelRow,
    Store,
)
from tenantry.access.system import SYSTEM_APPLICATION, SYSTEM_STORE, relate, system_model, system_plan
from tenantry.access.wire import encode_model
from tenantry.core import scopes
from tenantry.core.errors import Conflict, Denied, Invalid, NotFound
from tenantry.core.ids import PLATFORM, IdSource
from tenantry.journal import Event, Journal, Reads, Target, Text, WriteSet


class StoreMade(Event, tag="access.store_made", frozen=True):
    """A store was made, in which an organization keeps its tuples of an application."""

    store: Target
    application: Target
    name: Text


class StoreRemoved(Event, tag="access.store_removed", frozen=True):
    """A store was removed: nothing is decided by it any more."""

    store: Target
    application: Target


class ModelWritten(Event, tag="access.model_written", frozen=True):
    """A version of an application's model was written."""

    model: Target
    application: Target


class ModelPinned(Event, tag="access.model_pinned", frozen=True):
    """A store is decided by this version from now on."""

    store: Target
    model: Target


class AssertionsWritten(Event, tag="access.assertions_written", frozen=True):
    """What a model is held to in a store was replaced."""

    store: Target
    model: Target
    count: int


class StoreNotFound(NotFound):
    """The organization has no such store."""

    code = "store_id_not_found"
    sentence = "Store ID not found"


class ModelNotFound(AccessError):
    """The application has no such version of its model."""

    code = "authorization_model_not_found"
    number = 2001


class NoModel(AccessError):
    """The store has no model yet."""

    code = "latest_authorization_model_not_found"
    number = 2020


class Shipped(Denied):
    """The system store's model ships with the release, and its tuples are written by what they are about."""

    code = "system_store"
    sentence = "The system store is not written here: give and take roles instead."


class NotYours(Denied):
    """The store's application belongs to another organization, which alone writes its model and moves the store."""

    code = "not_the_owner"
    sentence = "Only the application's owner writes its model and says which version a store has."


async def store_of(reads: Reads, store: str) -> Store:
    """A store of the organization; the system store is everybody's.

    Raises:
        StoreNotFound: it has no such store, or has it no more.
    """
    if store == SYSTEM_STORE:
        return Store(SYSTEM_STORE, PLATFORM, SYSTEM_APPLICATION, "tenantry", system_model(), 0, 0)
    return await reads.one(STORE, StoreNotFound, id=store)


async def only_store(reads: Reads) -> str:
    """The id of the organization's store, where it has one; the system store, which all have, does not count.

    Raises:
        StoreNotFound: it has none.
        Invalid: it has several.
    """
    found = await reads.all(STORES_OF, after="", most=2)
    if len(found) > 1:
        raise Invalid("The organization has several stores.", hint=f"Name one in the header {STORE_HEADER}.")
    if not found:
        raise StoreNotFound
    return found[0].id


async def own_store(reads: Reads, store: str) -> Store:
    """A store of the organization that may be changed.

    Raises:
        StoreNotFound: it has no such store, or has it no more.
        Shipped: it is the system store.
    """
    if store == SYSTEM_STORE:
        raise Shipped
    return await store_of(reads, store)


async def model_of(journal: Journal, store: Store, model: str) -> ModelRow:
    """A version of the model of a store's application, in its owner's keeping.

    Raises:
        ModelNotFound: the application has no such version.
    """
    if (store.application, model) == (SYSTEM_APPLICATION, system_model()):
        return ModelRow(model, SYSTEM_APPLICATION, encode_model(system_plan().model), 0)
    rows = await journal.reads(scopes.of_job(store.owner)).all(MODEL, application=store.application, id=model)
    if not rows:
        raise ModelNotFound(f"Authorization Model '{model[-26:]}' not found")
    return rows[0]


async def models_of(journal: Journal, store: Store, before: str, most: int) -> list[ModelRow]:
    """Versions of the model of a store's application, the newest first, from the one before the id `before` on."""
    if store.application == SYSTEM_APPLICATION:
        return [] if before else [await model_of(journal, store, system_model())]
    reads = journal.reads(scopes.of_job(store.owner))
    return await reads.all(MODELS_OF, application=store.application, before=before, most=most)


def make_store(w: WriteSet, ids: IdSource, name: str, at_ms: int) -> Store:
    """Make a store with an application of its own, and the organization its manager."""
    store = Store(ids.new("store"), w.org, ids.new("app"), name, "", at_ms, at_ms)
    _add_store(w, store)
    return store


def make_store_in(w: WriteSet, ids: IdSource, owner: str, application: str, model: str, name: str, at_ms: int) -> Store:
    """Make the organization's store in an application of `owner`, pinned to a version of its model (empty while it has none)."""
    store = Store(ids.new("store"), owner, application, name, model, at_ms, at_ms)
    _add_store(w, store)
    return store


def remove_store(w: WriteSet, store: Store, at_ms: int) -> None:
    """Remove a store, once: from now on it is unknown, and its tuples are out of reach.

    Raises:
        StoreNotFound: somebody else was faster.
    """
    w.write(REMOVE_STORE, StoreNotFound, id=store.id, at=at_ms)
    w.record(StoreRemoved(store.id, store.application))


def write_model(w: WriteSet, ids: IdSource, store: Store, model: Model, at_ms: int) -> str:
    """Write a version of the model of a store's application, and pin this store to it; gives the version's id.

    Not checked here: that the model stands (`plan.compile_model`).

    Raises:
        NotYours: the application is another organization's.
        StoreNotFound: the store was removed meanwhile.
    """
    if store.owner != w.org:
        raise NotYours
    version = add_model(w, ids, store.application, model, at_ms)
    pin(w, store, version, at_ms)
    return version


def add_model(w: WriteSet, ids: IdSource, application: str, model: Model, at_ms: int) -> str:
    """Write a version of the model of an application of the organization; gives its id. No store is moved to it.

    Not checked here: that the model stands (`plan.compile_model`).
    """
    version = ids.new("model")
    w.write(ADD_MODEL, application=application, id=version, body=encode_model(model), at=at_ms)
    w.record(ModelWritten(version, application))
    return version


async def newest_model(reads: Reads, application: str) -> ModelRow | None:
    """The last version that was written of the model of an application of the organization, if there is one."""
    rows = await reads.all(MODELS_OF, application=application, before="", most=1)
    return rows[0] if rows else None


def pin(w: WriteSet, store: Store, model: str, at_ms: int) -> None:
    """Decide by this version in this store from now on. Not checked here: that the application has it.

    Raises:
        StoreNotFound: the store was removed meanwhile.
    """
    w.write(PIN_MODEL, StoreNotFound, id=store.id, model=model, at=at_ms)
    w.record(ModelPinned(store.id, model))


async def stores_behind(reads: Reads, application: str, model: str, most: int) -> list[Store]:
    """Stores of the organization, in an application, that are pinned to an older version than `model`, or to none."""
    return await reads.all(STORES_BEHIND, application=application, model=model, most=most)


def move_forward(w: WriteSet, store: Store, model: str, at_ms: int) -> None:
    """Pin a store to a newer version. Not checked here: that the application has it.

    Raises, when the set is sent:
        Conflict: the store has this version or a newer one, or was removed meanwhile.
    """
    w.write(MOVE_STORE, Conflict, id=store.id, model=model, at=at_ms)
    w.record(ModelPinned(store.id, model))


def set_assertions(w: WriteSet, store: Store, model: str, assertions: list[msgspec.Raw]) -> None:
    """Replace what a model is held to in a store."""
    w.write(SET_ASSERTIONS, store=store.id, model=model, body=msgspec.json.encode(assertions))
    w.record(AssertionsWritten(store.id, model, len(assertions)))


async def assertions_of(reads: Reads, store: Store, model: str) -> list[msgspec.Raw]:
    """What a model is held to in a store; nothing if nobody said."""
    rows = await reads.all(ASSERTIONS_OF, store=store.id, model=model)
    return msgspec.json.decode(rows[0].body, type=list[msgspec.Raw]) if rows else []


def _add_store(w: WriteSet, store: Store) -> None:
    w.write(
        ADD_STORE,
        id=store.id,
        owner=store.owner,
        application=store.application,
        name=store.name,
        model=store.model,
        at=store.made_at,
    )
    relate(w, f"store:{store.id}", "organization", f"organization:{w.org}")
    w.record(StoreMade(store.id, store.application, store.name))
