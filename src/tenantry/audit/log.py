"""Reading an organization's log with proof: pages, inclusion and consistency, the check against the tree, export; and erasure.

Who exported, and who was erased, is an event of the same log.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from tenantry.audit.export import Entry, ExportWriter, PublishedKey
from tenantry.audit.merkle import HASH_BYTES, consistency_proof, inclusion_proof, leaf_hash
from tenantry.audit.names import names_of
from tenantry.audit.proof import ProofFailed
from tenantry.audit.schema import LAST_CHECKPOINT, LEAVES_A_STEP, NAMED, TILE, CheckpointRow
from tenantry.audit.tiles import TILE_WIDTH, TileTree
from tenantry.core.errors import NotFound
from tenantry.core.leaf import leaf
from tenantry.core.principal import Principal
from tenantry.core.scopes import TenantScope
from tenantry.journal import Event, Journal, LeafRow, Reads, Target
from tenantry.journal.schema import ERASE, LEAF_ROWS

T = TypeVar("T")
ERASED_A_SET = 200


class LogExported(Event, tag="audit.exported", frozen=True):
    """The log was taken out, up to a size."""

    size: int


class PersonErased(Event, tag="audit.person_erased", frozen=True):
    """The personal data that the log held beside leaves naming this person is being erased; the proofs stand."""

    person: Target


class NothingSigned(NotFound):
    """The log has no checkpoint yet."""

    code = "no_checkpoint"
    sentence = "This log has no checkpoint yet; one is made within a second of its first event."


async def last_checkpoint(reads: Reads) -> CheckpointRow:
    """The newest signed tree head.

    Raises:
        NothingSigned: there is none yet.
    """
    return await reads.one(LAST_CHECKPOINT, NothingSigned)


async def prove_inclusion(reads: Reads, index: int, size: int) -> list[bytes]:
    """The hashes that prove leaf `index` to be in the tree of `size` (RFC 9162, 2.1.3)."""
    return await _with_tiles(reads, size, lambda tree: inclusion_proof(tree.node, index, size))


async def prove_consistency(reads: Reads, old: int, new: int) -> list[bytes]:
    """The hashes that prove the tree of size `old` to be a beginning of that of size `new` (RFC 9162, 2.1.4)."""
    return await _with_tiles(reads, new, lambda tree: consistency_proof(tree.node, old, new))


async def check(reads: Reads, *, progress: Callable[[int, int], None] | None = None) -> int:
    """Hold every stored leaf under the last checkpoint against the stored tree; returns how many were held.

    Raises:
        ProofFailed: `changed` or `missing`, with the index of the first leaf that does not match.
    """
    size = (await last_checkpoint(reads)).size
    for first in range(0, size, TILE_WIDTH):
        wanted = min(TILE_WIDTH, size - first)
        rows = await reads.all(LEAF_ROWS, first=first, most=wanted)
        hashes = await _level_0(reads, first // TILE_WIDTH, wanted)
        for place in range(wanted):
            index = first + place
            if place >= len(rows) or rows[place].index != index:
                raise ProofFailed("missing", "A leaf under the checkpoint is not stored.", index=index)
            if (
                leaf_hash(leaf(rows[place].revision, rows[place].body))
                != hashes[place * HASH_BYTES : (place + 1) * HASH_BYTES]
            ):
                raise ProofFailed("changed", "A stored leaf is not the one that was sequenced.", index=index)
        if progress is not None:
            progress(first + wanted, size)
    return size


async def export(
    journal: Journal,
    scope: TenantScope,
    actor: Principal,
    folder: Path,
    keys: Sequence[PublishedKey],
    *,
    table: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> CheckpointRow:
    """Write the log up to its newest checkpoint into `folder`; returns that checkpoint.

    The bytes go out as they are stored, so a damaged leaf is exported damaged and found by whoever verifies. With `table` there is a CSV
    for spreadsheets too.

    Raises:
        NothingSigned: there is no checkpoint yet.
        ProofFailed: none of `keys` signed it.
    """
    reads = journal.reads(scope)
    checkpoint = await last_checkpoint(reads)
    async with journal.begin(scope, actor) as w:
        w.record(LogExported(checkpoint.size))
    with ExportWriter(folder, checkpoint.note, keys, table=table) as out:
        for first in range(0, checkpoint.size, TILE_WIDTH):
            wanted = min(TILE_WIDTH, checkpoint.size - first)
            rows = await reads.all(LEAF_ROWS, first=first, most=wanted)
            inside = [row for row in rows if row.index < first + wanted]
            out.add(map(_entry, inside), await _level_0(reads, first // TILE_WIDTH, wanted))
            if progress is not None:
                progress(first + wanted, checkpoint.size)
    return checkpoint


async def erase_person(journal: Journal, scope: TenantScope, actor: Principal, person: str) -> int:
    """Erase the personal data beside every leaf that names this person; returns how many leaves had some.

    The destruction list comes first, so that a crash in the middle, or a restored backup, is made good by doing it again.
    """
    async with journal.begin(scope, actor) as w:
        w.destroy(person)
        w.record(PersonErased(person))
    return await erase_again(journal, scope, actor, person)


async def erase_again(journal: Journal, scope: TenantScope, actor: Principal, person: str) -> int:
    """Erase what the destruction list says is erased; returns how many leaves name the person."""
    reads, first = journal.reads(scope), 0
    named = await _named_since_checkpoint(reads, person)
    while places := await reads.all(NAMED, subject=person, first=first, most=ERASED_A_SET):
        named |= {place.index for place in places}
        first = places[-1].index + 1
    indexes = sorted(named)
    for at in range(0, len(indexes), ERASED_A_SET):
        async with journal.begin(scope, actor) as w:
            for index in indexes[at : at + ERASED_A_SET]:
                w.write(ERASE, idx=index)
    return len(indexes)


async def _named_since_checkpoint(reads: Reads, person: str) -> set[int]:
    """The leaves that name the person and that the sequencer has not indexed yet."""
    sequenced = await reads.all(LAST_CHECKPOINT)
    first, named = sequenced[0].size if sequenced else 0, set[int]()
    while rows := await reads.all(LEAF_ROWS, first=first, most=LEAVES_A_STEP):
        named |= {row.index for row in rows if person in names_of(row.body)}
        first = rows[-1].index + 1
    return named


def _entry(row: LeafRow) -> Entry:
    return Entry(row.index, row.revision, row.body, row.salt, row.personal)


async def _level_0(reads: Reads, n: int, wanted: int) -> bytes:
    rows = await reads.all(TILE, level=0, n=n)
    return rows[0].hashes[: wanted * HASH_BYTES] if rows else b""


class _Lacks(Exception):
    """The tree needs a tile that was not read yet."""

    def __init__(self, level: int, n: int) -> None:
        super().__init__(level, n)
        self.tile = (level, n)


async def _with_tiles(reads: Reads, size: int, ask: Callable[[TileTree], T]) -> T:
    """Ask a tree that lies in the database: whenever it lacks a tile, read that one and ask again. A proof needs few."""
    tiles: dict[tuple[int, int], bytes] = {}

    def stored(level: int, n: int) -> bytes:
        if (level, n) not in tiles:
            raise _Lacks(level, n)
        return tiles[level, n]

    while True:
        try:
            return ask(TileTree(size, stored))
        except _Lacks as lacks:
            rows = await reads.all(TILE, level=lacks.tile[0], n=lacks.tile[1])
            tiles[lacks.tile] = rows[0].hashes if rows else b""
