"""Doors: what leads from the outside to an organization before anybody has proved anything.

A door is a kind and the hash of a name. It is the only table that is read without a tenant, by one function, `behind`; row security still
holds whoever writes it to doors of its own organization. It says nothing but which organization: no personal data, no name.
"""

import enum
import hashlib

from tenantry.core import scopes
from tenantry.core.errors import AlreadyDone, NotFound
from tenantry.core.scopes import DoorScope
from tenantry.journal import WriteSet
from tenantry.organizations.part import Part
from tenantry.store import Engine, Kind, Statement, Survey, Table

DOORS = Table("doors", Kind.STATE, worker="SELECT", worker_sees_all=True)


class DoorKind(enum.StrEnum):
    """What the name of a door is."""

    DOMAIN = "domain"
    """A mail domain that was proved."""
    CLIENT = "client"
    """The id of an OAuth client."""


OPEN_DOOR = Statement(
    "organizations_open_door",
    DOORS,
    "INSERT INTO doors (kind, hash, org, target) VALUES (:kind, :hash, :org, :target) ON CONFLICT DO NOTHING",
    {"kind": str, "hash": str, "target": str},
)
CLOSE_DOORS = Statement(
    "organizations_close_doors", DOORS, "DELETE FROM doors WHERE org = :org AND target = :target", {"target": str}
)
CLOSE_ALL_DOORS = Statement("organizations_close_all_doors", DOORS, "DELETE FROM doors WHERE org = :org", {})
BEHIND = Survey(
    "organizations_behind",
    "SELECT org FROM doors WHERE kind = :kind AND hash = :hash",
    {"kind": str, "hash": str},
    role="worker",
)

PART = Part(
    tables=(DOORS,),
    statements=(OPEN_DOOR, CLOSE_DOORS, CLOSE_ALL_DOORS),
    reads=(),
    ddl="""
CREATE TABLE doors (
    kind text NOT NULL, hash text NOT NULL, org text NOT NULL, target text NOT NULL, PRIMARY KEY (kind, hash)) {strict};
CREATE INDEX doors_org ON doors (org, target);
""",
)


class DoorTaken(AlreadyDone):
    """The name leads to another organization, or here already."""

    code = "door_taken"
    sentence = "This name is in use already."


def open_door(w: WriteSet, kind: DoorKind, name: str, target: str) -> None:
    """Let a name lead to this organization, because of `target` (a domain, an application).

    Not checked here: that the name is theirs.

    Raises, when the set is sent:
        DoorTaken: it leads somewhere already.
    """
    w.write(OPEN_DOOR, DoorTaken, kind=kind.value, hash=_hash(kind, name), target=target)


def close_doors(w: WriteSet, target: str) -> None:
    """Close every door that was opened because of `target`."""
    w.write(CLOSE_DOORS, target=target)


async def behind(engine: Engine, kind: DoorKind, name: str) -> DoorScope:
    """The organization that a name leads to, for what may be read before anybody has proved anything.

    Raises:
        NotFound: it leads nowhere.
    """
    rows = await engine.survey(BEHIND, kind=kind.value, hash=_hash(kind, name))
    if not rows:
        raise NotFound("This leads to no organization.")
    return scopes.of_door(rows[0][0])


def _hash(kind: DoorKind, name: str) -> str:
    return hashlib.sha256(f"{kind.value}\0{name}".encode()).hexdigest()
