"""What a room tells the store: its tables and their kinds, the statements that write them, the reads, the migrations.

SQL is written once, with `:name` for arguments and `{int}`, `{bytes}`, `{strict}` for what the two databases spell differently;
where a statement differs in more than that, `Dialects` holds both texts. Only three column types exist: text, 64-bit integer, bytes.
"""

import hashlib
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import cached_property

import msgspec


class Kind(Enum):
    """What becomes of a change to a table, and who may write it."""

    STATE = "state"
    """Recorded: a set that writes it without an event is refused, and makes a row of the changelog."""

    JOURNAL = "journal"
    """The journal's own: changelog, leaves, heads, cuts, cursors, duties."""

    EPHEMERAL = "ephemeral"
    """Codes, nonces, tries: guarded and durable, unrecorded, batchable."""

    DERIVED = "derived"
    """Rebuilt by a follower from changelog and leaves; written by its set alone."""


class Table(msgspec.Struct, frozen=True):
    """A table. Unless `deployment_wide`, it has a column `org` that leads its primary key and is fenced by row security.

    `app` and `worker` name what the PostgreSQL role may do beyond `SELECT`; by default what the kind needs.
    """

    name: str
    kind: Kind
    deployment_wide: bool = False
    app: str | None = None
    worker: str | None = None
    follower_reads: bool = False
    worker_sees_all: bool = False


class Dialects(msgspec.Struct, frozen=True):
    """One statement in two spellings; an empty one is skipped on that database."""

    sqlite: str
    postgres: str


class Compiled(msgspec.Struct, frozen=True):
    """A text with positional arguments and the order of their names."""

    text: str
    names: tuple[str, ...]


class Function(msgspec.Struct, frozen=True, dict=True):
    """A function of the database on PostgreSQL, with the rights of whoever calls it; `body` is what follows the name."""

    purpose: str
    body: str

    @cached_property
    def name(self) -> str:
        """It carries a digest of the body, so that two versions of the server stand side by side."""
        return f"{self.purpose}_{hashlib.sha256(self.body.encode()).hexdigest()[:12]}"

    @cached_property
    def definition(self) -> str:
        """The statement that makes it."""
        return f"CREATE OR REPLACE FUNCTION {self.name}{self.body}"


class Statement(msgspec.Struct, frozen=True, eq=False, dict=True):
    """A registered way to write one table.

    `args` names each argument's type beside `:org`, which every statement of a tenant's table must use. `returns`: the text
    gives one integer. On PostgreSQL the text may also be a block of PL/pgSQL, `BEGIN … END`, that sets `made` to what it gives and, where
    nothing was written, calls `tenantry_guard(0, step)`.

    `many`, for an ephemeral table, lets sets share a transaction on PostgreSQL: the same statement over a relation
    `alive(n, org, …arguments)`, ending in `RETURNING org, …key`; `key` names the columns beside `org` that tell rows apart.
    """

    name: str
    table: Table
    sql: str | Dialects
    args: Mapping[str, type]
    returns: bool = False
    key: tuple[str, ...] = ()
    many: str = ""

    def __post_init__(self) -> None:
        for text in (text_of(self.sql, "sqlite"), text_of(self.sql, "postgres")):
            if text and not self.table.deployment_wide and ":org" not in text:
                raise ValueError(f"statement {self.name} does not name its organization")

    @cached_property
    def sqlite(self) -> Compiled:
        return compile_sqlite(text_of(self.sql, "sqlite"))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The arguments of `function`, before the step's place."""
        return ("org", *self.args)

    @cached_property
    def types(self) -> tuple[str, ...]:
        """Their types on PostgreSQL."""
        return tuple(_PG_TYPES[kind] for kind in (str, *self.args.values()))

    @cached_property
    def function(self) -> Function | None:
        """What runs it on PostgreSQL: it sets the tenant, and with a place of 0 or more it raises when no row was written."""
        text = text_of(self.sql, "postgres")
        if not text:
            return None
        inner = _NAMED.sub(lambda match: f"p_{match[1]}", _render(text, "postgres")).strip()
        if not inner.startswith("BEGIN"):
            inner = _as_plpgsql(inner, returns=self.returns)
        parameters = ", ".join(f"p_{name} {kind}" for name, kind in zip(self.names, self.types, strict=True))
        body = (
            f"({parameters}, step bigint) RETURNS bigint LANGUAGE plpgsql AS $body$\n#variable_conflict use_column\n"
            f"DECLARE made bigint;\nBEGIN\nPERFORM set_config('tenantry.org', p_org, true);\n{inner};\nRETURN made;\nEND $body$"
        )
        return Function(f"write_{self.name}", body)


def _as_plpgsql(text: str, *, returns: bool) -> str:
    """A statement that raises when it wrote, or found, no row although it must."""
    if returns:
        text += " INTO made"
    elif text.upper().startswith("SELECT"):
        text = "PERFORM" + text[len("SELECT") :]
    return f"{text};\nIF step >= 0 AND NOT FOUND THEN PERFORM tenantry_guard(0, step); END IF"


T = typing.TypeVar("T")


class Read(msgspec.Struct, typing.Generic[T], frozen=True, eq=False, dict=True):
    """A registered way to read rows of one organization, each built as `row(*columns)`.

    On PostgreSQL it becomes a function that sets the tenant and runs the text in one round trip. `row` is a frozen struct
    whose fields are `str`, `int` or `bytes`, optionally `None`, in the order of the columns.
    """

    name: str
    row: type[T]
    sql: str | Dialects
    args: Mapping[str, type] = {}

    def __post_init__(self) -> None:
        if ":org" not in text_of(self.sql, "sqlite") or ":org" not in text_of(self.sql, "postgres"):
            raise ValueError(f"read {self.name} does not name its organization")

    @cached_property
    def sqlite(self) -> Compiled:
        return compile_sqlite(text_of(self.sql, "sqlite"))

    @cached_property
    def call(self) -> Compiled:
        """How the function is called."""
        names = ("org", *self.args)
        types = {"org": str, **self.args}
        places = ", ".join(f"${i}::{_PG_TYPES[types[name]]}" for i, name in enumerate(names, 1))
        return Compiled(f"SELECT * FROM {self.function.name}({places})", names)  # noqa: S608

    @cached_property
    def function(self) -> Function:
        """The function that sets the tenant and runs the text."""
        types = {"org": str, **self.args}
        parameters = ", ".join(f"p_{name} {_PG_TYPES[kind]}" for name, kind in types.items())
        columns = ", ".join(f"{name} {_PG_TYPES[kind]}" for name, kind in _columns(self.row).items())
        text = _NAMED.sub(lambda match: f"p_{match[1]}", _render(text_of(self.sql, "postgres"), "postgres"))
        body = (
            f"({parameters}) RETURNS TABLE ({columns}) LANGUAGE plpgsql AS $body$\n#variable_conflict use_column\n"
            f"BEGIN PERFORM set_config('tenantry.org', p_org, true); RETURN QUERY {text}; END $body$"
        )
        return Function(f"read_{self.name}", body)


class Migration(msgspec.Struct, frozen=True):
    """One step of a room's schema.

    An `expand` step leaves the previous version of the server working; a `contract` step removes what only it needed and runs
    a release later. Statements are separated by `;` at the end of a line.
    """

    number: int
    phase: typing.Literal["expand", "contract"]
    title: str
    sql: str | Dialects

    def statements(self, dialect: str) -> list[str]:
        """The statements of this migration on one database, in order."""
        text = _render(text_of(self.sql, dialect), dialect)
        return [part.strip() for part in re.split(r";\s*(?:\n|$)", text) if part.strip()]


class Schema(msgspec.Struct, frozen=True):
    """Everything a room keeps in the database."""

    room: str
    tables: tuple[Table, ...]
    statements: tuple[Statement, ...]
    reads: tuple[Read[typing.Any], ...]
    migrations: tuple[Migration, ...]
    functions: Callable[[Iterable[Statement]], list[Function]] = lambda _: []
    """What else has to be in the database on PostgreSQL, given the statements of all rooms."""


_NAMED = re.compile(r"(?<!:):([a-z_]+)")
_PG_TYPES: dict[type, str] = {str: "text", int: "bigint", bytes: "bytea", list: "text[]", list[bytes]: "bytea[]"}
_WORDS = {
    "sqlite": {"{int}": "INTEGER", "{bytes}": "BLOB", "{strict}": "STRICT"},
    "postgres": {"{int}": "bigint", "{bytes}": "bytea", "{strict}": ""},
}


def compile_sqlite(text: str) -> Compiled:
    """`:name` as `?1`, `?2`, … in order of first use."""
    names: list[str] = []

    def place(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"?{names.index(match[1]) + 1}"

    return Compiled(_NAMED.sub(place, _render(text, "sqlite")), tuple(names))


def compile_postgres(text: str, args: Mapping[str, type]) -> Compiled:
    """`:name` as `$1::type`, … in order of first use; types come from the declaration, never from a value."""
    names: list[str] = []
    types = {"org": str, **args}

    def place(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}::{_PG_TYPES[types[match[1]]]}"

    return Compiled(_NAMED.sub(place, _render(text, "postgres")), tuple(names))


def _render(text: str, dialect: str) -> str:
    for word, spelling in _WORDS[dialect].items():
        text = text.replace(word, spelling)
    return text


def text_of(sql: str | Dialects, dialect: str) -> str:
    """The text for one database, its placeholders still in it."""
    return sql if isinstance(sql, str) else getattr(sql, dialect)


def _columns(row: type) -> dict[str, type]:
    return {name: _plain(kind) for name, kind in typing.get_type_hints(row).items()}


def _plain(kind: object) -> type:
    """The column type behind `X` or `X | None`."""
    options = [option for option in typing.get_args(kind) if option is not type(None)] or [kind]
    for known in _PG_TYPES:
        if options == [known]:
            return known
    raise TypeError(f"{kind} is no type of a column")
