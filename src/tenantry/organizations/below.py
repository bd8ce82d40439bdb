"""What lies directly below a branch of the tree, of all that this room keeps: for receipts, and for the proof that access is gone."""

from collections.abc import Mapping

import msgspec

from tenantry.organizations.part import Part
from tenantry.organizations.parties import PartyKind
from tenantry.store import Dialects, Read


class Below(msgspec.Struct, frozen=True):
    """Something active, the principal whose standing it has, and when it ends by itself."""

    id: str
    principal_id: str
    ends_at_ms: int | None


class There(msgspec.Struct, frozen=True):
    """That it is, or was, there."""

    id: str


_ARGS = {"parents": list, "after": str, "at": int, "most": int}
_RUNS_ON = "(ends_at IS NULL OR ends_at > :at)"


def _below(name: str, source: str) -> Read[Below]:
    """`source` selects (id, principal_id, ends_at, parent) of everything that is active."""

    def text(parents: str) -> str:
        return (
            f"SELECT id, principal_id, ends_at FROM ({source}) b WHERE {_RUNS_ON} AND parent IN ({parents}) "  # noqa: S608
            "AND id > :after ORDER BY id LIMIT :most"
        )

    spelled = Dialects(sqlite=text("SELECT value FROM json_each(:parents)"), postgres=text("SELECT unnest(:parents)"))
    return Read(f"organizations_below_{name}", Below, spelled, _ARGS)


def _there(name: str, table: str, *, kind: PartyKind | None = None) -> Read[There]:
    restricted = f" AND kind = '{kind.value}'" if kind else ""
    return Read(
        f"organizations_there_{name}",
        There,
        f"SELECT id FROM {table} WHERE org = :org AND id = :id{restricted}",  # noqa: S608
        {"id": str},
    )


def _parties(kind: PartyKind) -> str:
    return (
        "SELECT id, id AS principal_id, ends_at, org AS parent FROM parties "  # noqa: S608
        f"WHERE org = :org AND kind = '{kind.value}' AND status = 'active'"
    )


_AGENTS = (
    "SELECT p.id, p.id AS principal_id, p.ends_at, coalesce(a.blueprint_id, p.org) AS parent FROM parties p "
    "LEFT JOIN agents a ON a.org = p.org AND a.id = p.id "
    "WHERE p.org = :org AND p.kind IN ('agent', 'visiting_agent') AND p.status = 'active'"
)
_JOBS = (
    "SELECT p.id, p.id AS principal_id, p.ends_at, coalesce(j.initiator_id, p.org) AS parent FROM parties p "
    "JOIN jobs j ON j.org = p.org AND j.id = p.id WHERE p.org = :org AND p.status = 'active'"
)
_KEYS = "SELECT id, principal_id, ends_at, principal_id AS parent FROM principal_keys WHERE org = :org AND status = 'active'"
_ENTRIES = "SELECT id, id AS principal_id, ends_at, org AS parent FROM entries WHERE org = :org AND ended_at IS NULL"

BELOW: Mapping[str, Read[Below]] = {
    "user": _below("user", _parties(PartyKind.USER)),
    "blueprint": _below("blueprint", _parties(PartyKind.BLUEPRINT)),
    "agent": _below("agent", _AGENTS),
    "service": _below("service", _parties(PartyKind.SERVICE)),
    "mcp_server": _below("mcp_server", _parties(PartyKind.MCP_SERVER)),
    "job": _below("job", _JOBS),
    "key": _below("key", _KEYS),
    "entry": _below("entry", _ENTRIES),
}
"""By the name of the kind in the tree."""

THERE: Mapping[str, Read[There]] = {
    "user": _there("user", "parties", kind=PartyKind.USER),
    "blueprint": _there("blueprint", "parties", kind=PartyKind.BLUEPRINT),
    "agent": _there("agent", "parties"),
    "service": _there("service", "parties", kind=PartyKind.SERVICE),
    "mcp_server": _there("mcp_server", "parties", kind=PartyKind.MCP_SERVER),
    "job": _there("job", "parties", kind=PartyKind.JOB),
    "key": _there("key", "principal_keys"),
    "entry": _there("entry", "entries"),
}

PART = Part(tables=(), statements=(), reads=(*BELOW.values(), *THERE.values()), ddl="")
