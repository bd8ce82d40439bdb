"""The sessions room's tables: sessions, grants and runs as branches of the tree, and the receipts of what was cut.

Who writes each, who follows it and what a crash leaves: docs/explanation/architecture.md.
"""

import msgspec

from tenantry.journal.schema import Change, Cut
from tenantry.store import Dialects, Kind, Migration, Read, Schema, Statement, Survey, Table

BRANCHES = Table("branches", Kind.STATE)
RECEIPTS = Table("receipts", Kind.DERIVED)

_IDS = msgspec.json.Decoder(tuple[str, ...])


class Branch(msgspec.Struct, frozen=True):
    """A session, grant or run. It descends from `path`, which ends with itself, as it was at revision `rev`."""

    id: str
    kind: str
    parent: str
    principal: str
    """Whose it is: the user of a session, whom a grant is given to, the agent or job that a run is one of."""

    path_json: str
    rev: int
    made_at_ms: int
    ends_at_ms: int | None
    ended_at_ms: int | None
    detail: str
    """What the room that made it keeps with it, as JSON."""

    @property
    def path(self) -> tuple[str, ...]:
        """The ids it descends from, the organization first and itself last."""
        return _IDS.decode(self.path_json)

    def is_open(self, now_ms: int) -> bool:
        """Whether it was neither ended nor has run out. A cut of what it descends from is another matter: ask `branches.standing`."""
        return self.ended_at_ms is None and (self.ends_at_ms is None or now_ms < self.ends_at_ms)


class Held(msgspec.Struct, frozen=True):
    """A branch as a list of what lies below another names it."""

    id: str
    kind: str
    path_json: str
    rev: int
    ends_at_ms: int | None

    @property
    def path(self) -> tuple[str, ...]:
        """The ids it descends from, itself last."""
        return _IDS.decode(self.path_json)


class ReceiptRow(msgspec.Struct, frozen=True):
    """One part of a receipt, as it was signed."""

    revision: int
    part: int
    body: str


ADD_BRANCH = Statement(
    "sessions_add_branch",
    BRANCHES,
    "INSERT INTO branches (org, id, kind, parent, principal, path, rev, made_at, ends_at, detail) "
    "VALUES (:org, :id, :kind, :parent, :principal, :path, :rev, :made_at, :ends_at, :detail) ON CONFLICT DO NOTHING",
    {
        "id": str,
        "kind": str,
        "parent": str,
        "principal": str,
        "path": str,
        "rev": int,
        "made_at": int,
        "ends_at": int,
        "detail": str,
    },
)
END_BRANCH = Statement(
    "sessions_end_branch",
    BRANCHES,
    "UPDATE branches SET ended_at = :ended_at WHERE org = :org AND id = :id AND ended_at IS NULL",
    {"id": str, "ended_at": int},
)
ADD_RECEIPTS = Statement(
    "sessions_add_receipts",
    RECEIPTS,
    Dialects(
        sqlite="INSERT INTO receipts (org, branch, revision, part, body) "
        "SELECT :org, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), "
        "json_extract(value, '$[3]') FROM json_each(:rows) WHERE true ON CONFLICT DO NOTHING",
        postgres="INSERT INTO receipts (org, branch, revision, part, body) "
        "SELECT :org, r ->> 0, (r ->> 1)::bigint, (r ->> 2)::bigint, r ->> 3 FROM jsonb_array_elements((:rows)::jsonb) AS r "
        "ON CONFLICT DO NOTHING",
    ),
    {"rows": str},
)

_BRANCH = "id, kind, parent, principal, path, rev, made_at, ends_at, ended_at, detail FROM branches WHERE org = :org"
BRANCH = Read("sessions_branch", Branch, f"SELECT {_BRANCH} AND id = :id", {"id": str})
_OPEN = "org = :org AND id > :after AND (ended_at IS NULL OR ended_at > :at) AND (ends_at IS NULL OR ends_at > :at)"


def _children(ids: str) -> str:
    """Open branches of a kind below some others, each as a parent or, for a run, as what it is a run of."""
    return (
        f"SELECT id, kind, path, rev, ends_at FROM branches WHERE {_OPEN} AND kind = :kind AND (parent IN ({ids}) "  # noqa: S608 (both texts are below)
        f"OR (kind = 'run' AND principal IN ({ids}))) ORDER BY id LIMIT :most"
    )


CHILDREN = Read(
    "sessions_children",
    Held,
    Dialects(
        sqlite=_children("SELECT value FROM json_each(:parents)"),
        postgres=_children("SELECT unnest(:parents)"),
    ),
    {"kind": str, "parents": list, "after": str, "at": int, "most": int},
)
CUTS_AMONG = Read(
    "sessions_cuts_among",
    Cut,
    Dialects(
        sqlite="SELECT id, max(rev) FROM cuts WHERE org = :org AND id IN (SELECT value FROM json_each(:ids)) GROUP BY id",
        postgres="SELECT id, max(rev) FROM cuts WHERE org = :org AND id = ANY(:ids) GROUP BY id",
    ),
    {"ids": list},
)
RECEIPTS_OF = Read(
    "sessions_receipts_of",
    ReceiptRow,
    "SELECT revision, part, body FROM receipts WHERE org = :org AND branch = :branch AND (revision > :revision "
    "OR (revision = :revision AND part > :part)) ORDER BY revision, part LIMIT :most",
    {"branch": str, "revision": int, "part": int, "most": int},
)
CUTS_SINCE = Read(
    "sessions_cuts_since",
    Change,
    "SELECT org, rev, at, touched, cut FROM changelog WHERE org = :org AND rev > :after AND at >= :since AND cut <> '[]' "
    "ORDER BY rev LIMIT :most",
    {"after": int, "since": int, "most": int},
)
CUTS_WITHIN = Survey(
    "sessions_cuts_within",
    "SELECT org, rev, at, touched, cut FROM changelog WHERE cut <> '[]' AND at >= :since AND (org > :after_org "
    "OR (org = :after_org AND rev > :after_rev)) ORDER BY org, rev LIMIT :most",
    {"since": int, "after_org": str, "after_rev": int, "most": int},
)

SCHEMA = Schema(
    room="sessions",
    tables=(BRANCHES, RECEIPTS),
    statements=(ADD_BRANCH, END_BRANCH, ADD_RECEIPTS),
    reads=(BRANCH, CHILDREN, CUTS_AMONG, RECEIPTS_OF, CUTS_SINCE),
    migrations=(
        Migration(
            1,
            "expand",
            "branches and receipts",
            """
CREATE TABLE branches (
    org text NOT NULL, id text NOT NULL, kind text NOT NULL, parent text NOT NULL, principal text NOT NULL, path text NOT NULL,
    rev {int} NOT NULL, made_at {int} NOT NULL, ends_at {int}, ended_at {int}, detail text NOT NULL, PRIMARY KEY (org, id)) {strict};
CREATE INDEX branches_parent ON branches (org, parent, id);
CREATE INDEX branches_principal ON branches (org, principal, id);
CREATE TABLE receipts (
    org text NOT NULL, branch text NOT NULL, revision {int} NOT NULL, part {int} NOT NULL, body text NOT NULL,
    PRIMARY KEY (org, branch, revision, part)) {strict};
CREATE INDEX changelog_cuts ON changelog (org, rev) WHERE cut <> '[]';
CREATE INDEX changelog_cuts_at ON changelog (at) WHERE cut <> '[]';
""",
        ),
    ),
)
