"""Our checkpoints and proofs before Go's own verifier of transparency logs, and its proofs before ours."""

import base64
import json

import pytest

from tenantry.audit.checkpoint import open_checkpoint
from tenantry.audit.merkle import consistency_proof, inclusion_proof, leaf_hash, verify_consistency, verify_inclusion
from tenantry.audit.note import Verifier, parse_vkey
from tenantry.audit.proof import ProofFailed
from tenantry.audit.tiles import TileTree, grow
from tenantry.core.leaf import leaf
from tests.audit import peer
from tests.audit.logs import Log

SIZES = [(1, 2), (3, 7), (256, 257), (255, 300)]


def ours(old: int, new: int) -> dict[str, object]:
    log = Log().append(new)
    tiles = {(tile.level, tile.n): tile.hashes for tile in grow(0, b"".join(log.hashes), lambda *_: b"")}
    tree = TileTree(new, lambda level, n: tiles.get((level, n), b""))
    index = new // 2
    entry = log.entries[index]
    return {
        "VKey": Verifier(log.origin, log.signer.public_key).vkey,
        "Old": log.checkpoint(old).decode(),
        "New": log.checkpoint(new).decode(),
        "Leaf": base64.b64encode(leaf(entry.revision, entry.body)).decode(),
        "Index": index,
        "Inclusion": encoded(inclusion_proof(tree.node, index, new)),
        "Consistency": encoded(consistency_proof(tree.node, old, new)),
    }


def encoded(proof: list[bytes]) -> list[str]:
    return [base64.b64encode(node).decode() for node in proof]


def decoded(proof: list[str] | None) -> list[bytes]:
    return [base64.b64decode(node) for node in proof or []]


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_go_accepts_our_proofs_and_refuses_them_for_another_leaf(old: int, new: int) -> None:
    proofs = ours(old, new)
    accepted = peer.run("check", stdin=json.dumps(proofs).encode())
    assert (accepted.returncode, accepted.stdout) == (0, b"")
    proofs["Leaf"] = base64.b64encode(b"another").decode()
    assert peer.run("check", stdin=json.dumps(proofs).encode()).returncode == 1


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_the_proofs_of_go_are_accepted_and_refused_for_another_leaf(old: int, new: int) -> None:
    theirs = json.loads(peer.run("make", "log.example/one", str(old), str(new)).stdout)
    known = [parse_vkey(theirs["VKey"])]
    older, _ = open_checkpoint(theirs["Old"].encode(), known)
    newer, _ = open_checkpoint(theirs["New"].encode(), known)
    assert (older.size, newer.size) == (old, new)
    verify_consistency(old, new, decoded(theirs["Consistency"]), older.root, newer.root)
    proof, index = decoded(theirs["Inclusion"]), theirs["Index"]
    verify_inclusion(leaf_hash(base64.b64decode(theirs["Leaf"])), index, new, proof, newer.root)
    with pytest.raises(ProofFailed):
        verify_inclusion(leaf_hash(b"another"), index, new, proof, newer.root)
