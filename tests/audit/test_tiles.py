"""Tiles: their addresses, how they fill, and that a tree read from them is the tree."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenantry.audit.merkle import (
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from tenantry.audit.tiles import TileTree, grow, tile_path, width_at

COUNT = 70_000
LEAVES = [leaf_hash(index.to_bytes(4, "big")) for index in range(COUNT)]


class Stored(dict[tuple[int, int], bytes]):
    """Tiles as a database keeps them: one row per (level, n), overwritten as it grows."""

    def read(self, level: int, n: int) -> bytes:
        return self.get((level, n), b"")

    def grown(self, size: int, new: int) -> "Stored":
        for tile in grow(size, b"".join(LEAVES[size:new]), self.read):
            self[tile.level, tile.n] = tile.hashes
        return self


ALL = Stored().grown(0, 1).grown(1, 300).grown(300, 65_535).grown(65_535, 65_537).grown(65_537, COUNT)


@pytest.fixture
def stored() -> Stored:
    return Stored(ALL)


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        ((0, 0, 256), "tile/0/000"),
        ((1, 1_234_067, 256), "tile/1/x001/x234/067"),
        ((0, 273, 112), "tile/0/273.p/112"),
        ((63, 1_000, 1), "tile/63/x001/000.p/1"),
    ],
)
def test_a_tile_has_one_address(tile: tuple[int, int, int], path: str) -> None:
    assert tile_path(*tile) == path


def test_a_tree_of_70_000_has_the_tiles_of_the_specification(stored: Stored) -> None:
    widths = {(level, n): len(hashes) // 32 for (level, n), hashes in stored.items()}
    expected = {(0, n): 256 for n in range(273)} | {(0, 273): 112, (1, 0): 256, (1, 1): 17, (2, 0): 1}
    assert widths == expected
    assert all(width_at(COUNT, level, n) == width for (level, n), width in widths.items())


@settings(max_examples=20)
@given(st.integers(1, COUNT), st.data())
def test_every_size_proves_from_the_tiles_of_a_later_one(size: int, data: st.DataObject) -> None:
    tree = TileTree(size, ALL.read)
    frontier = Frontier()
    frontier.extend(b"".join(LEAVES[:size]))
    assert root_of(tree.node, size) == frontier.root()
    index = data.draw(st.integers(0, size - 1))
    verify_inclusion(LEAVES[index], index, size, inclusion_proof(tree.node, index, size), frontier.root())
    old = Frontier()
    old.extend(b"".join(LEAVES[: index + 1]))
    proof = consistency_proof(tree.node, index + 1, size)
    verify_consistency(index + 1, size, proof, old.root(), frontier.root())


def test_what_is_not_stored_above_level_0_is_worked_out_from_below(stored: Stored) -> None:
    bare = Stored({at: hashes for at, hashes in stored.items() if at[0] == 0})
    assert root_of(TileTree(COUNT, bare.read).node, COUNT) == root_of(TileTree(COUNT, stored.read).node, COUNT)


def test_a_tile_that_lacks_leaf_hashes_is_refused(stored: Stored) -> None:
    short = Stored(stored | {(0, 3): stored[0, 3][:-32]})
    with pytest.raises(LookupError, match="tile/0/003 holds 255 of the 256"):
        TileTree(COUNT, short.read).tile(0, 3)
