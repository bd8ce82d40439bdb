"""Whether what a database holds of an organization is whole, read with plain SQL and beside all code of ours."""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from tenantry.core.leaf import leaf

Rows = list[tuple[Any, ...]]
_TABLES = {
    "changes": "SELECT rev, touched, cut FROM tenantry.changelog WHERE org = {org} ORDER BY rev",
    "leaves": "SELECT idx, rev, body FROM tenantry.leaves WHERE org = {org} ORDER BY idx",
    "cuts": "SELECT id, rev FROM tenantry.cuts WHERE org = {org} ORDER BY rev, id",
    "checkpoints": "SELECT size, root FROM tenantry.audit_checkpoints WHERE org = {org} ORDER BY size",
    "entries": "SELECT id, account, amount, version FROM tenantry.ledger_entries WHERE org = {org} ORDER BY id",
    "members": "SELECT name FROM tenantry.ledger_members WHERE org = {org} ORDER BY name",
    "vouchers": "SELECT voucher FROM tenantry.ledger_vouchers WHERE org = {org} ORDER BY voucher",
    "balances": "SELECT account, total, entries FROM tenantry.ledger_balances WHERE org = {org} ORDER BY account",
}


class Stored(msgspec.Struct, frozen=True):
    """All rows of one organization."""

    changes: Rows
    leaves: Rows
    cuts: Rows
    checkpoints: Rows
    entries: Rows
    members: Rows
    vouchers: Rows
    balances: Rows

    def told(self, kind: str, name: str) -> list[Any]:
        """The value `name` of every event of a kind, in the order of the log."""
        bodies = [json.loads(bytes(body)) for _, _, body in self.leaves]
        return [body["data"][name] for body in bodies if body["type"] == kind]

    def check(self) -> None:
        """No gap, no half set: state, leaf and row of the changelog come together or not at all."""
        revisions = [rev for rev, *_ in self.changes]
        assert revisions == list(range(1, len(revisions) + 1)), "a gap in the revisions"
        assert [idx for idx, *_ in self.leaves] == list(range(len(self.leaves))), "a gap in the log"
        assert {rev for _, rev, _ in self.leaves if rev} == set(revisions), "a change without a leaf, or the reverse"
        told_cuts = sorted((rev, branch) for rev, _, cut in self.changes for branch in json.loads(cut))
        assert [(rev, branch) for branch, rev in self.cuts] == told_cuts, "a cut that the changelog does not tell"
        entries = [row[0] for row in self.entries]
        assert sorted(self.told("ledger.entry_added", "entry")) == entries, "an entry without a leaf, or the reverse"
        corrections = Counter(self.told("ledger.entry_corrected", "entry"))
        assert {row[0]: row[3] - 1 for row in self.entries if row[3] > 1} == corrections, "a correction half made"
        assert sorted(self.told("ledger.voucher_spent", "voucher")) == [row[0] for row in self.vouchers]
        assert sorted(set(self.told("ledger.member_added", "name"))) == [row[0] for row in self.members]

    def check_checkpoints(self) -> None:
        """Every checkpoint there is has the root of its first leaves, so each tree is a beginning of the next."""
        hashes = [hashlib.sha256(b"\0" + leaf(rev, bytes(body))).digest() for _, rev, body in self.leaves]
        for size, root in self.checkpoints:
            assert bytes(root) == _root(hashes[:size]), f"the checkpoint of size {size} is not over what is stored"

    def recomputed(self) -> Rows:
        """What the balances must be."""
        accounts = sorted({row[1] for row in self.entries})
        amounts = {a: [row[2] for row in self.entries if row[1] == a] for a in accounts}
        return [(a, sum(amounts[a]), len(amounts[a])) for a in accounts]


def _root(hashes: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, as it stands there."""
    if len(hashes) == 1:
        return hashes[0]
    half = 1 << (len(hashes) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + _root(hashes[:half]) + _root(hashes[half:])).digest()


StoredOf = Callable[[str], Stored]


def in_sqlite(path: Path) -> StoredOf:
    """Reads of a file, which a server may hold."""

    def stored(org: str) -> Stored:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            asked = {name: text.replace("tenantry.", "").format(org="?") for name, text in _TABLES.items()}
            connection.execute("BEGIN")
            return Stored(**{name: connection.execute(text, (org,)).fetchall() for name, text in asked.items()})
        finally:
            connection.close()

    return stored


def in_postgres(conninfo: str) -> StoredOf:
    """Reads as the superuser, whom no row security binds."""

    def stored(org: str) -> Stored:
        with psycopg.connect(conninfo) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            asked = {name: text.format(org="%s").encode() for name, text in _TABLES.items()}
            return Stored(**{name: connection.execute(text, (org,)).fetchall() for name, text in asked.items()})

    return stored
