"""How a tree is stored: tiles of 256 hashes (C2SP tlog-tiles v0.1.0).

The n-th tile of level l holds the roots of 256 complete subtrees of 256**l leaves each. A full tile never changes; a
partial one is a prefix of its later self, so that one row per (level, n) can be overwritten as it grows.
Storage is a function: `read(level, n)` returns what is stored of a tile, or nothing. Level 0 must hold every leaf
hash; what is absent above it is worked out from below.
"""

from collections.abc import Callable

import msgspec

from tenantry.audit.merkle import HASH_BYTES, complete_root

TILE_WIDTH = 256
TILE_HEIGHT = 8
TileSource = Callable[[int, int], bytes]


class Tile(msgspec.Struct, frozen=True):
    """Consecutive hashes of one tile, from its first; full at `TILE_WIDTH`."""

    level: int
    n: int
    hashes: bytes

    @property
    def width(self) -> int:
        """How many hashes the tile has, 1 to 256."""
        return len(self.hashes) // HASH_BYTES


def tile_path(level: int, n: int, width: int = TILE_WIDTH) -> str:
    """The address of a tile below a log's prefix: `tile/0/x001/x234/067`, with `.p/W` where it is partial."""
    digits = str(n)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{level}/" + "/".join(["x" + group for group in groups[:-1]] + groups[-1:]) + partial


def width_at(size: int, level: int, n: int) -> int:
    """How many hashes tile (level, n) has in a tree of `size`: 0 to 256."""
    return max(0, min(TILE_WIDTH, (size >> TILE_HEIGHT * level) - n * TILE_WIDTH))


def grow(size: int, leaf_hashes: bytes, read: TileSource) -> list[Tile]:
    """The tiles that change, whole, when concatenated `leaf_hashes` are appended to the tree of `size`.

    Storing each over its former self keeps every level complete. Reads at most one tile a level.
    """
    grown: list[Tile] = []
    level, added = 0, leaf_hashes
    while added:
        first = (size >> TILE_HEIGHT * level) // TILE_WIDTH
        known = width_at(size, level, first)
        hashes = (TileTree(size, read).tile(level, first) if known else b"") + added
        step = TILE_WIDTH * HASH_BYTES
        tiles = [Tile(level, first + at // step, hashes[at : at + step]) for at in range(0, len(hashes), step)]
        grown += tiles
        added = b"".join(complete_root(tile.hashes) for tile in tiles if tile.width == TILE_WIDTH)
        level += 1
    return grown


class TileTree:
    """A tree of `size` leaves, read from its tiles; `node` is a `NodeReader` for the proofs of `merkle`."""

    def __init__(self, size: int, read: TileSource) -> None:
        self._size = size
        self._read = read

    def tile(self, level: int, n: int) -> bytes:
        """The hashes that tile (level, n) has at this size; what storage lacks is worked out from the level below.

        Raises LookupError where level 0 itself lacks hashes.
        """
        wanted = width_at(self._size, level, n)
        hashes = self._read(level, n)[: wanted * HASH_BYTES]
        stored = len(hashes) // HASH_BYTES
        if stored == wanted:
            return hashes
        if level == 0:
            raise LookupError(f"{tile_path(0, n)} holds {stored} of the {wanted} hashes of a tree of size {self._size}")
        below = (complete_root(self.tile(level - 1, n * TILE_WIDTH + at)) for at in range(stored, wanted))
        return hashes + b"".join(below)

    def node(self, level: int, index: int) -> bytes:
        """The root of the complete subtree over leaves `index * 2**level` up to `(index + 1) * 2**level`."""
        tile_level, height = divmod(level, TILE_HEIGHT)
        n, at = divmod(index << height, TILE_WIDTH)
        hashes = self.tile(tile_level, n)
        return complete_root(hashes[at * HASH_BYTES : (at + (1 << height)) * HASH_BYTES])
