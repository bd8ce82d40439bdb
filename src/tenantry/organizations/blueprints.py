"""Blueprints: versioned kinds of agents. A blueprint says what its agents may at most do, with which tools and model, and for how long;
it holds no credential. A version never changes: a change is the next version, and agents stay on theirs until they are moved.
"""

import msgspec

from tenantry.access.ceiling import Ceiling
from tenantry.core.errors import Conflict, Invalid, NotFound
from tenantry.core.text import named
from tenantry.journal import Event, Reads, Target, Text, WriteSet
from tenantry.organizations import parties
from tenantry.organizations.part import PAGE_ARGS, Part, fold, unfold
from tenantry.organizations.parties import PartyKind
from tenantry.store import Kind, Read, Statement, Table

BLUEPRINTS = Table("blueprints", Kind.STATE)
BLUEPRINT_VERSIONS = Table("blueprint_versions", Kind.STATE)
BLUEPRINT_INVOKERS = Table("blueprint_invokers", Kind.STATE)

INVOKERS = (PartyKind.USER, PartyKind.GROUP, PartyKind.SERVICE)
TOOLS_MAX = 100
INVOKERS_MAX = 50
AGENT_LIFE_MAX_MS = 366 * 24 * 3_600_000
RUN_LIFE_MAX_MS = 7 * 24 * 3_600_000


class Declaration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a version declares. Nobody but `invokers` (users, groups, services) may invoke its agents; an empty list is nobody.

    Raises:
        Invalid: a lifetime is not positive or beyond its most, or a list too long.
    """

    model: str
    tools: tuple[str, ...] = ()
    ceiling: Ceiling
    agent_life_ms: int
    """How long after it was made an agent may live."""

    run_life_ms: int
    """How long one run may take."""

    invokers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (self.model, *self.tools):
            named(name)
        if not 0 < self.agent_life_ms <= AGENT_LIFE_MAX_MS or not 0 < self.run_life_ms <= RUN_LIFE_MAX_MS:
            raise Invalid("An agent lives at most 366 days, a run at most 7; neither less than a moment.")
        if len(self.tools) > TOOLS_MAX or len(set(self.invokers)) > INVOKERS_MAX:
            raise Invalid(f"A blueprint declares at most {TOOLS_MAX} tools and {INVOKERS_MAX} invokers.")


class Blueprint(msgspec.Struct, frozen=True):
    """A blueprint at its newest version."""

    org: str
    id: str
    status: str
    name: str
    version: int
    made_at_ms: int

    def path(self) -> tuple[str, ...]:
        """The branches above its agents."""
        return (self.org, self.id)


class BlueprintVersion(msgspec.Struct, frozen=True):
    """One version of a blueprint."""

    blueprint_id: str
    version: int
    model: str
    tools: tuple[str, ...]
    ceiling: Ceiling
    agent_life_ms: int
    run_life_ms: int
    made_at_ms: int


class _VersionRow(msgspec.Struct, frozen=True):
    blueprint_id: str
    version: int
    model: str
    tools_json: str
    ceiling_json: str
    agent_life_ms: int
    run_life_ms: int
    made_at_ms: int


class Invoker(msgspec.Struct, frozen=True):
    """Who may invoke a version's agents."""

    id: str


ADD_BLUEPRINT = Statement(
    "organizations_add_blueprint",
    BLUEPRINTS,
    "INSERT INTO blueprints (org, id, name, version) VALUES (:org, :id, :name, 1) ON CONFLICT DO NOTHING",
    {"id": str, "name": str},
)
NEXT_VERSION = Statement(
    "organizations_next_blueprint_version",
    BLUEPRINTS,
    "UPDATE blueprints SET version = :version WHERE org = :org AND id = :id AND version = :version - 1",
    {"id": str, "version": int},
)
ADD_VERSION = Statement(
    "organizations_add_blueprint_version",
    BLUEPRINT_VERSIONS,
    "INSERT INTO blueprint_versions (org, blueprint_id, version, model, tools_json, ceiling_json, agent_life_ms, run_life_ms, made_at) "
    "VALUES (:org, :id, :version, :model, :tools_json, :ceiling_json, :agent_life_ms, :run_life_ms, :made_at) ON CONFLICT DO NOTHING",
    {
        "id": str,
        "version": int,
        "model": str,
        "tools_json": str,
        "ceiling_json": str,
        "agent_life_ms": int,
        "run_life_ms": int,
        "made_at": int,
    },
)
ADD_INVOKER = Statement(
    "organizations_add_blueprint_invoker",
    BLUEPRINT_INVOKERS,
    "INSERT INTO blueprint_invokers (org, blueprint_id, version, invoker_id) VALUES (:org, :id, :version, :invoker_id) "
    "ON CONFLICT DO NOTHING",
    {"id": str, "version": int, "invoker_id": str},
)

_FROM = (
    "SELECT b.org, b.id, p.status, b.name, b.version, p.made_at FROM blueprints b "
    "JOIN parties p ON p.org = b.org AND p.id = b.id WHERE b.org = :org AND p.status <> 'removed'"
)
BLUEPRINT = Read("organizations_blueprint", Blueprint, f"{_FROM} AND b.id = :id", {"id": str})
BLUEPRINTS_PAGE = Read(
    "organizations_blueprints", Blueprint, f"{_FROM} AND b.id > :after ORDER BY b.id LIMIT :most", PAGE_ARGS
)
VERSION = Read(
    "organizations_blueprint_version",
    _VersionRow,
    "SELECT blueprint_id, version, model, tools_json, ceiling_json, agent_life_ms, run_life_ms, made_at "
    "FROM blueprint_versions WHERE org = :org AND blueprint_id = :id AND version = :version",
    {"id": str, "version": int},
)
INVOKERS_OF = Read(
    "organizations_blueprint_invokers",
    Invoker,
    "SELECT invoker_id FROM blueprint_invokers WHERE org = :org AND blueprint_id = :id AND version = :version ORDER BY invoker_id",
    {"id": str, "version": int},
)

PART = Part(
    tables=(BLUEPRINTS, BLUEPRINT_VERSIONS, BLUEPRINT_INVOKERS),
    statements=(ADD_BLUEPRINT, NEXT_VERSION, ADD_VERSION, ADD_INVOKER),
    reads=(BLUEPRINT, BLUEPRINTS_PAGE, VERSION, INVOKERS_OF),
    ddl="""
CREATE TABLE blueprints (
    org text NOT NULL, id text NOT NULL, name text NOT NULL, version {int} NOT NULL, PRIMARY KEY (org, id),
    FOREIGN KEY (org, id) REFERENCES parties (org, id)) {strict};
CREATE TABLE blueprint_versions (
    org text NOT NULL, blueprint_id text NOT NULL, version {int} NOT NULL, model text NOT NULL, tools_json text NOT NULL,
    ceiling_json text NOT NULL, agent_life_ms {int} NOT NULL, run_life_ms {int} NOT NULL, made_at {int} NOT NULL,
    PRIMARY KEY (org, blueprint_id, version), FOREIGN KEY (org, blueprint_id) REFERENCES blueprints (org, id)) {strict};
CREATE TABLE blueprint_invokers (
    org text NOT NULL, blueprint_id text NOT NULL, version {int} NOT NULL, invoker_id text NOT NULL,
    PRIMARY KEY (org, blueprint_id, version, invoker_id), FOREIGN KEY (org, invoker_id) REFERENCES parties (org, id),
    FOREIGN KEY (org, blueprint_id, version) REFERENCES blueprint_versions (org, blueprint_id, version)) {strict};
""",
)


class BlueprintAdded(Event, tag="blueprint.added", frozen=True):
    """A kind of agent was declared."""

    blueprint: Target
    name: str


class BlueprintVersionAdded(Event, tag="blueprint.version_added", frozen=True):
    """A version of a blueprint was declared; `ceiling` is the JSON of what its agents may at most do."""

    blueprint: Target
    version: int
    model: str
    tools: list[str]
    ceiling: Text
    invokers: list[str]


def add(w: WriteSet, blueprint_id: str, name: str, declaration: Declaration, now_ms: int) -> None:
    """Declare a kind of agent, at version 1."""
    parties.add(w, PartyKind.BLUEPRINT, blueprint_id, now_ms)
    w.write(ADD_BLUEPRINT, Conflict, id=blueprint_id, name=named(name))
    w.record(BlueprintAdded(blueprint_id, name))
    _declare(w, blueprint_id, 1, declaration, now_ms)


async def add_version(w: WriteSet, reads: Reads, blueprint_id: str, declaration: Declaration, now_ms: int) -> int:
    """Declare the next version; gives its number. Agents stay on theirs."""
    known = await reads.one(BLUEPRINT, id=blueprint_id)
    w.write(NEXT_VERSION, Conflict, id=blueprint_id, version=known.version + 1)
    _declare(w, blueprint_id, known.version + 1, declaration, now_ms)
    return known.version + 1


async def version(reads: Reads, blueprint_id: str, number: int) -> BlueprintVersion:
    """One version of a blueprint.

    Raises:
        NotFound: there is no such one.
    """
    return unfold(await reads.one(VERSION, NotFound, id=blueprint_id, version=number), BlueprintVersion)


async def remove(w: WriteSet, reads: Reads, blueprint_id: str) -> None:
    """Remove a blueprint for good: its agents die. What its versions declared stays, for whoever reads the log."""
    await parties.remove(w, reads, PartyKind.BLUEPRINT, blueprint_id)


def _declare(w: WriteSet, blueprint_id: str, number: int, declared: Declaration, now_ms: int) -> None:
    for invoker in dict.fromkeys(declared.invokers):
        parties.refer(w, invoker, *INVOKERS)
    ceiling = fold(declared.ceiling)
    w.write(
        ADD_VERSION,
        Conflict,
        id=blueprint_id,
        version=number,
        model=declared.model,
        tools_json=fold(declared.tools),
        ceiling_json=ceiling,
        agent_life_ms=declared.agent_life_ms,
        run_life_ms=declared.run_life_ms,
        made_at=now_ms,
    )
    for invoker in dict.fromkeys(declared.invokers):
        w.write(ADD_INVOKER, id=blueprint_id, version=number, invoker_id=invoker)
    w.record(
        BlueprintVersionAdded(blueprint_id, number, declared.model, [*declared.tools], ceiling, [*declared.invokers])
    )
