"""The Merkle tree of RFC 9162, 2.1 (hashes as in RFC 6962): roots, proofs, and their verification. SHA-256.

Use `Frontier` to grow a tree, `inclusion_proof` and `consistency_proof` over anything that can read a complete
subtree's root, and the two `verify_` functions, which raise `ProofFailed`, on the other side.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Self

from tenantry.audit.proof import ProofFailed

HASH_BYTES = 32

NodeReader = Callable[[int, int], bytes]
"""`read(level, index)`: the root of the complete subtree over the `2**level` leaves from `index * 2**level` on."""


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of a leaf, in a domain of its own (RFC 9162, 2.1.1)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node (RFC 9162, 2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def empty_root() -> bytes:
    """The root of a tree without leaves: the hash of nothing."""
    return hashlib.sha256(b"").digest()


def complete_root(hashes: bytes) -> bytes:
    """The root over a power of two of concatenated hashes; the quick way to fold a tile or a chunk."""
    sha256 = hashlib.sha256
    while len(hashes) > HASH_BYTES:
        hashes = b"".join([sha256(b"\x01" + hashes[at : at + 64]).digest() for at in range(0, len(hashes), 64)])
    return hashes


class Frontier:
    """The right edge of a growing tree: all that is needed to append and to state the root.

    Holds one hash for every 1 bit of `size`, the largest subtree first. One owner at a time; not thread-safe.
    """

    def __init__(self, size: int = 0, nodes: Iterable[bytes] = ()) -> None:
        self._size = size
        self._nodes = list(nodes)
        if size < 0 or len(self._nodes) != size.bit_count() or any(len(node) != HASH_BYTES for node in self._nodes):
            raise ProofFailed("malformed", f"{len(self._nodes)} nodes are not the frontier of a tree of size {size}")

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self._size

    def append(self, leaf_hash: bytes) -> None:
        """Add the hash of the next leaf."""
        node, carry = leaf_hash, self._size
        while carry & 1:
            node = node_hash(self._nodes.pop(), node)
            carry >>= 1
        self._nodes.append(node)
        self._size += 1

    def extend(self, leaf_hashes: bytes) -> None:
        """Add concatenated leaf hashes; the same as appending each, in less time."""
        at, total = 0, len(leaf_hashes) // HASH_BYTES
        while at < total:
            width = 1 << ((total - at).bit_length() - 1)
            if self._size:
                width = min(width, self._size & -self._size)
            node = complete_root(leaf_hashes[at * HASH_BYTES : (at + width) * HASH_BYTES])
            carry = self._size // width
            while carry & 1:
                node = node_hash(self._nodes.pop(), node)
                carry >>= 1
            self._nodes.append(node)
            self._size += width
            at += width

    def root(self) -> bytes:
        """The root of the tree at its present size."""
        if not self._nodes:
            return empty_root()
        root = self._nodes[-1]
        for left in reversed(self._nodes[:-1]):
            root = node_hash(left, root)
        return root

    def to_bytes(self) -> bytes:
        """The size in 8 bytes, then the nodes."""
        return self._size.to_bytes(8, "big") + b"".join(self._nodes)

    @classmethod
    def from_bytes(cls, stored: bytes) -> Self:
        """Read what `to_bytes` wrote; raises `ProofFailed` (`malformed`) for anything else."""
        nodes = stored[8:]
        if len(stored) < 8 or len(nodes) % HASH_BYTES:
            raise ProofFailed("malformed", f"a frontier of {len(stored)} bytes")
        return cls(int.from_bytes(stored[:8], "big"), [nodes[i : i + 32] for i in range(0, len(nodes), HASH_BYTES)])


def root_of(read: NodeReader, size: int) -> bytes:
    """The root of the tree over the first `size` leaves."""
    return _range_root(read, 0, size) if size else empty_root()


def inclusion_proof(read: NodeReader, index: int, size: int) -> list[bytes]:
    """The audit path of leaf `index` in the tree of `size` (RFC 9162, 2.1.3.1). Raises ValueError outside the tree."""
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of size {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_root(read, middle, end))
            end = middle
        else:
            path.append(_range_root(read, start, middle))
            start = middle
    return path[::-1]


def consistency_proof(read: NodeReader, old: int, new: int) -> list[bytes]:
    """The proof that the tree of `old` leaves is a prefix of the tree of `new` (RFC 9162, 2.1.4.1).

    Empty where `old` is 0 or equals `new`: then there is nothing to prove. Raises ValueError where `old` > `new`.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of size {old} is not a prefix of one of size {new}")
    if old in (0, new):
        return []
    path: list[bytes] = []
    start, end = 0, new
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_range_root(read, middle, end))
            end = middle
        else:
            path.append(_range_root(read, start, middle))
            start = middle
    if start:
        path.append(_range_root(read, start, end))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise `ProofFailed` unless `proof` leads from leaf hash `leaf` at `index` to `root` (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        raise ProofFailed("inclusion", f"no leaf {index} in a tree of size {size}", index=index)
    if any(len(node) != HASH_BYTES for node in (leaf, root, *proof)):
        raise ProofFailed("inclusion", "a hash that is not 32 bytes long", index=index)
    node, at, last = leaf, index, size - 1
    for sibling in proof:
        if last == 0:
            raise ProofFailed("inclusion", "the proof is too long", index=index)
        if at & 1 or at == last:
            node = node_hash(sibling, node)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise ProofFailed("inclusion", "the proof is too short", index=index)
    if node != root:
        raise ProofFailed("inclusion", "the proof leads to another root", index=index)


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Raise `ProofFailed` unless `proof` shows that the `old` tree is a prefix of the `new` (RFC 9162, 2.1.4.2)."""
    if not 0 <= old <= new:
        raise ProofFailed("consistency", f"a tree of size {old} is not a prefix of one of size {new}")
    if any(len(node) != HASH_BYTES for node in (old_root, new_root, *proof)):
        raise ProofFailed("consistency", "a hash that is not 32 bytes long")
    if old in (0, new):
        if proof:
            raise ProofFailed("consistency", "a proof where there is nothing to prove")
        if old_root != (new_root if old else empty_root()):
            raise ProofFailed("consistency", "two roots for one size")
        return
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        raise ProofFailed("consistency", "the proof is too short")
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    from_old = from_new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofFailed("consistency", "the proof is too long")
        if at & 1 or at == last:
            from_old, from_new = node_hash(sibling, from_old), node_hash(sibling, from_new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            from_new = node_hash(from_new, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise ProofFailed("consistency", "the proof is too short")
    if (from_old, from_new) != (old_root, new_root):
        raise ProofFailed("consistency", "the proof leads to another root")


def _split(width: int) -> int:
    """The largest power of two smaller than `width`."""
    return 1 << ((width - 1).bit_length() - 1)


def _range_root(read: NodeReader, start: int, end: int) -> bytes:
    """The root over leaves `start` up to `end`, where `start` is a multiple of the first complete subtree's width."""
    width = end - start
    if width & (width - 1) == 0:
        level = width.bit_length() - 1
        return read(level, start >> level)
    middle = start + _split(width)
    return node_hash(_range_root(read, start, middle), _range_root(read, middle, end))
