"""The tree of RFC 9162: published proofs, and agreement with the definition written down naively."""

import base64
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.audit.merkle import (
    Frontier,
    consistency_proof,
    empty_root,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from tenantry.audit.proof import ProofFailed

VECTORS = Path(__file__).parents[1] / "data" / "merkle"
LEAVES = [leaf_hash(str(index).encode()) for index in range(300)]


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 9162, 2.1.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(naive_root(leaves[:split]), naive_root(leaves[split:]))


def read(level: int, index: int) -> bytes:
    return naive_root(LEAVES[index << level : (index + 1) << level])


def cases(kind: str) -> list[Path]:
    return sorted((VECTORS / kind).rglob("*.json"))


def decoded(text: str | None) -> bytes:
    return base64.b64decode(text or "")


@pytest.mark.parametrize("path", cases("inclusion"), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_an_inclusion_proof_is_judged_as_published(path: Path) -> None:
    case = json.loads(path.read_text())
    arguments = (
        decoded(case["leafHash"]),
        case["leafIdx"],
        case["treeSize"],
        [decoded(node) for node in case["proof"] or []],
        decoded(case["root"]),
    )
    if case["wantErr"]:
        with pytest.raises(ProofFailed, match="inclusion"):
            verify_inclusion(*arguments)
    else:
        verify_inclusion(*arguments)


@pytest.mark.parametrize("path", cases("consistency"), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_consistency_proof_is_judged_as_published(path: Path) -> None:
    case = json.loads(path.read_text())
    proof = [decoded(node) for node in case["proof"] or []]
    arguments = (case["size1"], case["size2"], proof, decoded(case["root1"]), decoded(case["root2"]))
    if case["wantErr"]:
        with pytest.raises(ProofFailed, match="consistency"):
            verify_consistency(*arguments)
    else:
        verify_consistency(*arguments)


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_frontier_states_the_root_of_the_definition_however_it_grew(size: int, cut: int) -> None:
    cut = min(cut, size)
    one_by_one, in_bulk = Frontier(), Frontier()
    for leaf in LEAVES[:size]:
        one_by_one.append(leaf)
    in_bulk.extend(b"".join(LEAVES[:cut]))
    in_bulk = Frontier.from_bytes(in_bulk.to_bytes())
    in_bulk.extend(b"".join(LEAVES[cut:size]))
    assert one_by_one.root() == in_bulk.root() == root_of(read, size) == naive_root(LEAVES[:size])
    assert one_by_one.to_bytes() == in_bulk.to_bytes()


@given(st.integers(1, 300), st.data())
def test_a_proof_of_inclusion_verifies_for_its_leaf_and_no_other(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof, root = inclusion_proof(read, index, size), naive_root(LEAVES[:size])
    verify_inclusion(LEAVES[index], index, size, proof, root)
    with pytest.raises(ProofFailed):
        verify_inclusion(leaf_hash(b"another"), index, size, proof, root)


@given(st.integers(0, 300), st.data())
def test_a_proof_of_consistency_verifies_for_its_trees_and_no_other(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(0, new))
    proof = consistency_proof(read, old, new)
    old_root, new_root = naive_root(LEAVES[:old]), naive_root(LEAVES[:new])
    verify_consistency(old, new, proof, old_root, new_root)
    with pytest.raises(ProofFailed):
        verify_consistency(old, new, proof, leaf_hash(b"another"), new_root)


def test_the_empty_tree_has_the_root_of_nothing() -> None:
    assert empty_root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("stored", [b"", b"\0" * 7, b"\0" * 7 + b"\x01", b"\0" * 40, b"\0" * 7 + b"\x01" + b"x" * 33])
def test_a_damaged_frontier_is_refused(stored: bytes) -> None:
    with pytest.raises(ProofFailed, match="malformed"):
        Frontier.from_bytes(stored)


def test_a_proof_for_what_is_not_in_the_tree_is_not_made() -> None:
    with pytest.raises(ValueError, match="no leaf 3"):
        inclusion_proof(read, 3, 3)
    with pytest.raises(ValueError, match="not a prefix"):
        consistency_proof(read, 4, 3)
