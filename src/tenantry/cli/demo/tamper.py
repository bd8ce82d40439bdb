"""Twenty ways to tamper with an exported log, each on a copy. Whoever verifies has the keys and a checkpoint from elsewhere."""

import base64
import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tenantry.audit.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from tenantry.audit.export import CHECKPOINT, EVENTS, HASHES, KEYS, MANIFEST, PublishedKey
from tenantry.audit.lines import LINE
from tenantry.audit.merkle import HASH_BYTES, Frontier, leaf_hash
from tenantry.audit.note import Signer, Verifier
from tenantry.audit.proof import Kind, ProofFailed
from tenantry.audit.verify import verify_export
from tenantry.core.leaf import leaf


class Exports(msgspec.Struct, frozen=True):
    """The log taken out, an older export of it, another organization's, and what the verifier has from elsewhere."""

    ours: Path
    older: Path
    theirs: Path
    keys: Sequence[PublishedKey]
    held: bytes
    signer: Signer
    """The log's own key: what an operator gone bad would have."""


Way = Callable[[Path, Exports], None]


def try_way(way: Way, exports: Exports, folder: Path) -> str:
    """The kind of what is wrong with a copy that was tampered with in this way; empty if nobody noticed.

    Raises:
        ProofFailed: the copy did not verify before it was touched.
    """
    shutil.copytree(exports.ours, folder)
    try:
        verify_export(folder, keys=exports.keys, against=exports.held)
        way(folder, exports)
        try:
            verify_export(folder, keys=exports.keys, against=exports.held)
        except ProofFailed as error:
            return error.kind
        return ""
    finally:
        shutil.rmtree(folder)


def _changed(folder: Path, _: Exports) -> None:
    _replace(folder / EVENTS, rb'"amount":(\d)', rb'"amount":1\1')


def _deleted(folder: Path, _: Exports) -> None:
    lines = _lines(folder)
    del lines[len(lines) // 2]
    _write_lines(folder, lines)


def _inserted(folder: Path, _: Exports) -> None:
    lines = _lines(folder)
    lines.insert(3, lines[3].replace(b'"outcome":"', b'"outcome":"never_'))
    _write_lines(folder, lines)


def _swapped(folder: Path, _: Exports) -> None:
    lines = _lines(folder)
    lines[4], lines[7] = lines[7], lines[4]
    _write_lines(folder, lines)


def _cut_short(folder: Path, _: Exports) -> None:
    _write_lines(folder, _lines(folder)[:-2])


def _renumbered(folder: Path, _: Exports) -> None:
    lines = _lines(folder)
    lines[5] = lines[5].replace(b'"index":5', b'"index":6', 1)
    _write_lines(folder, lines)


def _revised(folder: Path, _: Exports) -> None:
    _replace(folder / EVENTS, rb'"revision":([1-9])', rb'"revision":1\1')


def _foreign(folder: Path, exports: Exports) -> None:
    lines = _lines(folder)
    lines[6] = _lines(exports.theirs)[6]
    _write_lines(folder, lines)


def _respelled(folder: Path, _: Exports) -> None:
    _replace(folder / EVENTS, rb'"outcome":', rb'"outcome": ')


def _other_salt(folder: Path, _: Exports) -> None:
    _replace(folder / EVENTS, rb'"salt":"[0-9a-f]{4}', b'"salt":"0000')


def _other_person(folder: Path, _: Exports) -> None:
    _replace(folder / EVENTS, rb'"payer":"Payer \d', b'"payer":"Mallory')


def _moved_person(folder: Path, _: Exports) -> None:
    """The personal part of one event beside another, each as it was exported."""
    lines = _lines(folder)
    having = [n for n, line in enumerate(lines) if b'"personal":{' in line][:2]
    parts = [lines[n][lines[n].index(b',"personal":{') :] for n in having]
    for n, part, other in zip(having, parts, reversed(parts), strict=True):
        lines[n] = lines[n].removesuffix(part) + other
    _write_lines(folder, lines)


def _with_its_hash(folder: Path, exports: Exports) -> None:
    """An event changed, and its hash in the file of hashes with it."""
    _changed(folder, exports)
    (folder / HASHES).write_bytes(b"".join(_leaf_hashes(folder)))


def _other_root(folder: Path, _: Exports) -> None:
    lines = (folder / CHECKPOINT).read_bytes().split(b"\n")
    lines[2] = base64.b64encode(bytes(HASH_BYTES))
    (folder / CHECKPOINT).write_bytes(b"\n".join(lines))


def _unsigned(folder: Path, _: Exports) -> None:
    text = (folder / CHECKPOINT).read_bytes().partition(b"\n\n")[0]
    (folder / CHECKPOINT).write_bytes(text + b"\n\n")


def _keys_swapped(folder: Path, exports: Exports) -> None:
    """History written anew under a key of the log's name, which is the one published with it."""
    key = Ed25519PrivateKey.generate()
    signer = Signer(_checkpoint(folder).origin, key.public_key().public_bytes_raw(), key.sign)
    _rewrite(folder, exports, signer)
    published = json.loads((folder / KEYS).read_bytes())
    published[0]["vkey"] = Verifier(signer.name, signer.public_key).vkey
    (folder / KEYS).write_text(json.dumps(published))


def _forked(folder: Path, exports: Exports) -> None:
    """History written anew by whoever holds the log's own key."""
    _rewrite(folder, exports, exports.signer)


def _older(folder: Path, exports: Exports) -> None:
    """Everything as it was some time ago, whole and signed: the newest events were never exported, it says."""
    shutil.rmtree(folder)
    shutil.copytree(exports.older, folder)


def _manifest(folder: Path, _: Exports) -> None:
    _edit_manifest(folder, lambda manifest: manifest | {"size": manifest["size"] - 1})


def _other_log(folder: Path, exports: Exports) -> None:
    shutil.rmtree(folder)
    shutil.copytree(exports.theirs, folder)


WAYS: tuple[tuple[str, Way, Kind], ...] = (
    ("an amount changed", _changed, "changed"),
    ("an event deleted", _deleted, "missing"),
    ("an event inserted", _inserted, "inserted"),
    ("two events swapped", _swapped, "reordered"),
    ("the tail cut off", _cut_short, "truncated"),
    ("an event renumbered", _renumbered, "renumbered"),
    ("a revision changed", _revised, "changed"),
    ("an event of another organization's log put in", _foreign, "foreign"),
    ("an event spelled otherwise", _respelled, "changed"),
    ("a salt changed", _other_salt, "personal_mismatch"),
    ("personal data changed", _other_person, "personal_mismatch"),
    ("personal data moved to another event", _moved_person, "personal_mismatch"),
    ("an event and its hash changed", _with_its_hash, "checkpoint_mismatch"),
    ("the checkpoint's root changed", _other_root, "checkpoint_signature"),
    ("the checkpoint's signature stripped", _unsigned, "malformed"),
    ("history written anew, the keys swapped", _keys_swapped, "checkpoint_signature"),
    ("history written anew by whoever holds the log's key", _forked, "consistency"),
    ("an older export passed off as the newest", _older, "behind"),
    ("the manifest changed", _manifest, "checkpoint_mismatch"),
    ("another organization's export passed off as this one's", _other_log, "checkpoint_signature"),
)
"""Each way by what it does, in words, and the kind of damage that it must be found as."""


def _rewrite(folder: Path, exports: Exports, signer: Signer) -> None:
    """Another history of the same size, sound in itself: event, hashes, root and signature."""
    _with_its_hash(folder, exports)
    frontier = Frontier()
    frontier.extend(b"".join(_leaf_hashes(folder)))
    before = _checkpoint(folder)
    forged = sign_checkpoint(Checkpoint(before.origin, before.size, frontier.root()), [signer])
    (folder / CHECKPOINT).write_bytes(forged)


def _lines(folder: Path) -> list[bytes]:
    return (folder / EVENTS).read_bytes().splitlines(keepends=True)


def _write_lines(folder: Path, lines: list[bytes]) -> None:
    (folder / EVENTS).write_bytes(b"".join(lines))


def _replace(path: Path, pattern: bytes, by: bytes) -> None:
    content, count = re.subn(pattern, by, path.read_bytes(), count=1)
    assert count, f"nothing in {path.name} to change"
    path.write_bytes(content)


def _checkpoint(folder: Path) -> Checkpoint:
    text = (folder / CHECKPOINT).read_text().partition("\n\n")[0]
    return parse_checkpoint(text + "\n")


def _edit_manifest(folder: Path, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps(edit(json.loads(path.read_bytes()))))


def _leaf_hashes(folder: Path) -> list[bytes]:
    """The hash of each event as it now stands in the file."""
    decoded = [LINE.decode(line) for line in _lines(folder)]
    return [leaf_hash(leaf(line.revision, bytes(line.event))) for line in decoded]
