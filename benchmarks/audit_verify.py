"""What verifying an export offline costs beyond hashing its events.

The baseline reads the leaves from a file of their own, hashes each and folds the tree over them. The verifier reads the export, decodes and
checks every line, every digest of personal data and every hash, and the signed checkpoint.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.ground import Ground
from benchmarks.measure import Row, Side, in_turns
from tenantry.audit.checkpoint import Checkpoint, origin, sign_checkpoint
from tenantry.audit.export import ExportWriter, PublishedKey
from tenantry.audit.lines import Entry
from tenantry.audit.merkle import Frontier, leaf_hash
from tenantry.audit.note import Signer, Verifier
from tenantry.audit.verify import verify_export
from tenantry.cli.demo import ledger
from tenantry.core.clock import SystemClock
from tenantry.core.ids import IdSource
from tenantry.core.leaf import leaf
from tenantry.core.principal import SYSTEM
from tenantry.journal.event import Event, Origin, Setting
from tenantry.journal.event import leaf as encoded

PAGE_EVENTS = 1_000
PERSONAL = 5
"""One event in so many carries personal data."""


async def rows(ground: Ground) -> list[Row]:
    """One export; three rounds at most, each over all of it."""
    made = await asyncio.to_thread(_make, ground.folder / "export", ground.pace.events)
    leaves = ground.folder / "leaves"
    note = (
        f"events/s of {made:,} against reading and hashing leaves and tree (at most twice its time); "
        f"personal data in one of {PERSONAL}; "
        f"{ground.machine.beside(1, 'files')}"
    )
    return [
        await in_turns(
            "Audit: verify an export",
            _timed(made, lambda: verify_export(ground.folder / "export")),
            _timed(made, lambda: _hash(leaves)),
            msgspec.structs.replace(ground.pace, rounds=min(3, ground.pace.rounds)),
            goal=0.5,
            note=note,
        )
    ]


def _timed(events: int, work: Callable[[], object]) -> Side:
    async def side(_: float) -> float:
        began = perf_counter()
        work()
        return events / (perf_counter() - began)

    return side


def _hash(leaves: Path) -> bytes:
    frontier = Frontier()
    with leaves.open("rb") as file:
        while page := [line[:-1] for line in file.readlines(1 << 20)]:
            frontier.extend(b"".join([leaf_hash(one) for one in page]))
    return frontier.root()


def _make(directory: Path, events: int) -> int:
    """An export of a ledger's log, and beside it its leaves one a line: revision 1 has no line break in it."""
    clock = SystemClock()
    ids = IdSource(clock)
    org = ids.new("org")
    directory.mkdir()
    frontier = Frontier()
    entries = [_entry(index, org, ids, clock.now_ms()) for index in range(events)]
    hashes = b"".join([leaf_hash(leaf(entry.revision, entry.body)) for entry in entries])
    frontier.extend(hashes)
    with (directory.parent / "leaves").open("wb") as file:
        file.writelines(leaf(entry.revision, entry.body) + b"\n" for entry in entries)
    key = Ed25519PrivateKey.generate()
    signer = Signer(origin("id.example.com", org), key.public_key().public_bytes_raw(), key.sign)
    checkpoint = sign_checkpoint(Checkpoint(signer.name, frontier.size, frontier.root()), [signer])
    published = PublishedKey(Verifier(signer.name, signer.public_key).vkey, datetime(2020, 1, 1, tzinfo=UTC))
    with ExportWriter(directory, checkpoint, [published]) as writer:
        for first in range(0, events, PAGE_EVENTS):
            last = first + PAGE_EVENTS
            writer.add(entries[first:last], hashes[first * 32 : last * 32])
    return events


def _entry(index: int, org: str, ids: IdSource, at_ms: int) -> Entry:
    event: Event = ledger.EntryAdded(ids.new("ledger"), "cash", index, "from the benchmark", "Ann Example")
    if index % PERSONAL:
        event = ledger.VoucherSpent(ids.new("ledger"))
    made = encoded(event, Setting(org, SYSTEM, at_ms, Origin()))
    return Entry(index, 1, made.body, made.salt, made.personal)
