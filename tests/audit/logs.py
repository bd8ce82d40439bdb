"""A log in memory and its export: what the sequencer will do, over lists instead of tables."""

from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tenantry.audit.checkpoint import Checkpoint, origin, sign_checkpoint
from tenantry.audit.export import ExportWriter, PublishedKey
from tenantry.audit.lines import Entry
from tenantry.audit.merkle import Frontier, leaf_hash
from tenantry.audit.note import Signer, Verifier
from tenantry.core import canonical
from tenantry.core.leaf import leaf, seal

ACME = "org_01JDB1V7E8F9G0H1J2K3M4N5P6"
GLOBEX = "org_01JDB1V7E8F9G0H1J2K3M4N5P7"
SINCE = datetime(2026, 1, 1, tzinfo=UTC)


class Log:
    """An organization's log: entries, the hashes its tree holds, and a key that signs for it."""

    def __init__(self, org: str = ACME) -> None:
        self.org = org
        self.origin = origin("id.example", org)
        self.entries: list[Entry] = []
        self.hashes: list[bytes] = []
        self.key = Ed25519PrivateKey.generate()

    def append(self, count: int) -> "Log":
        for index in range(len(self.entries), len(self.entries) + count):
            personal = seal({"email": f"user{index}@acme.example"}) if index % 5 == 0 else None
            event = {"org": self.org, "at": self.time(index), "id": index, "type": "ledger.credited"}
            if personal:
                event["personal"] = personal.digest
            entry = Entry(index, index // 2, canonical.encode(event))
            if personal:
                entry = Entry(index, index // 2, canonical.encode(event), personal.salt, personal.data)
            self.entries.append(entry)
            self.hashes.append(leaf_hash(leaf(entry.revision, entry.body)))
        return self

    def record(self, value: object, at: str = "") -> None:
        """Append an event that holds `value`, at a time of its own if `at` is given."""
        index = len(self.entries)
        event = {"org": self.org, "at": at or self.time(index), "data": value}
        self.entries.append(Entry(index, 0, canonical.encode(event)))
        self.hashes.append(leaf_hash(leaf(0, self.entries[-1].body)))

    @staticmethod
    def time(index: int) -> str:
        return f"2026-02-01T00:{index // 60 % 60:02d}:{index % 60:02d}.{index // 3600:03d}Z"

    @property
    def signer(self) -> Signer:
        return Signer(self.origin, self.key.public_key().public_bytes_raw(), self.key.sign)

    def published(self, until: datetime | None = None, revoked: datetime | None = None) -> PublishedKey:
        return PublishedKey(Verifier(self.origin, self.signer.public_key).vkey, SINCE, until, revoked)

    def checkpoint(self, size: int | None = None) -> bytes:
        frontier = Frontier()
        for digest in self.hashes[:size]:
            frontier.append(digest)
        return sign_checkpoint(Checkpoint(self.origin, frontier.size, frontier.root()), [self.signer])

    def export(self, directory: Path, entries: list[Entry] | None = None, size: int | None = None) -> Path:
        """Write an export; `entries` stands for what somebody made of the leaves in the database."""
        with ExportWriter(directory, self.checkpoint(size), [self.published()], table=True) as writer:
            writer.add(self.entries[:size] if entries is None else entries, b"".join(self.hashes[:size]))
        return directory
