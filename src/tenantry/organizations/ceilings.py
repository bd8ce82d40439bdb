"""What an agent may at most do, as the access room asks it: its own ceiling, and that of the blueprint version it was made of.

Read from the database for every question about an agent, so that a ceiling that was lowered holds at once, on every node.
"""

from collections.abc import Collection

import msgspec

from tenantry.access.ceiling import Ceiling
from tenantry.access.chain import Bound
from tenantry.core import scopes
from tenantry.journal import Journal
from tenantry.organizations.part import Part
from tenantry.store import Dialects, Read


class _Row(msgspec.Struct, frozen=True):
    id: str
    own: str
    blueprint_id: str
    declared: str


def _text(asked: str) -> str:
    return (
        "SELECT a.id, a.ceiling_json, a.blueprint_id, v.ceiling_json FROM agents a JOIN blueprint_versions v "  # noqa: S608
        "ON v.org = a.org AND v.blueprint_id = a.blueprint_id AND v.version = a.blueprint_version "
        f"WHERE a.org = :org AND a.id IN ({asked}) UNION ALL "
        f"SELECT g.id, g.ceiling_json, '', '' FROM visiting_agents g WHERE g.org = :org AND g.id IN ({asked})"
    )


CEILINGS = Read(
    "organizations_ceilings",
    _Row,
    Dialects(sqlite=_text("SELECT value FROM json_each(:agents)"), postgres=_text("SELECT unnest(:agents)")),
    {"agents": list},
)

PART = Part(tables=(), statements=(), reads=(CEILINGS,), ddl="")

_decoder = msgspec.json.Decoder(Ceiling)


class KeptCeilings:
    """See `access.sources.Ceilings`."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def of(self, org: str, agents: Collection[str]) -> dict[str, tuple[Bound, ...]]:
        """The ceilings of these agents, visiting ones among them; those that the organization has not are left out."""
        rows = await self._journal.reads(scopes.of_job(org)).all(CEILINGS, agents=sorted(agents))
        return {row.id: _bounds(row) for row in rows}


def _bounds(row: _Row) -> tuple[Bound, ...]:
    own = Bound("actor", row.id, _decoder.decode(row.own))
    if not row.blueprint_id:
        return (own,)  # a visiting agent is of nobody's blueprint here
    return own, Bound("blueprint", row.blueprint_id, _decoder.decode(row.declared))
