"""What OpenFGA's HTTP API takes and gives (openfga.v1.OpenFGAService), as types. Ids of stores and models are bare ULIDs there.

A member that is not named here is refused, also where OpenFGA overlooks it: it may be one that narrows the question.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tenantry.access.continuation import TOKEN_MAX_CHARACTERS
from tenantry.access.expand import Node
from tenantry.access.schema import ChangeRow, ModelRow, Store, TupleRow
from tenantry.access.tuples import RelationshipCondition, TupleKey, read_subject
from tenantry.access.wire import TypeDefinition, WireCondition, WireModel
from tenantry.core import canonical
from tenantry.core.clock import iso
from tenantry.core.ids import ulid

Ulid = Annotated[str, Meta(pattern="^[0-7][0-9A-HJKMNP-TV-Z]{25}(?!\n)$", max_length=26)]
MaybeUlid = Annotated[str, Meta(pattern="^([0-7][0-9A-HJKMNP-TV-Z]{25})?(?!\n)$", max_length=26)]
Token = Annotated[str, Meta(max_length=TOKEN_MAX_CHARACTERS)]
PageSize = Annotated[int, Meta(ge=1, le=100)]
Consistency = Literal["UNSPECIFIED", "MINIMIZE_LATENCY", "HIGHER_CONSISTENCY"]
Context = dict[str, Any]


class _Taken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class _Given(msgspec.Struct, frozen=True):
    pass


class ConditionOf(_Taken, frozen=True, omit_defaults=True):
    """A condition by its name, with what a tuple fixes of its context."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    context: Context | None = None


class Key(_Taken, frozen=True):
    """A tuple; of a question, and of one to delete, its condition does not matter."""

    user: Annotated[str, Meta(max_length=512)] = ""
    relation: Annotated[str, Meta(max_length=50)] = ""
    object: Annotated[str, Meta(max_length=256)] = ""
    condition: ConditionOf | None = None

    def tuple(self) -> TupleKey:
        """The tuple with its condition."""
        condition = self.condition
        if condition is None:
            return TupleKey(self.user, self.relation, self.object)
        context = canonical.encode(condition.context or {}).decode()
        return TupleKey(self.user, self.relation, self.object, RelationshipCondition(condition.name, context))


class Keys(_Taken, frozen=True):
    """Contextual tuples."""

    tuple_keys: tuple[Key, ...] = ()


class CreateStore(_Taken, frozen=True):
    """A store to make."""

    name: Annotated[str, Meta(pattern="^[a-zA-Z0-9\\s./^_&@-]{3,64}(?!\n)$", max_length=64)]


class ListStores(_Taken, frozen=True):
    """Which stores."""

    page_size: PageSize = 50
    continuation_token: Token = ""
    name: Annotated[str, Meta(max_length=64)] = ""


class Page(_Taken, frozen=True):
    """Which page."""

    page_size: PageSize = 50
    continuation_token: Token = ""


class WriteModel(_Taken, frozen=True):
    """A version of a model."""

    type_definitions: tuple[TypeDefinition, ...]
    schema_version: str = "1.1"
    conditions: dict[str, WireCondition] | None = None

    def wire(self) -> WireModel:
        """The model."""
        return WireModel(self.schema_version, self.type_definitions, self.conditions or {})


class Read(_Taken, frozen=True):
    """Which tuples: all, or those of an object, or of a type and a user."""

    tuple_key: Key | None = None
    page_size: PageSize = 50
    continuation_token: Token = ""
    consistency: Consistency = "UNSPECIFIED"


class Writes(_Taken, frozen=True):
    """Tuples to write."""

    tuple_keys: tuple[Key, ...]
    on_duplicate: Literal["", "error", "ignore"] = ""


class Deletes(_Taken, frozen=True):
    """Tuples to delete."""

    tuple_keys: tuple[Key, ...]
    on_missing: Literal["", "error", "ignore"] = ""


class Write(_Taken, frozen=True):
    """What to write and what to delete."""

    writes: Writes | None = None
    deletes: Deletes | None = None
    authorization_model_id: MaybeUlid = ""


class Check(_Taken, frozen=True):
    """One question."""

    tuple_key: Key
    contextual_tuples: Keys | None = None
    authorization_model_id: MaybeUlid = ""
    trace: bool = False
    context: Context | None = None
    consistency: Consistency = "UNSPECIFIED"


class BatchItem(_Taken, frozen=True):
    """One question of many."""

    tuple_key: Key
    correlation_id: str
    contextual_tuples: Keys | None = None
    context: Context | None = None


class BatchCheck(_Taken, frozen=True):
    """Many questions."""

    checks: tuple[BatchItem, ...]
    authorization_model_id: MaybeUlid = ""
    consistency: Consistency = "UNSPECIFIED"


class Expand(_Taken, frozen=True):
    """A relation to make up."""

    tuple_key: Key
    authorization_model_id: MaybeUlid = ""
    consistency: Consistency = "UNSPECIFIED"
    contextual_tuples: Keys | None = None


class ListObjects(_Taken, frozen=True):
    """Which objects."""

    type: Annotated[str, Meta(min_length=1, max_length=254)]
    relation: Annotated[str, Meta(min_length=1, max_length=50)]
    user: Annotated[str, Meta(min_length=1, max_length=512)]
    authorization_model_id: MaybeUlid = ""
    contextual_tuples: Keys | None = None
    context: Context | None = None
    consistency: Consistency = "UNSPECIFIED"


class ObjectOf(_Taken, frozen=True):
    """An object, taken apart."""

    type: Annotated[str, Meta(min_length=1, max_length=254)]
    id: Annotated[str, Meta(min_length=1, max_length=256)]


class UserFilter(_Taken, frozen=True):
    """A kind of user."""

    type: Annotated[str, Meta(min_length=1, max_length=254)]
    relation: Annotated[str, Meta(max_length=50)] = ""


class ListUsers(_Taken, frozen=True):
    """Which users."""

    object: ObjectOf
    relation: Annotated[str, Meta(min_length=1, max_length=50)]
    user_filters: Annotated[tuple[UserFilter, ...], Meta(min_length=1, max_length=1)]
    authorization_model_id: MaybeUlid = ""
    contextual_tuples: tuple[Key, ...] | None = None
    context: Context | None = None
    consistency: Consistency = "UNSPECIFIED"


class ReadChanges(_Taken, frozen=True):
    """Which changes."""

    type: Annotated[str, Meta(max_length=254)] = ""
    page_size: PageSize = 50
    continuation_token: Token = ""
    start_time: Annotated[str, Meta(max_length=40)] = ""


class Assertion(_Taken, frozen=True, omit_defaults=True):
    """A question and its answer."""

    tuple_key: Key
    expectation: bool
    contextual_tuples: tuple[Key, ...] = ()
    context: Context | None = None


class WriteAssertions(_Taken, frozen=True):
    """What a model is held to."""

    assertions: tuple[Assertion, ...]


class StoreGiven(_Given, frozen=True):
    """A store."""

    id: str
    name: str
    created_at: str
    updated_at: str


class Stores(_Given, frozen=True):
    """A page of stores."""

    stores: list[StoreGiven]
    continuation_token: str


class ModelId(_Given, frozen=True):
    """A version that was written."""

    authorization_model_id: str


class ModelGiven(_Given, frozen=True):
    """A version of a model."""

    id: str
    schema_version: str
    type_definitions: tuple[TypeDefinition, ...]
    conditions: dict[str, WireCondition]


class OneModel(_Given, frozen=True):
    """One version."""

    authorization_model: ModelGiven


class Models(_Given, frozen=True):
    """A page of versions, the newest first."""

    authorization_models: list[ModelGiven]
    continuation_token: str


class KeyGiven(_Given, frozen=True):
    """A tuple with its condition."""

    user: str
    relation: str
    object: str
    condition: ConditionOf | None = None


class TupleGiven(_Given, frozen=True):
    """A stored tuple."""

    key: KeyGiven
    timestamp: str


class Tuples(_Given, frozen=True):
    """A page of tuples."""

    tuples: list[TupleGiven]
    continuation_token: str


class ChangeGiven(_Given, frozen=True):
    """A tuple that was written or deleted."""

    tuple_key: KeyGiven
    operation: Literal["TUPLE_OPERATION_WRITE", "TUPLE_OPERATION_DELETE"]
    timestamp: str


class Changes(_Given, frozen=True):
    """A page of changes, the oldest first; its token leads on, also at the end."""

    changes: list[ChangeGiven]
    continuation_token: str


class Allowed(_Given, frozen=True):
    """An answer."""

    allowed: bool
    resolution: str = ""


class CheckError(_Given, frozen=True):
    """Why a question of many has no answer."""

    input_error: str
    message: str


class BatchResult(_Given, frozen=True):
    """The answer to a question of many, or why there is none."""

    allowed: bool | UnsetType = UNSET
    error: CheckError | UnsetType = UNSET


class BatchAnswer(_Given, frozen=True):
    """The answers by their correlation ids."""

    result: dict[str, BatchResult]


class Tree(_Given, frozen=True):
    """How a relation is made up."""

    root: Node


class ExpandAnswer(_Given, frozen=True):
    """One level of it."""

    tree: Tree


class Objects(_Given, frozen=True):
    """A complete list of objects."""

    objects: list[str]


class UserGiven(_Given, frozen=True, omit_defaults=True):
    """Exactly one of the three."""

    object: ObjectOf | UnsetType = UNSET
    userset: dict[str, str] | UnsetType = UNSET
    wildcard: dict[str, str] | UnsetType = UNSET


class Users(_Given, frozen=True):
    """A complete list of users."""

    users: list[UserGiven]


class Assertions(_Given, frozen=True):
    """What a model is held to."""

    authorization_model_id: str
    assertions: list[Assertion]


def store_given(store: Store) -> StoreGiven:
    """A store as it is shown."""
    return StoreGiven(ulid(store.id), store.name, iso(store.made_at), iso(store.changed_at))


def model_given(row: ModelRow) -> ModelGiven:
    """A version as it is shown."""
    wire = msgspec.json.decode(row.body, type=WireModel)
    return ModelGiven(ulid(row.id), wire.schema_version, wire.type_definitions, wire.conditions)


def key_given(row: TupleRow | ChangeRow) -> KeyGiven:
    """A stored tuple as it is shown."""
    condition = None
    if row.condition:
        context = msgspec.json.decode(row.context, type=Context) if row.context else {}
        condition = ConditionOf(row.condition, context)
    return KeyGiven(row.subject, row.relation, row.object, condition)


def user_given(text: str) -> UserGiven:
    """A listed user as it is shown."""
    subject = read_subject(text)
    if subject.wildcard:
        return UserGiven(wildcard={"type": subject.type})
    if subject.relation:
        return UserGiven(userset={"type": subject.type, "id": subject.id, "relation": subject.relation})
    return UserGiven(object=ObjectOf(subject.type, subject.id))
