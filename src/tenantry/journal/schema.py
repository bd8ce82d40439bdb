"""The journal's own tables and the statements that write them.

Who writes each, who follows it and what a crash leaves: docs/explanation/architecture.md.
"""

from collections.abc import Sequence

import msgspec

from tenantry.journal import sharing
from tenantry.store import Dialects, Kind, Migration, Read, Schema, Statement, Survey, Table

_INSERT = "SELECT, INSERT"
HEADS = Table(
    "heads",
    Kind.JOURNAL,
    app="SELECT, INSERT, UPDATE (locked)",
    worker="SELECT, UPDATE (locked)",
    follower_reads=True,
    worker_sees_all=True,
)
CHANGELOG = Table("changelog", Kind.JOURNAL, app=_INSERT, worker=_INSERT, follower_reads=True, worker_sees_all=True)
LEAVES = Table(
    "leaves",
    Kind.JOURNAL,
    app=f"{_INSERT}, UPDATE (salt, personal)",
    worker=_INSERT,
    follower_reads=True,
    worker_sees_all=True,
)
CUTS = Table("cuts", Kind.JOURNAL, app=_INSERT, worker=_INSERT, follower_reads=True)
CURSORS = Table("cursors", Kind.JOURNAL, app="", worker="SELECT, INSERT, UPDATE", worker_sees_all=True)
DUTIES = Table(
    "duties", Kind.JOURNAL, deployment_wide=True, app="", worker="SELECT, INSERT, UPDATE", follower_reads=True
)
DEPLOYMENT = Table(
    "deployment", Kind.JOURNAL, deployment_wide=True, app="SELECT", worker="SELECT, INSERT, UPDATE", follower_reads=True
)
INCARNATIONS = Table(
    "incarnations",
    Kind.JOURNAL,
    deployment_wide=True,
    app="SELECT",
    worker=f"{_INSERT}, UPDATE (confirmed)",
    follower_reads=True,
)
DESTRUCTIONS = Table(
    "destructions", Kind.JOURNAL, app=_INSERT, worker="SELECT", follower_reads=True, worker_sees_all=True
)

OPEN_LOG = Statement("open_log", HEADS, "INSERT INTO heads (org, locked) VALUES (:org, 0) ON CONFLICT DO NOTHING", {})
LOCK_HEAD = Statement(
    "lock_head",
    HEADS,
    Dialects(
        sqlite="SELECT 1 FROM heads WHERE org = :org",
        postgres="SELECT 1 FROM heads WHERE org = :org FOR NO KEY UPDATE",
    ),
    {},
)
GUARD_REVISION = Statement(
    "guard_revision",
    CHANGELOG,
    "SELECT 1 WHERE coalesce((SELECT max(rev) FROM changelog WHERE org = :org), 0) = :rev",
    {"rev": int},
)
GUARD_PATH = Statement(
    "guard_path",
    CUTS,
    Dialects(
        sqlite="SELECT 1 WHERE (SELECT max(number) FROM incarnations) = :incarnation "
        "AND NOT EXISTS (SELECT 1 FROM cuts WHERE org = :org AND id IN (SELECT value FROM json_each(:path)) AND rev > :rev)",
        postgres="SELECT 1 WHERE (SELECT max(number) FROM incarnations) = :incarnation "
        "AND NOT EXISTS (SELECT 1 FROM cuts WHERE org = :org AND id = ANY(:path) AND rev > :rev)",
    ),
    {"incarnation": int, "path": list, "rev": int},
)
CHANGE = Statement(
    "change",
    CHANGELOG,
    Dialects(
        sqlite="INSERT INTO changelog (org, rev, at, touched, cut) "
        "SELECT :org, coalesce((SELECT max(rev) FROM changelog WHERE org = :org), 0) + 1, :at, :touched, :cut "
        "FROM heads WHERE org = :org RETURNING rev",
        postgres="",
    ),
    {"at": int, "touched": str, "cut": str},
    returns=True,
)
CUT = Statement(
    "cut",
    CUTS,
    "INSERT INTO cuts (org, id, rev) SELECT :org, :id, max(rev) FROM changelog WHERE org = :org",
    {"id": str},
)


def _leaf(name: str, rev: str) -> Statement:
    return Statement(
        name,
        LEAVES,
        Dialects(
            sqlite="INSERT INTO leaves (org, idx, rev, body, salt, personal) "  # noqa: S608 (both texts are below)
            f"SELECT :org, coalesce((SELECT max(idx) + 1 FROM leaves WHERE org = :org), 0), {rev}, :body, :salt, :personal "
            "FROM heads WHERE org = :org",
            postgres="",
        ),
        {"body": bytes, "salt": bytes, "personal": bytes},
    )


LEAF_OF_CHANGE = _leaf("leaf_of_change", "(SELECT max(rev) FROM changelog WHERE org = :org)")
LEAF_ONLY = _leaf("leaf_only", "0")
SETTLE = Statement(
    "settle",
    CHANGELOG,
    Dialects(
        sqlite="",
        postgres="""
BEGIN
  made := 0;
  PERFORM 1 FROM heads WHERE org = :org FOR NO KEY UPDATE;
  IF NOT FOUND THEN PERFORM tenantry_guard(0, step); END IF;
  IF :touched IS NOT NULL THEN
    INSERT INTO changelog (org, rev, xid, at, touched, cut)
    SELECT :org, coalesce(max(rev), 0) + 1, pg_current_xact_id(), :at, :touched, :cut FROM changelog WHERE org = :org
    RETURNING rev INTO made;
  END IF;
  INSERT INTO leaves (org, idx, rev, xid, body, salt, personal)
  SELECT :org, coalesce((SELECT max(idx) FROM leaves WHERE org = :org), -1) + l.place, made, pg_current_xact_id(),
    l.body, l.salt, l.personal
  FROM unnest(:bodies, :salts, :personals) WITH ORDINALITY AS l(body, salt, personal, place);
END""",
    ),
    {"at": int, "touched": str, "cut": str, "bodies": list[bytes], "salts": list[bytes], "personals": list[bytes]},
    returns=True,
)
"""On PostgreSQL, in one call: lock the head, make the changelog row (where `touched` is given) and the leaves. Gives the revision, 0
where there is no row of the changelog."""
DESTROY = Statement(
    "destroy",
    DESTRUCTIONS,
    "INSERT INTO destructions (org, subject, at) VALUES (:org, :subject, :at) ON CONFLICT DO NOTHING",
    {"subject": str, "at": int},
)
ERASE = Statement(
    "erase",
    LEAVES,
    "UPDATE leaves SET salt = NULL, personal = NULL WHERE org = :org AND idx = :idx AND personal IS NOT NULL",
    {"idx": int},
)
MOVE_CURSOR = Statement(
    "move_cursor",
    CURSORS,
    "INSERT INTO cursors (follower, org, rev, leaf) VALUES (:follower, :org, :rev, :leaf) "
    "ON CONFLICT (follower, org) DO UPDATE SET rev = excluded.rev, leaf = excluded.leaf "
    "WHERE cursors.rev = :from_rev AND cursors.leaf = :from_leaf",
    {"follower": str, "rev": int, "leaf": int, "from_rev": int, "from_leaf": int},
)
TAKE_DUTY = Statement(
    "take_duty",
    DUTIES,
    "INSERT INTO duties (name, holder, fence, until) VALUES (:name, :holder, 1, :until) "
    "ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, fence = duties.fence + 1, until = excluded.until "
    "WHERE duties.until < :now OR duties.holder = excluded.holder RETURNING fence",
    {"name": str, "holder": str, "until": int, "now": int},
    returns=True,
)
RENEW_DUTY = Statement(
    "renew_duty",
    DUTIES,
    "UPDATE duties SET until = :until WHERE name = :name AND fence = :fence",
    {"name": str, "fence": int, "until": int},
)
HOLD_DUTY = Statement(
    "hold_duty",
    DUTIES,
    Dialects(
        sqlite="SELECT 1 FROM duties WHERE name = :name AND fence = :fence",
        postgres="SELECT 1 FROM duties WHERE name = :name AND fence = :fence FOR SHARE",
    ),
    {"name": str, "fence": int},
)
FOUND_DEPLOYMENT = Statement(
    "found_deployment",
    DEPLOYMENT,
    "INSERT INTO deployment (one, id, issuer, place) VALUES (1, :id, :issuer, :place) ON CONFLICT DO NOTHING",
    {"id": str, "issuer": str, "place": str},
)
SETTLE_DEPLOYMENT = Statement(
    "settle_deployment",
    DEPLOYMENT,
    "UPDATE deployment SET issuer = :issuer, place = :place WHERE one = 1",
    {"issuer": str, "place": str},
)
BEGIN_INCARNATION = Statement(
    "begin_incarnation",
    INCARNATIONS,
    "INSERT INTO incarnations (number, id, at, reason, confirmed) VALUES (:number, :id, :at, :reason, :confirmed) "
    "ON CONFLICT DO NOTHING",
    {"number": int, "id": str, "at": int, "reason": str, "confirmed": int},
)
CONFIRM_INCARNATION = Statement(
    "confirm_incarnation",
    INCARNATIONS,
    "UPDATE incarnations SET confirmed = :at WHERE number = :number AND confirmed IS NULL",
    {"at": int, "number": int},
)


class Head(msgspec.Struct, frozen=True):
    """Where an organization's journal stands: its last revision, and how many leaves its log has."""

    rev: int
    leaves: int


_IDS = msgspec.json.Decoder(list[str])


class Change(msgspec.Struct, frozen=True):
    """One row of the changelog: what a write set that changed state touched and cut, as JSON lists of ids."""

    org: str
    rev: int
    at_ms: int
    touched: str
    cut: str

    def touched_ids(self) -> list[str]:
        """The ids whose state changed."""
        return _IDS.decode(self.touched)

    def cut_ids(self) -> list[str]:
        """The branches that died at this revision."""
        return _IDS.decode(self.cut)

    def is_whole(self) -> bool:
        """Whether it can be read: a row that the journal did not write may hold anything."""
        try:
            self.touched_ids()
            self.cut_ids()
        except msgspec.DecodeError:
            return False
        return True


class LeafRow(msgspec.Struct, frozen=True):
    """One row of an organization's log."""

    index: int
    revision: int
    body: bytes
    salt: bytes | None
    personal: bytes | None


class Cut(msgspec.Struct, frozen=True):
    """A branch and the last revision at which it was cut."""

    id: str
    rev: int


def ids_json(ids: Sequence[str]) -> str:
    """Ids as the JSON list that `touched` and `cut` hold."""
    return msgspec.json.encode(ids).decode()


CURSOR_OF = Survey(
    "cursor_of",
    "SELECT rev, leaf FROM cursors WHERE follower = :follower AND org = :org",
    {"follower": str, "org": str},
    role="worker",
)
HEAD = Read(
    "head",
    Head,
    "SELECT coalesce((SELECT max(rev) FROM changelog WHERE org = :org), 0), "
    "coalesce((SELECT max(idx) + 1 FROM leaves WHERE org = :org), 0) "
    "FROM heads WHERE org = :org",
)
CHANGES = Read(
    "changes",
    Change,
    "SELECT org, rev, at, touched, cut FROM changelog WHERE org = :org AND rev > :after ORDER BY rev LIMIT :most",
    {"after": int, "most": int},
)
LEAF_ROWS = Read(
    "leaf_rows",
    LeafRow,
    "SELECT idx, rev, body, salt, personal FROM leaves WHERE org = :org AND idx >= :first ORDER BY idx LIMIT :most",
    {"first": int, "most": int},
)
CUTS_OF = Read(
    "cuts_of",
    Cut,
    "SELECT id, max(rev) FROM cuts WHERE org = :org AND id > :after GROUP BY id ORDER BY id LIMIT :most",
    {"after": str, "most": int},
)

_TABLES = """
CREATE TABLE heads (org text NOT NULL PRIMARY KEY, locked {int} NOT NULL) {strict};
CREATE TABLE cuts (org text NOT NULL, id text NOT NULL, rev {int} NOT NULL, PRIMARY KEY (org, id, rev)) {strict};
CREATE TABLE cursors (
    follower text NOT NULL, org text NOT NULL, rev {int} NOT NULL, leaf {int} NOT NULL, PRIMARY KEY (follower, org)) {strict};
CREATE TABLE duties (name text NOT NULL PRIMARY KEY, holder text NOT NULL, fence {int} NOT NULL, until {int} NOT NULL) {strict};
CREATE TABLE deployment (
    one {int} NOT NULL PRIMARY KEY CHECK (one = 1), id text NOT NULL, issuer text NOT NULL, place text NOT NULL) {strict};
CREATE TABLE incarnations (
    number {int} NOT NULL PRIMARY KEY, id text NOT NULL, at {int} NOT NULL, reason text NOT NULL, confirmed {int}) {strict};
CREATE TABLE destructions (org text NOT NULL, subject text NOT NULL, at {int} NOT NULL, PRIMARY KEY (org, subject)) {strict};
CREATE INDEX destructions_at ON destructions (at);
"""

SCHEMA = Schema(
    room="journal",
    tables=(HEADS, CHANGELOG, LEAVES, CUTS, CURSORS, DUTIES, DEPLOYMENT, INCARNATIONS, DESTRUCTIONS),
    statements=(
        TAKE_DUTY,
        RENEW_DUTY,
        HOLD_DUTY,
        OPEN_LOG,
        LOCK_HEAD,
        GUARD_REVISION,
        GUARD_PATH,
        CHANGE,
        CUT,
        LEAF_OF_CHANGE,
        LEAF_ONLY,
        SETTLE,
        DESTROY,
        ERASE,
        MOVE_CURSOR,
        FOUND_DEPLOYMENT,
        SETTLE_DEPLOYMENT,
        BEGIN_INCARNATION,
        CONFIRM_INCARNATION,
    ),
    reads=(HEAD, CHANGES, LEAF_ROWS, CUTS_OF),
    functions=sharing.functions,
    migrations=(
        Migration(
            1,
            "expand",
            "changelog, leaves, cuts, cursors, duties and incarnations",
            Dialects(
                sqlite=_TABLES
                + """
CREATE TABLE changelog (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, org text NOT NULL, rev {int} NOT NULL, at {int} NOT NULL, touched text NOT NULL,
    cut text NOT NULL, UNIQUE (org, rev)) STRICT;
CREATE TABLE leaves (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, org text NOT NULL, idx {int} NOT NULL, rev {int} NOT NULL, body {bytes} NOT NULL, salt {bytes},
    personal {bytes}, UNIQUE (org, idx)) STRICT;
""",
                postgres=_TABLES
                + """
CREATE TABLE changelog (
    org text NOT NULL, rev bigint NOT NULL, xid xid8 NOT NULL, at bigint NOT NULL, touched text NOT NULL, cut text NOT NULL,
    PRIMARY KEY (org, rev));
CREATE INDEX changelog_xid ON changelog (xid);
CREATE TABLE leaves (
    org text NOT NULL, idx bigint NOT NULL, rev bigint NOT NULL, xid xid8 NOT NULL, body bytea NOT NULL, salt bytea, personal bytea,
    PRIMARY KEY (org, idx));
CREATE INDEX leaves_xid ON leaves (xid);
""",
            ),
        ),
    ),
)
