"""Holding what is stored of a log against what was signed, tile by tile: by the doctor, and for ever in the background.

A tile of leaves is sound if the leaves hash to it and it is what the tree above it says, up to the signed root. If only the leaves are,
the tile is damaged and written again from them. If only the tile is, a leaf was changed or is gone, and nothing here can bring it back:
that is said, and stays.
"""

import logging
from collections.abc import AsyncIterator

from tenantry.audit.merkle import HASH_BYTES, complete_root, leaf_hash, root_of
from tenantry.audit.proof import ProofFailed
from tenantry.audit.schema import LAST_CHECKPOINT, SET_TILE, CheckpointRow
from tenantry.audit.stored import ask_tree, leaf_hashes
from tenantry.audit.tiles import TILE_HEIGHT, TILE_WIDTH
from tenantry.core import scopes
from tenantry.core.errors import Damaged, TenantryError
from tenantry.core.leaf import leaf
from tenantry.journal import Duty, Journal, Reads
from tenantry.journal.schema import LEAF_ROWS

_log = logging.getLogger(__name__)


async def check(reads: Reads) -> int:
    """Hold every stored leaf under the last checkpoint against the stored tree and the signed root; returns how many were held.

    Raises:
        ProofFailed: `changed` or `missing` with the index of the first leaf that does not match; `hashes_mismatch` where a tile is
            damaged and its leaves are not; `checkpoint_mismatch` where neither leads to what was signed.
    """
    signed = await _signed(reads)
    if signed is None:
        return 0
    for n in range(-(-signed.size // TILE_WIDTH)):
        if await _mended(reads, signed, n) is not None:
            message = "The stored tree is damaged, the leaves below it are not."
            raise ProofFailed("hashes_mismatch", message, index=n * TILE_WIDTH)
    await _refuse_other_root(reads, signed)
    return signed.size


class Checker:
    """Checks every log, one tile a turn, in rounds without an end. Owned by whoever holds the duty to sequence."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._round: AsyncIterator[str] = journal.organizations()
        self._org = ""
        self._next = 0
        self._failed = False
        self.damaged: dict[str, TenantryError] = {}
        """What the last round found, by organization; its proofs are refused, the other logs go on."""

    async def turn(self, duty: Duty) -> None:
        """Check the next tile, of the next organization where this one's are done.

        Raises:
            NotOurs: the duty was lost.
        """
        if not self._org:
            await self._begin()
            return
        org, reads = self._org, self._journal.reads(scopes.of_job(self._org))
        try:
            signed = await _signed(reads)
            if signed is None or self._next * TILE_WIDTH >= signed.size:
                await self._end(reads, signed)
                return
            mended = await _mended(reads, signed, self._next)
            if mended is not None:
                await self._mend(org, duty, mended)
        except (ProofFailed, Damaged) as error:
            self._failed = True
            if org not in self.damaged:
                _log.critical("The audit log of %s is damaged: %s", org, error)
            self.damaged[org] = error
        self._next += 1

    async def _begin(self) -> None:
        self._org = await anext(self._round, "")
        self._next, self._failed = 0, False
        if not self._org:
            self._round = self._journal.organizations()

    async def _end(self, reads: Reads, signed: CheckpointRow | None) -> None:
        org, self._org = self._org, ""
        if signed is not None:
            await _refuse_other_root(reads, signed)
        if not self._failed:
            self.damaged.pop(org, None)

    async def _mend(self, org: str, duty: Duty, hashes: bytes) -> None:
        _log.error("Tile %d of the audit log of %s was damaged; it is written again from its leaves.", self._next, org)
        async with self._journal.begin_duty(scopes.of_job(org), duty) as w:
            w.write(SET_TILE, level=0, n=self._next, hashes=hashes)


async def _signed(reads: Reads) -> CheckpointRow | None:
    return next(iter(await reads.all(LAST_CHECKPOINT)), None)


async def _mended(reads: Reads, signed: CheckpointRow, n: int) -> bytes | None:
    """None if the `n`-th tile of leaves is sound; else what it should be, worked out from leaves that lead to the signed root.

    Raises:
        ProofFailed: the leaves do not.
    """
    first, wanted = n * TILE_WIDTH, min(TILE_WIDTH, signed.size - n * TILE_WIDTH)
    stored = await leaf_hashes(reads, n, wanted)
    rows = await reads.all(LEAF_ROWS, first=first, most=wanted)
    there = [row for place, row in enumerate(rows) if row.index == first + place]
    hashes = [leaf_hash(leaf(row.revision, row.body)) for row in there]
    if len(hashes) == wanted and await _fits(reads, signed, n, b"".join(hashes)):
        return None if b"".join(hashes) == stored else b"".join(hashes)
    if len(stored) < wanted * HASH_BYTES or not await _fits(reads, signed, n, stored):
        raise ProofFailed("checkpoint_mismatch", "Neither leaves nor tree lead to what was signed.", index=first)
    for place, hashed in enumerate(hashes):
        if hashed != stored[place * HASH_BYTES : (place + 1) * HASH_BYTES]:
            raise ProofFailed("changed", "A stored leaf is not the one that was sequenced.", index=first + place)
    raise ProofFailed("missing", "A leaf under the checkpoint is not stored.", index=first + len(hashes))


async def _fits(reads: Reads, signed: CheckpointRow, n: int, hashes: bytes) -> bool:
    """Whether these are the `n`-th tile of leaves by what lies above it: its place in the next tile or, at the edge, the signed root."""
    if len(hashes) == TILE_WIDTH * HASH_BYTES:
        above = await ask_tree(reads, signed.size, lambda tree: tree.node(TILE_HEIGHT, n), {(0, n): hashes})
        return complete_root(hashes) == above
    return (
        await ask_tree(reads, signed.size, lambda tree: root_of(tree.node, signed.size), {(0, n): hashes})
        == signed.root
    )


async def _refuse_other_root(reads: Reads, signed: CheckpointRow) -> None:
    if await ask_tree(reads, signed.size, lambda tree: root_of(tree.node, signed.size)) != signed.root:
        raise ProofFailed("checkpoint_mismatch", "The stored tree does not have the root that was signed.")
