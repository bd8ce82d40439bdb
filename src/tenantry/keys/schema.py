"""The keys room's tables: data keys wrapped by the root key, and signing keys sealed under a data key.

Who writes each, who follows it and what a crash leaves: docs/explanation/architecture.md.
"""

import msgspec

from tenantry.journal.schema import DESTRUCTIONS
from tenantry.store import Kind, Migration, Read, Schema, Statement, Table

DATA_KEYS = Table("data_keys", Kind.STATE)
SIGNING_KEYS = Table("signing_keys", Kind.STATE)


class DataKeyRow(msgspec.Struct, frozen=True):
    """A data key as the root key wrapped it."""

    version: int
    wrapped: bytes


class SigningKeyRow(msgspec.Struct, frozen=True):
    """A signing key with its plan; `sealed` is its private part."""

    id: str
    purpose: str
    issuer: str
    algorithm: str
    published_at_ms: int
    active_at_ms: int
    retire_at_ms: int | None
    gone_at_ms: int | None
    cut_at_ms: int | None
    number: int
    spki: bytes
    sealed: bytes


ADD_DATA_KEY = Statement(
    "keys_add_data_key",
    DATA_KEYS,
    "INSERT INTO data_keys (org, version, wrapped) VALUES (:org, :version, :wrapped) ON CONFLICT DO NOTHING",
    {"version": int, "wrapped": bytes},
)
ADD_SIGNING_KEY = Statement(
    "keys_add_signing_key",
    SIGNING_KEYS,
    "INSERT INTO signing_keys (org, id, purpose, issuer, algorithm, number, published_at, active_at, spki, sealed) "
    "VALUES (:org, :id, :purpose, :issuer, :algorithm, :number, :published_at, :active_at, :spki, :sealed) ON CONFLICT DO NOTHING",
    {
        "id": str,
        "purpose": str,
        "issuer": str,
        "algorithm": str,
        "number": int,
        "published_at": int,
        "active_at": int,
        "spki": bytes,
        "sealed": bytes,
    },
)
SET_PLAN = Statement(
    "keys_set_plan",
    SIGNING_KEYS,
    "UPDATE signing_keys SET active_at = :active_at, retire_at = :retire_at, gone_at = :gone_at "
    "WHERE org = :org AND id = :id AND cut_at IS NULL",
    {"id": str, "active_at": int, "retire_at": int, "gone_at": int},
)
CUT_KEY = Statement(
    "keys_cut_key",
    SIGNING_KEYS,
    "UPDATE signing_keys SET cut_at = :cut_at WHERE org = :org AND id = :id AND cut_at IS NULL",
    {"id": str, "cut_at": int},
)
REWRAP = Statement(
    "keys_rewrap",
    DATA_KEYS,
    "UPDATE data_keys SET wrapped = :wrapped WHERE org = :org AND version = :version AND wrapped = :was",
    {"version": int, "wrapped": bytes, "was": bytes},
)
GUARD_KEPT = Statement(
    "keys_guard_kept",
    DESTRUCTIONS,
    "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM destructions WHERE org = :org AND subject = :org)",
    {},
)
SHRED = Statement("keys_shred", DATA_KEYS, "DELETE FROM data_keys WHERE org = :org", {})

NEWEST_DATA_KEY = Read(
    "keys_newest_data_key",
    DataKeyRow,
    "SELECT version, wrapped FROM data_keys WHERE org = :org ORDER BY version DESC LIMIT 1",
)
DATA_KEY = Read(
    "keys_data_key",
    DataKeyRow,
    "SELECT version, wrapped FROM data_keys WHERE org = :org AND version = :version",
    {"version": int},
)
DATA_KEYS_OF = Read(
    "keys_data_keys_of", DataKeyRow, "SELECT version, wrapped FROM data_keys WHERE org = :org ORDER BY version"
)
LINE = Read(
    "keys_line",
    SigningKeyRow,
    "SELECT id, purpose, issuer, algorithm, published_at, active_at, retire_at, gone_at, cut_at, number, spki, sealed FROM signing_keys "
    "WHERE org = :org AND purpose = :purpose AND issuer = :issuer AND algorithm = :algorithm ORDER BY number",
    {"purpose": str, "issuer": str, "algorithm": str},
)
ALIVE = Read(
    "keys_alive",
    SigningKeyRow,
    "SELECT id, purpose, issuer, algorithm, published_at, active_at, retire_at, gone_at, cut_at, number, spki, sealed FROM signing_keys "
    "WHERE org = :org AND purpose = :purpose AND issuer = :issuer AND cut_at IS NULL ORDER BY algorithm, number",
    {"purpose": str, "issuer": str},
)

SCHEMA = Schema(
    room="keys",
    tables=(DATA_KEYS, SIGNING_KEYS),
    statements=(ADD_DATA_KEY, ADD_SIGNING_KEY, SET_PLAN, CUT_KEY, REWRAP, GUARD_KEPT, SHRED),
    reads=(NEWEST_DATA_KEY, DATA_KEY, DATA_KEYS_OF, LINE, ALIVE),
    migrations=(
        Migration(
            1,
            "expand",
            "data keys and signing keys",
            """
CREATE TABLE data_keys (org text NOT NULL, version {int} NOT NULL, wrapped {bytes} NOT NULL, PRIMARY KEY (org, version)) {strict};
CREATE TABLE signing_keys (
    org text NOT NULL, id text NOT NULL, purpose text NOT NULL, issuer text NOT NULL, algorithm text NOT NULL, number {int} NOT NULL,
    published_at {int} NOT NULL, active_at {int} NOT NULL, retire_at {int}, gone_at {int}, cut_at {int}, spki {bytes} NOT NULL,
    sealed {bytes} NOT NULL, PRIMARY KEY (org, id)) {strict};
CREATE UNIQUE INDEX signing_keys_line ON signing_keys (org, purpose, issuer, algorithm, number);
""",
        ),
    ),
)
