"""The room's tables: stores, models, tuples, what changed in them, assertions and decisions.

A tuple is written where it stands and, once the set's revision is known, told of in `access_changes`, which the graph and the readers of
changes follow. Who writes each, who follows it and what a crash leaves: docs/explanation/architecture.md.
"""

import msgspec

from tenantry.store import Dialects, Kind, Migration, Read, Schema, Statement, Table

STORES = Table("access_stores", Kind.STATE)
MODELS = Table("access_models", Kind.STATE)
TUPLES = Table("access_tuples", Kind.STATE)
CHANGES = Table("access_changes", Kind.STATE)
ASSERTIONS = Table("access_assertions", Kind.STATE)
DECISIONS = Table("access_decisions", Kind.EPHEMERAL)


class Store(msgspec.Struct, frozen=True):
    """A store: one organization's tuples in one application, whose `owner` is the organization that has its models.

    `model` is the version that the store is pinned to; empty while it has none.
    """

    id: str
    owner: str
    application: str
    name: str
    model: str
    made_at: int
    changed_at: int


class ModelRow(msgspec.Struct, frozen=True):
    """A version of an application's model, in OpenFGA's JSON; it never changes."""

    id: str
    application: str
    body: bytes
    made_at: int


class TupleRow(msgspec.Struct, frozen=True, gc=False):
    """A stored tuple. `context` is the condition's, as JSON; both are empty where it has none.

    `made_at` is 0 for what `system.relate` wrote, of which the log says when.
    """

    type: str
    id: str
    relation: str
    subject: str
    condition: str
    context: str
    made_at: int

    @property
    def object(self) -> str:
        """The object as text."""
        return f"{self.type}:{self.id}"


class ChangeRow(msgspec.Struct, frozen=True, gc=False):
    """A tuple that was written (`added` is 1) or deleted (0) at a revision; `place` orders those of one revision."""

    rev: int
    place: int
    added: int
    type: str
    id: str
    relation: str
    subject: str
    condition: str
    context: str
    at: int

    @property
    def object(self) -> str:
        """The object as text."""
        return f"{self.type}:{self.id}"


class Body(msgspec.Struct, frozen=True):
    """One column of JSON."""

    body: bytes


class DecisionRow(msgspec.Struct, frozen=True):
    """An answer that was given. `because` says what decided where the graph was not asked, or what kept it from answering."""

    id: str
    at: int
    store: str
    model: str
    rev: int
    subject: str
    relation: str
    object: str
    allowed: int
    because: str
    caller: str
    request: str


ADD_STORE = Statement(
    "access_add_store",
    STORES,
    "INSERT INTO access_stores (org, id, owner, application, name, model, made_at, changed_at, gone_at) "
    "VALUES (:org, :id, :owner, :application, :name, :model, :at, :at, 0)",
    {"id": str, "owner": str, "application": str, "name": str, "model": str, "at": int},
)
PIN_MODEL = Statement(
    "access_pin_model",
    STORES,
    "UPDATE access_stores SET model = :model, changed_at = :at WHERE org = :org AND id = :id AND gone_at = 0",
    {"id": str, "model": str, "at": int},
)
REMOVE_STORE = Statement(
    "access_remove_store",
    STORES,
    "UPDATE access_stores SET gone_at = :at WHERE org = :org AND id = :id AND gone_at = 0",
    {"id": str, "at": int},
)
ADD_MODEL = Statement(
    "access_add_model",
    MODELS,
    "INSERT INTO access_models (org, application, id, body, made_at) VALUES (:org, :application, :id, :body, :at)",
    {"application": str, "id": str, "body": bytes, "at": int},
)
SET_ASSERTIONS = Statement(
    "access_set_assertions",
    ASSERTIONS,
    "INSERT INTO access_assertions (org, store, model, body) VALUES (:org, :store, :model, :body) "
    "ON CONFLICT (org, store, model) DO UPDATE SET body = excluded.body",
    {"store": str, "model": str, "body": bytes},
)


def _taken(columns: tuple[str, ...], dialect: str, numbers: tuple[str, ...] = ()) -> str:
    """The columns of rows that travel as one JSON list of lists, each a `value`."""
    if dialect == "sqlite":
        return ", ".join(f"json_extract(value, '$[{n}]') AS {name}" for n, name in enumerate(columns))
    kinds = dict.fromkeys(numbers, "::bigint")
    return ", ".join(f"(value ->> {n}){kinds.get(name, '')} AS {name}" for n, name in enumerate(columns))


_GIVEN_COLUMNS = ("type", "id", "relation", "subject", "condition", "context")
_GIVEN = {
    "sqlite": f"SELECT {_taken(_GIVEN_COLUMNS, 'sqlite')}, key AS place FROM json_each(:rows)",  # noqa: S608
    "postgres": f"SELECT {_taken(_GIVEN_COLUMNS, 'postgres')}, n - 1 AS place "  # noqa: S608
    "FROM jsonb_array_elements((:rows)::jsonb) WITH ORDINALITY AS e(value, n)",
}
_INSERT = (
    "INSERT INTO access_tuples (org, store, type, id, relation, subject, condition, context, made_at) "
    "SELECT :org, :store, g.type, g.id, g.relation, g.subject, g.condition, g.context, :at FROM ({given}) AS g WHERE true"
)
_SAME = "t.org = :org AND t.store = :store AND t.type = g.type AND t.id = g.id AND t.relation = g.relation AND t.subject = g.subject"
_FOUND = "SELECT t.type, t.id, t.relation, t.subject, t.condition, t.context, t.made_at"
_THERE = {
    "sqlite": f"({_GIVEN['sqlite']}) AS g CROSS JOIN access_tuples t ON {_SAME}",
    "postgres": f"({_GIVEN['postgres']}) AS g CROSS JOIN LATERAL (SELECT t.*, t.ctid FROM access_tuples t WHERE {_SAME} LIMIT 1) AS t",  # noqa: S608
}
"""Those of the given rows that are there. Said so that each is looked up by its key: left alone, both databases read the whole store."""


def _given(text: str) -> Dialects:
    return Dialects(**{dialect: text.replace("{given}", given) for dialect, given in _GIVEN.items()})


WRITE_TUPLES = Statement("access_write_tuples", TUPLES, _given(_INSERT), {"store": str, "rows": str, "at": int})
"""All of them, or a `Conflict`: one is there."""
ADD_TUPLES = Statement(
    "access_add_tuples", TUPLES, _given(_INSERT + " ON CONFLICT DO NOTHING"), {"store": str, "rows": str, "at": int}
)
"""Whichever are not there; it commutes."""
REQUIRE_TUPLES = Statement(
    "access_require_tuples",
    TUPLES,
    Dialects(sqlite=f"SELECT 1 WHERE (SELECT count(*) FROM {_THERE['sqlite']}) = :count", postgres=""),  # noqa: S608
    {"store": str, "rows": str, "count": int},
)
"""On SQLite, where one thread writes: refuses unless all of them are there. PostgreSQL's `DELETE_TUPLES` counts for itself."""
DELETE_TUPLES = Statement(
    "access_delete_tuples",
    TUPLES,
    Dialects(
        sqlite=f"DELETE FROM access_tuples WHERE rowid IN (SELECT t.rowid FROM {_THERE['sqlite']}) AND org = :org AND :count > 0",  # noqa: S608
        postgres=f"""
BEGIN
  DELETE FROM access_tuples WHERE org = :org AND ctid = ANY (ARRAY(SELECT t.ctid FROM {_THERE["postgres"]}));
  GET DIAGNOSTICS made = ROW_COUNT;
  IF step >= 0 AND made <> :count THEN PERFORM tenantry_guard(0, step); END IF;
END""",  # noqa: S608
    ),
    {"store": str, "rows": str, "count": int},
)
"""All of them; fewer are refused where a refusal is given."""
KEEP_OWNER = Statement(
    "access_keep_owner",
    TUPLES,
    "SELECT 1 WHERE EXISTS (SELECT 1 FROM access_tuples "
    "WHERE org = :org AND store = :store AND type = 'organization' AND id = :org AND relation = 'owner')",
    {"store": str},
)
NOTE_CHANGES = Statement(
    "access_note_changes",
    CHANGES,
    _given(
        "INSERT INTO access_changes (org, store, rev, place, added, type, id, relation, subject, condition, context, at) "
        "SELECT :org, :store, r.rev, g.place + (SELECT coalesce(max(place) + 1, 0) FROM access_changes c "
        "WHERE c.org = :org AND c.store = :store AND c.rev = r.rev), "
        ":added, g.type, g.id, g.relation, g.subject, g.condition, g.context, r.at "
        "FROM ({given}) AS g, (SELECT rev, at FROM changelog WHERE org = :org ORDER BY rev DESC LIMIT 1) AS r WHERE true"
    ),
    {"store": str, "rows": str, "added": int},
)
"""Under the set's revision: only by `WriteSet.write_settled`."""

_DECISION = (
    "id",
    "at",
    "store",
    "model",
    "rev",
    "subject",
    "relation",
    "object",
    "allowed",
    "because",
    "caller",
    "request",
)
_NUMBERS = ("at", "rev", "allowed")
_DECIDED = _taken(_DECISION, "postgres", _NUMBERS)
_INTO = f"INSERT INTO access_decisions (org, {', '.join(_DECISION)})"
LOG_DECISIONS = Statement(
    "access_log_decisions",
    DECISIONS,
    Dialects(
        sqlite=f"{_INTO} SELECT :org, {_taken(_DECISION, 'sqlite')} FROM json_each(:rows) WHERE :id <> '' ON CONFLICT DO NOTHING",  # noqa: S608
        postgres=f"{_INTO} SELECT :org, {_DECIDED} FROM jsonb_array_elements((:rows)::jsonb) WHERE :id <> '' ON CONFLICT DO NOTHING",  # noqa: S608
    ),
    {"id": str, "rows": str},
    key=("id",),
    many=f"{_INTO} SELECT alive.org, {_DECIDED} FROM alive, jsonb_array_elements(alive.rows::jsonb) "  # noqa: S608
    "ON CONFLICT DO NOTHING RETURNING org, id",
)
"""Many rows; `id` is that of the first, by which sets that share a transaction tell their rows apart."""

_STORE = "SELECT id, owner, application, name, model, made_at, changed_at FROM access_stores WHERE org = :org AND gone_at = 0"
STORE = Read("access_store", Store, f"{_STORE} AND id = :id", {"id": str})
STORES_OF = Read(
    "access_stores_of", Store, f"{_STORE} AND id > :after ORDER BY id LIMIT :most", {"after": str, "most": int}
)
STORES_NAMED = Read(
    "access_stores_named",
    Store,
    f"{_STORE} AND name = :name AND id > :after ORDER BY id LIMIT :most",
    {"name": str, "after": str, "most": int},
)
_MODEL = "SELECT id, application, body, made_at FROM access_models WHERE org = :org AND application = :application"
MODEL = Read("access_model", ModelRow, f"{_MODEL} AND id = :id", {"application": str, "id": str})
MODELS_OF = Read(
    "access_models_of",
    ModelRow,
    f"{_MODEL} AND (:before = '' OR id < :before) ORDER BY id DESC LIMIT :most",
    {"application": str, "before": str, "most": int},
)
"""The newest first."""

_TUPLE = "SELECT type, id, relation, subject, condition, context, made_at FROM access_tuples WHERE org = :org AND store = :store"
_AFTER: dict[str, type] = {
    "after_type": str,
    "after_id": str,
    "after_relation": str,
    "after_subject": str,
    "most": int,
}
_PAGE = (
    "AND (type, id, relation, subject) > (:after_type, :after_id, :after_relation, :after_subject) "
    "ORDER BY type, id, relation, subject LIMIT :most"
)
TUPLES_OF = Read("access_tuples_of", TupleRow, f"{_TUPLE} {_PAGE}", {"store": str, **_AFTER})
TUPLES_OF_OBJECT = Read(
    "access_tuples_of_object",
    TupleRow,
    f"{_TUPLE} AND type = :type AND id = :id AND (:relation = '' OR relation = :relation) "
    f"AND (:subject = '' OR subject = :subject) {_PAGE}",
    {"store": str, "type": str, "id": str, "relation": str, "subject": str, **_AFTER},
)
TUPLES_OF_SUBJECT = Read(
    "access_tuples_of_subject",
    TupleRow,
    f"{_TUPLE} AND subject = :subject AND type = :type AND (:relation = '' OR relation = :relation) {_PAGE}",
    {"store": str, "type": str, "relation": str, "subject": str, **_AFTER},
)
TUPLES_AMONG = Read(
    "access_tuples_among",
    TupleRow,
    Dialects(**{dialect: f"{_FOUND} FROM {there}" for dialect, there in _THERE.items()}),
    {"store": str, "rows": str},
)
"""Those that are there."""
CHANGES_OF = Read(
    "access_changes_of",
    ChangeRow,
    "SELECT rev, place, added, type, id, relation, subject, condition, context, at FROM access_changes "
    "WHERE org = :org AND store = :store AND (rev, place) > (:rev, :place) ORDER BY rev, place LIMIT :most",
    {"store": str, "rev": int, "place": int, "most": int},
)
CHANGES_SINCE = Read(
    "access_changes_since",
    ChangeRow,
    "SELECT rev, place, added, type, id, relation, subject, condition, context, at FROM access_changes "
    "WHERE org = :org AND store = :store AND (rev, place) > (:rev, :place) AND at >= :since AND (:type = '' OR type = :type) "
    "ORDER BY rev, place LIMIT :most",
    {"store": str, "rev": int, "place": int, "since": int, "type": str, "most": int},
)
ASSERTIONS_OF = Read(
    "access_assertions_of",
    Body,
    "SELECT body FROM access_assertions WHERE org = :org AND store = :store AND model = :model",
    {"store": str, "model": str},
)
DECISIONS_OF = Read(
    "access_decisions_of",
    DecisionRow,
    f"SELECT {', '.join(_DECISION)} FROM access_decisions WHERE org = :org AND id >= :first AND id < :before "  # noqa: S608
    "AND at >= :since AND at < :until AND (:store = '' OR store = :store) AND (:subject = '' OR subject = :subject) "
    "AND (:object = '' OR object = :object) AND (:relation = '' OR relation = :relation) "
    "AND (:allowed < 0 OR allowed = :allowed) ORDER BY id DESC LIMIT :most",
    {
        "first": str,
        "before": str,
        "since": int,
        "until": int,
        "store": str,
        "subject": str,
        "object": str,
        "relation": str,
        "allowed": int,
        "most": int,
    },
)
"""The newest first, within a time from `since` until before `until`."""

SCHEMA = Schema(
    room="access",
    tables=(STORES, MODELS, TUPLES, CHANGES, ASSERTIONS, DECISIONS),
    statements=(
        *(ADD_STORE, PIN_MODEL, REMOVE_STORE, ADD_MODEL, SET_ASSERTIONS),
        *(WRITE_TUPLES, ADD_TUPLES, REQUIRE_TUPLES, DELETE_TUPLES, KEEP_OWNER, NOTE_CHANGES, LOG_DECISIONS),
    ),
    reads=(
        *(STORE, STORES_OF, STORES_NAMED, MODEL, MODELS_OF),
        *(
            TUPLES_OF,
            TUPLES_OF_OBJECT,
            TUPLES_OF_SUBJECT,
            TUPLES_AMONG,
            CHANGES_OF,
            CHANGES_SINCE,
            ASSERTIONS_OF,
            DECISIONS_OF,
        ),
    ),
    migrations=(
        Migration(
            1,
            "expand",
            "stores, models, tuples and their changes, assertions, decisions",
            """
CREATE TABLE access_stores (
    org text NOT NULL, id text NOT NULL, owner text NOT NULL, application text NOT NULL, name text NOT NULL, model text NOT NULL,
    made_at {int} NOT NULL, changed_at {int} NOT NULL, gone_at {int} NOT NULL, PRIMARY KEY (org, id)) {strict};
CREATE INDEX access_stores_name ON access_stores (org, name);
CREATE TABLE access_models (
    org text NOT NULL, application text NOT NULL, id text NOT NULL, body {bytes} NOT NULL, made_at {int} NOT NULL,
    PRIMARY KEY (org, application, id)) {strict};
CREATE TABLE access_tuples (
    org text NOT NULL, store text NOT NULL, type text NOT NULL, id text NOT NULL, relation text NOT NULL, subject text NOT NULL,
    condition text NOT NULL, context text NOT NULL, made_at {int} NOT NULL,
    PRIMARY KEY (org, store, type, id, relation, subject)) {strict};
CREATE INDEX access_tuples_subject ON access_tuples (org, store, subject, type, relation);
CREATE TABLE access_changes (
    org text NOT NULL, store text NOT NULL, rev {int} NOT NULL, place {int} NOT NULL, added {int} NOT NULL, type text NOT NULL,
    id text NOT NULL, relation text NOT NULL, subject text NOT NULL, condition text NOT NULL, context text NOT NULL, at {int} NOT NULL,
    PRIMARY KEY (org, store, rev, place)) {strict};
CREATE TABLE access_assertions (
    org text NOT NULL, store text NOT NULL, model text NOT NULL, body {bytes} NOT NULL, PRIMARY KEY (org, store, model)) {strict};
CREATE TABLE access_decisions (
    org text NOT NULL, id text NOT NULL, at {int} NOT NULL, store text NOT NULL, model text NOT NULL, rev {int} NOT NULL,
    subject text NOT NULL, relation text NOT NULL, object text NOT NULL, allowed {int} NOT NULL, because text NOT NULL,
    caller text NOT NULL, request text NOT NULL, PRIMARY KEY (org, id)) {strict};
CREATE INDEX access_decisions_subject ON access_decisions (org, subject, id);
CREATE INDEX access_decisions_object ON access_decisions (org, object, id);
""",
        ),
    ),
)
