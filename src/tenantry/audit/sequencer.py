"""The sequencer: puts new leaves under a signed checkpoint, within a second, on the one node that holds the duty.

One step reads the leaves after the last checkpoint, grows the tree, signs and writes tiles, subjects and checkpoint in one set. Before it
signs, the tree it grows from must still have the root of the last checkpoint: a tree that was changed is never signed over. A node that
lost the duty in the middle cannot write (fenced), and a second checkpoint after the same one is refused, so there is one root for a size.
"""

from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from tenantry.audit.checkpoint import Checkpoint, origin, sign_checkpoint
from tenantry.audit.merkle import empty_root, leaf_hash, root_of
from tenantry.audit.names import names_of
from tenantry.audit.note import Signer
from tenantry.audit.proof import ProofFailed
from tenantry.audit.schema import (
    ADD_CHECKPOINT,
    ADD_SUBJECTS,
    EDGE,
    LAST_CHECKPOINT,
    LEAVES_A_STEP,
    SET_TILE,
    UNSEQUENCED,
    CheckpointRow,
)
from tenantry.audit.tiles import TileTree, grow
from tenantry.core import scopes
from tenantry.core.clock import Clock
from tenantry.core.errors import Conflict
from tenantry.core.ids import PLATFORM
from tenantry.core.leaf import leaf
from tenantry.core.limits import CHECKPOINT_EVERY_MS
from tenantry.journal import Duty, Journal, LeafRow
from tenantry.journal.duties import SEQUENCING
from tenantry.journal.schema import LEAF_ROWS
from tenantry.store import Engine, each_organization

SignerOf = Callable[[str], Awaitable[Signer]]
"""The key that signs the checkpoints of an origin now."""


class Sequencer:
    """The work of sequencing every organization's log; run it with `Working`."""

    name = SEQUENCING
    beat_ms = CHECKPOINT_EVERY_MS

    def __init__(self, engine: Engine, journal: Journal, clock: Clock, host: str, signer_of: SignerOf) -> None:
        self._engine = engine
        self._journal = journal
        self._clock = clock
        self._host = host
        self._signer_of = signer_of

    async def ready(self) -> None:
        """See `Work`: without the signing key the duty is left to lapse, which stops recording in time (`Pulse`)."""
        await self._signer_of(origin(self._host, PLATFORM))

    def backlog(self) -> AsyncIterator[str]:
        """See `Work`."""
        return each_organization(self._engine, UNSEQUENCED)

    async def do(self, org: str, duty: Duty) -> bool:
        """Bring an organization's checkpoint on by at most `LEAVES_A_STEP` leaves.

        Raises:
            ProofFailed: the stored tree does not have the root that was signed; nothing is signed over it.
            Damaged: a leaf cannot be read.
            Upstream: the signing key cannot be had.
        """
        scope = scopes.of_job(org)
        reads = self._journal.reads(scope)
        last = next(iter(await reads.all(LAST_CHECKPOINT)), CheckpointRow(0, empty_root(), b"", 0))
        rows = await reads.all(LEAF_ROWS, first=last.size, most=LEAVES_A_STEP)
        if not rows:
            return False
        tiles = {(row.level, row.n): row.hashes for row in await reads.all(EDGE, size=last.size)}
        if _root(last.size, tiles) != last.root:
            raise ProofFailed(
                "checkpoint_mismatch", f"The stored tree of {org} is not the one that was signed at size {last.size}."
            )
        grown = grow(last.size, b"".join(leaf_hash(leaf(row.revision, row.body)) for row in rows), _stored(tiles))
        tiles |= {(tile.level, tile.n): tile.hashes for tile in grown}
        size = last.size + len(rows)
        checkpoint = Checkpoint(origin(self._host, org), size, root_of(TileTree(size, _stored(tiles)).node, size))
        note = sign_checkpoint(checkpoint, [await self._signer_of(checkpoint.origin)])
        async with self._journal.begin_duty(scope, duty) as w:
            at = self._clock.now_ms()
            w.write(ADD_CHECKPOINT, Conflict, size=size, root=checkpoint.root, note=note, at=at, after=last.size)
            for tile in grown:
                w.write(SET_TILE, level=tile.level, n=tile.n, hashes=tile.hashes)
            w.write(ADD_SUBJECTS, pairs=_subjects(rows))
        return len(rows) == LEAVES_A_STEP


def _subjects(rows: list[LeafRow]) -> str:
    """Pairs of (who acted or was acted on, index of the leaf), as JSON."""
    pairs: list[tuple[str, int]] = []
    for row in rows:
        pairs += [(name, row.index) for name in names_of(row.body)]
    return msgspec.json.encode(pairs).decode()


def _root(size: int, tiles: dict[tuple[int, int], bytes]) -> bytes:
    """The root of the stored tree; empty where a tile that it needs is gone."""
    try:
        return root_of(TileTree(size, _stored(tiles)).node, size)
    except LookupError:
        return b""


def _stored(tiles: dict[tuple[int, int], bytes]) -> Callable[[int, int], bytes]:
    return lambda level, n: tiles.get((level, n), b"")
