"""The audit room's tables: the tree, the signed checkpoints, and who is named in which leaf.

Who writes each, who follows it and what a crash leaves: docs/explanation/architecture.md.
"""

import msgspec

from tenantry.core.limits import PAGE_ROWS
from tenantry.store import Dialects, Kind, Migration, Read, Schema, Statement, Survey, Table

TILES = Table("audit_tiles", Kind.DERIVED)
CHECKPOINTS = Table("audit_checkpoints", Kind.JOURNAL, app="SELECT", worker="SELECT, INSERT", worker_sees_all=True)
SUBJECTS = Table("audit_subjects", Kind.DERIVED)


class TileRow(msgspec.Struct, frozen=True):
    """Up to 256 hashes of the tree, concatenated."""

    level: int
    n: int
    hashes: bytes


class CheckpointRow(msgspec.Struct, frozen=True):
    """A signed tree head."""

    size: int
    root: bytes
    note: bytes
    at_ms: int


class Place(msgspec.Struct, frozen=True):
    """The index of a leaf."""

    index: int


SET_TILE = Statement(
    "audit_set_tile",
    TILES,
    "INSERT INTO audit_tiles (org, level, n, hashes) VALUES (:org, :level, :n, :hashes) "
    "ON CONFLICT (org, level, n) DO UPDATE SET hashes = excluded.hashes",
    {"level": int, "n": int, "hashes": bytes},
)
ADD_CHECKPOINT = Statement(
    "audit_add_checkpoint",
    CHECKPOINTS,
    "INSERT INTO audit_checkpoints (org, size, root, note, at) SELECT :org, :size, :root, :note, :at "
    "WHERE coalesce((SELECT max(size) FROM audit_checkpoints WHERE org = :org), 0) = :after ON CONFLICT DO NOTHING",
    {"size": int, "root": bytes, "note": bytes, "at": int, "after": int},
)
ADD_SUBJECTS = Statement(
    "audit_add_subjects",
    SUBJECTS,
    Dialects(
        sqlite="INSERT INTO audit_subjects (org, subject, idx) "
        "SELECT :org, json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:pairs) WHERE true ON CONFLICT DO NOTHING",
        postgres="INSERT INTO audit_subjects (org, subject, idx) "
        "SELECT :org, pair ->> 0, (pair ->> 1)::bigint FROM jsonb_array_elements((:pairs)::jsonb) AS pair ON CONFLICT DO NOTHING",
    ),
    {"pairs": str},
)

LAST_CHECKPOINT = Read(
    "audit_last_checkpoint",
    CheckpointRow,
    "SELECT size, root, note, at FROM audit_checkpoints WHERE org = :org ORDER BY size DESC LIMIT 1",
)
_LEVELS = " UNION ALL ".join(f"SELECT {level} AS level" for level in range(8))
EDGE = Read(
    "audit_edge",
    TileRow,
    f"SELECT t.level, t.n, t.hashes FROM ({_LEVELS}) AS l "  # noqa: S608
    "JOIN audit_tiles t ON t.org = :org AND t.level = l.level AND t.n = (:size >> CAST(8 * (l.level + 1) AS integer))",
    {"size": int},
)
TILE = Read(
    "audit_tile",
    TileRow,
    "SELECT level, n, hashes FROM audit_tiles WHERE org = :org AND level = :level AND n = :n",
    {"level": int, "n": int},
)
NAMED = Read(
    "audit_named",
    Place,
    "SELECT idx FROM audit_subjects WHERE org = :org AND subject = :subject AND idx >= :first ORDER BY idx LIMIT :most",
    {"subject": str, "first": int, "most": int},
)

_UNSEQUENCED = """
SELECT h.org FROM heads h WHERE h.org > :after
AND coalesce((SELECT max(idx) + 1 FROM leaves l WHERE l.org = h.org), 0)
  > coalesce((SELECT max(size) FROM audit_checkpoints c WHERE c.org = h.org), 0)
ORDER BY h.org LIMIT :most
"""
UNSEQUENCED = Survey("audit_unsequenced", _UNSEQUENCED, {"after": str, "most": int}, role="worker")

SCHEMA = Schema(
    room="audit",
    tables=(TILES, CHECKPOINTS, SUBJECTS),
    statements=(SET_TILE, ADD_CHECKPOINT, ADD_SUBJECTS),
    reads=(LAST_CHECKPOINT, EDGE, TILE, NAMED),
    migrations=(
        Migration(
            1,
            "expand",
            "tiles, checkpoints and subjects",
            """
CREATE TABLE audit_tiles (
    org text NOT NULL, level {int} NOT NULL, n {int} NOT NULL, hashes {bytes} NOT NULL, PRIMARY KEY (org, level, n)) {strict};
CREATE TABLE audit_checkpoints (
    org text NOT NULL, size {int} NOT NULL, root {bytes} NOT NULL, note {bytes} NOT NULL, at {int} NOT NULL,
    PRIMARY KEY (org, size)) {strict};
CREATE TABLE audit_subjects (org text NOT NULL, subject text NOT NULL, idx {int} NOT NULL, PRIMARY KEY (org, subject, idx)) {strict};
""",
        ),
    ),
)

LEAVES_A_STEP = PAGE_ROWS
"""Leaves that one step of the sequencer, one page of an export and one page of the check take."""
