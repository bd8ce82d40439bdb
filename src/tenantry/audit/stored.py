"""The tree of a log as it lies in the database: read tile by tile, and only those that a question needs."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from tenantry.audit.merkle import HASH_BYTES
from tenantry.audit.proof import ProofFailed
from tenantry.audit.schema import TILE
from tenantry.audit.tiles import TileTree
from tenantry.journal import Reads

T = TypeVar("T")


class _Lacks(Exception):
    """The tree needs a tile that was not read yet."""

    def __init__(self, level: int, n: int) -> None:
        super().__init__(level, n)
        self.tile = (level, n)


async def ask_tree(
    reads: Reads, size: int, ask: Callable[[TileTree], T], known: Mapping[tuple[int, int], bytes] | None = None
) -> T:
    """Ask the stored tree of `size`, with `known` in the place of the tiles it names.

    Whenever it lacks a tile, that one is read and the question asked again; a proof needs few.

    Raises:
        ProofFailed: a part of the tree is gone (`checkpoint_mismatch`).
    """
    tiles = dict(known or {})

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
        except LookupError as error:
            raise ProofFailed("checkpoint_mismatch", f"A part of the stored tree is gone: {error}.") from error


async def leaf_hashes(reads: Reads, n: int, wanted: int) -> bytes:
    """The first `wanted` hashes of the `n`-th tile of leaves, or as many as are stored."""
    rows = await reads.all(TILE, level=0, n=n)
    return rows[0].hashes[: wanted * HASH_BYTES] if rows else b""
