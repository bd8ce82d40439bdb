"""Reading an organization's log with proof: pages, inclusion and consistency, export; and erasure.

Who exported, and who was erased, is an event of the same log.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from tenantry.audit.export import Entry, ExportWriter, PublishedKey
from tenantry.audit.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from tenantry.audit.names import names_of
from tenantry.audit.proof import ProofFailed
from tenantry.audit.schema import LAST_CHECKPOINT, LEAVES_A_STEP, NAMED, CheckpointRow
from tenantry.audit.stored import ask_tree, leaf_hashes
from tenantry.audit.tiles import TILE_WIDTH
from tenantry.core.errors import NotFound
from tenantry.core.leaf import leaf
from tenantry.core.principal import Principal
from tenantry.core.scopes import TenantScope
from tenantry.journal import Event, Journal, LeafRow, Reads, Target
from tenantry.journal.schema import ERASE, LEAF_ROWS

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
    """The hashes that prove leaf `index` to be in the tree of `size` (RFC 9162, 2.1.3), proved here first.

    Raises:
        ProofFailed: the stored leaf, or the tree on the way to it, is not what was signed. Leaves beside it are still proved.
    """
    last = await last_checkpoint(reads)
    path, steps, root = await ask_tree(
        reads,
        last.size,
        lambda tree: (
            inclusion_proof(tree.node, index, size),
            consistency_proof(tree.node, size, last.size),
            root_of(tree.node, size),
        ),
    )
    rows = await reads.all(LEAF_ROWS, first=index, most=1)
    if not rows or rows[0].index != index:
        raise ProofFailed("missing", "A leaf under the checkpoint is not stored.", index=index)
    verify_inclusion(leaf_hash(leaf(rows[0].revision, rows[0].body)), index, size, path, root)
    verify_consistency(size, last.size, steps, root, last.root)
    return path


async def prove_consistency(reads: Reads, old: int, new: int) -> list[bytes]:
    """The hashes that prove the tree of size `old` to be a beginning of that of size `new` (RFC 9162, 2.1.4), proved here first.

    Raises:
        ProofFailed: the stored tree on the way is not what was signed.
    """
    last = await last_checkpoint(reads)
    steps, onward, before, after = await ask_tree(
        reads,
        last.size,
        lambda tree: (
            consistency_proof(tree.node, old, new),
            consistency_proof(tree.node, new, last.size),
            root_of(tree.node, old),
            root_of(tree.node, new),
        ),
    )
    verify_consistency(old, new, steps, before, after)
    verify_consistency(new, last.size, onward, after, last.root)
    return steps


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
            out.add(map(_entry, inside), await leaf_hashes(reads, first // TILE_WIDTH, wanted))
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
