"""Exports and their offline verification: what is proved, and how each kind of damage is named."""

import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tenantry.audit.export import ExportWriter, PublishedKey
from tenantry.audit.lines import Entry
from tenantry.audit.note import sign
from tenantry.audit.proof import Kind, ProofFailed
from tenantry.audit.verify import read_keys, verify_export
from tenantry.core.errors import Invalid
from tests.audit import peer
from tests.audit.logs import ACME, GLOBEX, SINCE, Log

MANY = Log().append(10_000)
THEIRS = Log(GLOBEX).append(10)


def with_entry(entries: list[Entry], at: int, **changed: object) -> list[Entry]:
    return [msgspec.structs.replace(e, **changed) if e.index == at else e for e in entries]


def swapped(entries: list[Entry], one: int, other: int) -> list[Entry]:
    """Two rows whose contents changed places, each keeping its own index."""
    a, b = entries[one], entries[other]
    rows = list(entries)
    rows[one] = msgspec.structs.replace(b, index=one)
    rows[other] = msgspec.structs.replace(a, index=other)
    return rows


def closed_up(entries: list[Entry]) -> list[Entry]:
    return [msgspec.structs.replace(entry, index=index) for index, entry in enumerate(entries)]


Edit = Callable[[list[Entry]], list[Entry]]
FOREIGN = THEIRS.entries[3]
DAMAGE: dict[str, tuple[Edit, Kind, int]] = {
    "a byte changed": (
        lambda e: with_entry(e, 4711, body=e[4711].body.replace(b"credited", b"credites")),
        "changed",
        4711,
    ),
    "a revision changed": (lambda e: with_entry(e, 4711, revision=1), "changed", 4711),
    "a row deleted": (lambda e: e[:4711] + e[4712:], "missing", 4711),
    "a row deleted, the rest renumbered": (lambda e: closed_up(e[:4711] + e[4712:]), "missing", 4711),
    "the first row deleted": (lambda e: e[1:], "missing", 0),
    "the last but one deleted": (lambda e: e[:9998] + e[9999:], "missing", 9998),
    "a row inserted": (
        lambda e: closed_up([*e[:4711], msgspec.structs.replace(e[0], body=e[0].body + b" "), *e[4711:]]),
        "malformed",
        4711,
    ),
    "an event made up": (
        lambda e: closed_up([*e[:4711], Entry(0, 9, e[0].body.replace(b"credited", b"debited")), *e[4711:]]),
        "inserted",
        4711,
    ),
    "a row doubled": (lambda e: closed_up([*e[:4711], e[17], *e[4711:]]), "inserted", 4711),
    "a row appended": (lambda e: [*e, Entry(10_000, 1, e[0].body)], "inserted", 10_000),
    "neighbours swapped": (lambda e: swapped(e, 4711, 4712), "reordered", 4711),
    "distant rows swapped": (lambda e: swapped(e, 12, 9_000), "reordered", 12),
    "a row moved to later": (lambda e: closed_up([*e[:12], *e[13:500], e[12], *e[500:]]), "reordered", 12),
    "a row overwritten by another": (
        lambda e: with_entry(e, 12, body=e[99].body, revision=e[99].revision),
        "changed",
        12,
    ),
    "the tail cut": (lambda e: e[:9_990], "truncated", 9_990),
    "everything cut": (lambda e: e[:0], "truncated", 0),
    "renumbered": (lambda e: with_entry(e, 4711, index=4712), "renumbered", 4711),
    "all renumbered": (lambda e: [msgspec.structs.replace(x, index=x.index + 1) for x in e], "renumbered", 0),
    "another organization's leaf": (lambda e: closed_up([*e[:40], FOREIGN, *e[40:]]), "foreign", 40),
    "another organization's leaf in place": (lambda e: closed_up([*e[:40], FOREIGN, *e[41:]]), "foreign", 40),
    "personal data changed": (lambda e: with_entry(e, 4710, personal=b'{"email":"x"}'), "personal_mismatch", 4710),
    "salt changed": (lambda e: with_entry(e, 4710, salt=bytes(16)), "personal_mismatch", 4710),
    "personal data added": (lambda e: with_entry(e, 4711, salt=b"1", personal=b"{}"), "personal_mismatch", 4711),
    "a line broken": (lambda e: with_entry(e, 4711, body=b'{"a":\n1}'), "malformed", 4711),
    "not UTF-8": (
        lambda e: with_entry(e, 4711, body=e[4711].body.replace(b"credited", b"credit\xff\xff")),
        "changed",
        4711,
    ),
    "a member twice": (lambda e: with_entry(e, 4711, body=b'{},"event":' + e[4711].body), "malformed", 4711),
}


def test_a_whole_export_says_what_it_proves(tmp_path: Path) -> None:
    report = verify_export(MANY.export(tmp_path), against=MANY.checkpoint(7_777))
    assert (report.org, report.size, report.held, report.erased) == (ACME, 10_000, 7_777, 0)
    assert report.keys_enclosed
    assert peer.run("export", str(tmp_path)).stdout == b"complete up to 10000\n"


@pytest.mark.parametrize("name", DAMAGE)
def test_aud_01_damage_is_found_and_named_by_index_and_kind(name: str, tmp_path: Path) -> None:
    """AUD-01: of 10,000 events, whatever was done to a row is named; the tree's hashes and checkpoint were kept."""
    edit, kind, index = DAMAGE[name]
    directory = MANY.export(tmp_path, edit(MANY.entries))
    with pytest.raises(ProofFailed) as failed:
        verify_export(directory)
    assert (failed.value.kind, failed.value.index) == (kind, index)


# A reader that takes the last of two members of one name sees nothing wrong with that line; ours refuses it.
@pytest.mark.parametrize("name", [name for name in DAMAGE if name != "a member twice"])
def test_aud_01_the_independent_verifier_agrees_on_the_first_bad_index(name: str, tmp_path: Path) -> None:
    """AUD-01: a program that shares no line with ours refuses the same exports at the same index."""
    edit, _, index = DAMAGE[name]
    answer = peer.run("export", str(MANY.export(tmp_path, edit(MANY.entries))))
    assert answer.returncode == 1
    assert answer.stdout == f"refused: bad index {index}\n".encode()


def test_aud_01_a_tail_cut_everywhere_is_found_by_a_checkpoint_kept_outside(tmp_path: Path) -> None:
    """AUD-01: rows, hashes and checkpoint all cut back look whole, but not to who holds a later checkpoint."""
    directory = MANY.export(tmp_path, size=9_990)
    assert verify_export(directory, against=MANY.checkpoint(9_990)).size == 9_990
    with pytest.raises(ProofFailed) as failed:
        verify_export(directory, against=MANY.checkpoint())
    assert (failed.value.kind, failed.value.index) == ("behind", 9_990)


def test_aud_01_a_history_rewritten_and_signed_again_is_found_by_a_checkpoint_kept_outside(tmp_path: Path) -> None:
    """AUD-01: who holds the database and the key can sign another past, but not one that continues what was handed out."""
    rewritten = Log()
    rewritten.key = MANY.key
    directory = rewritten.append(10_000).export(tmp_path)
    assert verify_export(directory).size == 10_000
    with pytest.raises(ProofFailed, match="not a continuation") as failed:
        verify_export(directory, against=MANY.checkpoint(10))
    assert failed.value.kind == "consistency"


def test_aud_19_an_export_that_lags_says_up_to_which_size_it_is_complete(tmp_path: Path) -> None:
    """AUD-19: sound by itself, refused against a later checkpoint, and the size it reaches is named in both."""
    directory = MANY.export(tmp_path, size=600)
    assert verify_export(directory, against=MANY.checkpoint(300)).size == 600
    with pytest.raises(ProofFailed, match="complete up to here, and 10000 events are known") as failed:
        verify_export(directory, against=MANY.checkpoint())
    assert (failed.value.kind, failed.value.index) == ("behind", 600)


def test_aud_19_a_short_log_under_a_later_checkpoint_never_looks_valid(tmp_path: Path) -> None:
    """AUD-19: a replica that has the checkpoint but not yet the leaves and hashes below it yields no valid export."""
    with ExportWriter(tmp_path, MANY.checkpoint(), [MANY.published()]) as writer:
        writer.add(MANY.entries[:600], b"".join(MANY.hashes[:600]))
    with pytest.raises(ProofFailed) as failed:
        verify_export(tmp_path)
    assert (failed.value.kind, failed.value.index) == ("truncated", 600)


def test_an_export_is_for_the_eyes_of_its_maker_alone(acme: Log, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        directory = acme.export(tmp_path / "deep" / "export")
    finally:
        os.umask(before)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in directory.iterdir()} == {0o600}


def pages_until_the_database_goes(log: Log) -> Iterator[Entry]:
    yield from log.entries[:100]
    raise LookupError


def test_an_export_that_did_not_finish_is_refused(acme: Log, tmp_path: Path) -> None:
    with pytest.raises(LookupError), ExportWriter(tmp_path, acme.checkpoint(), [acme.published()]) as writer:
        writer.add(pages_until_the_database_goes(acme), b"".join(acme.hashes))
    with pytest.raises(ProofFailed, match="did the export finish"):
        verify_export(tmp_path)
    assert verify_export(acme.export(tmp_path)).size == 300


@pytest.mark.parametrize("name", ["events.jsonl", "hashes", "checkpoint", "keys.json", "events.csv"])
def test_no_file_of_an_export_can_be_changed_or_taken_away(name: str, acme: Log, tmp_path: Path) -> None:
    file = acme.export(tmp_path) / name
    whole = file.read_bytes()
    assert verify_export(tmp_path).size == 300
    for damaged in (whole[:-1], whole[:100] + bytes([whole[100] ^ 1]) + whole[101:], whole + b"\n", b""):
        file.write_bytes(damaged)
        with pytest.raises(ProofFailed):
            verify_export(tmp_path)
    file.unlink()
    with pytest.raises(ProofFailed):
        verify_export(tmp_path)


def test_hashes_that_do_not_lead_to_the_root_are_told_from_changed_events(acme: Log, tmp_path: Path) -> None:
    hashes = acme.export(tmp_path) / "hashes"
    hashes.write_bytes(b"".join([*acme.hashes[:9], acme.hashes[8], *acme.hashes[10:]]))
    with pytest.raises(ProofFailed) as failed:
        verify_export(tmp_path)
    assert failed.value.kind == "hashes_mismatch"


def test_events_changed_with_their_hashes_are_bounded_by_the_checkpoint_held(acme: Log, tmp_path: Path) -> None:
    forged = Log().append(300)
    entries = acme.entries[:200] + forged.entries[200:]
    with ExportWriter(tmp_path, acme.checkpoint(), [acme.published()]) as writer:
        writer.add(entries, b"".join(acme.hashes[:200] + forged.hashes[200:]))
    with pytest.raises(ProofFailed) as failed:
        verify_export(tmp_path, against=acme.checkpoint(200))
    assert (failed.value.kind, failed.value.index) == ("checkpoint_mismatch", 200)


def test_a_log_under_another_organizations_name_is_refused(acme: Log, globex: Log, tmp_path: Path) -> None:
    directory = acme.export(tmp_path)
    manifest = directory / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(ACME.encode(), GLOBEX.encode()))
    with pytest.raises(ProofFailed, match="another checkpoint"):
        verify_export(directory)
    with pytest.raises(ProofFailed, match="foreign"):
        verify_export(
            acme.export(directory), keys=[acme.published(), globex.published()], against=globex.checkpoint(10)
        )


def test_erased_personal_data_leaves_every_proof_valid(acme: Log, tmp_path: Path) -> None:
    assert verify_export(acme.export(tmp_path)).erased == 0
    erased = [msgspec.structs.replace(entry, salt=None, personal=None) for entry in acme.entries]
    assert verify_export(acme.export(tmp_path, erased)).erased == 60
    assert b"acme.example" not in (tmp_path / "events.jsonl").read_bytes()


def test_a_salt_has_one_spelling(acme: Log, tmp_path: Path) -> None:
    salt = acme.entries[5].salt
    assert salt is not None
    spelled = salt.hex()
    events = acme.export(tmp_path) / "events.jsonl"
    whole = events.read_bytes()
    assert whole.count(spelled.encode()) == 1
    for other in (spelled.upper(), f"{spelled[:2]} {spelled[2:]}", f"{spelled}\\n", f" {spelled}"):
        events.write_bytes(whole.replace(spelled.encode(), other.encode()))
        with pytest.raises(ProofFailed) as failed:
            verify_export(tmp_path)
        assert (failed.value.kind, failed.value.index) == ("personal_mismatch", 5)
        assert peer.run("export", str(tmp_path)).stdout == b"refused: bad index 5\n"


def test_an_empty_log_verifies(tmp_path: Path) -> None:
    assert verify_export(Log().export(tmp_path)).size == 0


def test_keys_from_a_trusted_place_refuse_an_export_that_brings_its_own(acme: Log, tmp_path: Path) -> None:
    forged = Log().append(300)
    directory = forged.export(tmp_path)
    assert verify_export(directory).keys_enclosed
    with pytest.raises(ProofFailed) as failed:
        verify_export(directory, keys=[acme.published()])
    assert failed.value.kind == "checkpoint_signature"


def newest(log: Log) -> datetime:
    return datetime.fromisoformat(log.time(len(log.entries) - 1))


def rotated(log: Log, now: datetime) -> list[PublishedKey]:
    """Two rotations and one back: A, B, A again; each retired when the next began."""
    first, first_key = log.published(until=now), log.key
    log.key = Ed25519PrivateKey.generate()
    second = log.published(until=now + timedelta(hours=1))
    log.key = first_key
    return [first, second, log.published()]


def test_aud_09_checkpoints_verify_by_the_published_history_of_their_keys(acme: Log, tmp_path: Path) -> None:
    """AUD-09: rotated and rotated back, with the private half of a retired key lost, old checkpoints still verify."""
    early = acme.checkpoint(100)
    history = rotated(acme, newest(acme))
    acme.append(100)
    directory = acme.export(tmp_path)
    assert verify_export(directory, keys=history, against=early).held == 100
    with pytest.raises(ProofFailed) as failed:
        verify_export(directory, keys=history[:2], against=early)
    assert failed.value.kind == "key_revoked"


@pytest.mark.parametrize(("hours", "refused"), [(1, False), (-1, True)])
def test_aud_09_a_key_signs_nothing_newer_than_its_revocation(
    hours: int, refused: bool, acme: Log, tmp_path: Path
) -> None:
    """AUD-09: a checkpoint over an event later than the revocation is refused, an earlier one is not."""
    keys = [acme.published(), acme.published(revoked=newest(acme) + timedelta(hours=hours))]
    directory = acme.export(tmp_path)
    if not refused:
        assert verify_export(directory, keys=keys).size == 300
        return
    with pytest.raises(ProofFailed) as failed:
        verify_export(directory, keys=keys)
    assert (failed.value.kind, failed.value.index) == ("key_revoked", 299)


def test_a_revoked_key_signs_no_empty_log(tmp_path: Path) -> None:
    log = Log()
    directory = log.export(tmp_path)
    assert verify_export(directory, keys=[log.published(until=SINCE)]).size == 0
    with pytest.raises(ProofFailed) as failed:
        verify_export(directory, keys=[log.published(), log.published(revoked=SINCE)])
    assert (failed.value.kind, failed.value.index) == ("key_revoked", None)


def in_the_peers_words(directory: Path) -> str:
    try:
        return f"complete up to {verify_export(directory).size}\n"
    except ProofFailed as failed:
        return {"key_revoked": "refused: signed by a key after its end\n"}[failed.kind]


@pytest.mark.parametrize("size", [0, 300])
@pytest.mark.parametrize("until", [-1, 1, None])
@pytest.mark.parametrize("revoked", [-1, 1, None])
def test_aud_09_the_independent_verifier_judges_a_keys_end_alike(
    size: int, until: int | None, revoked: int | None, tmp_path: Path
) -> None:
    """AUD-09: retired or revoked an hour before or after the newest event, or never, ours and another verifier agree."""
    log = Log().append(size)
    at = newest(log) if size else SINCE
    first, second = (None if hours is None else at + timedelta(hours=hours) for hours in (until, revoked))
    keys = [log.published(until=at - timedelta(hours=2)), log.published(until=first, revoked=second)]
    with ExportWriter(tmp_path, log.checkpoint(), keys) as writer:
        writer.add(log.entries, b"".join(log.hashes))
    assert peer.run("export", str(tmp_path)).stdout.decode() == in_the_peers_words(tmp_path)


def test_a_key_for_another_purpose_signs_no_checkpoint(acme: Log, tmp_path: Path) -> None:
    key = msgspec.structs.replace(acme.published(), purpose="receipt")
    directory = acme.export(tmp_path)
    assert verify_export(directory, keys=read_keys(directory / "keys.json")).size == 300
    with pytest.raises(ProofFailed, match="checkpoint_signature"):
        verify_export(directory, keys=[key])


def test_a_manifest_names_no_file_outside_the_export(acme: Log, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"")
    manifest = acme.export(tmp_path / "export") / "manifest.json"
    assert verify_export(manifest.parent).size == 300
    manifest.write_bytes(manifest.read_bytes().replace(b'"events.csv"', b'"../outside"'))
    with pytest.raises(ProofFailed, match="file_changed"):
        verify_export(manifest.parent)


NESTED = b"[" * 100_000 + b"]" * 100_000
HOSTILE = {
    "manifest.json": [
        b'{"x":' + NESTED + b"}",
        b'{"format":"\xff"}',
        b'{"format":"\\ud800"}',
        NESTED,
        b" " * 2**20 + b"{}",
    ],
    "keys.json": [b'[{"vkey":"\xff"}]', b'[{"vkey":"\\ud800+00+00"}]', NESTED, b" " * 2**20 + b"[]"],
    "checkpoint": [b"\xff", NESTED, b"\n" * 2**21],
    "events.jsonl": [b"\xff\n", b'{"index":0,"revision":0,"event":' + NESTED + b"}\n"],
}


@pytest.mark.parametrize(("name", "content"), [(name, content) for name in HOSTILE for content in HOSTILE[name]])
def test_a_hostile_file_is_a_failed_proof_and_no_crash(name: str, content: bytes, acme: Log, tmp_path: Path) -> None:
    directory = acme.export(tmp_path)
    assert verify_export(directory).size == 300
    (directory / name).write_bytes(content)
    with pytest.raises(ProofFailed):
        verify_export(directory)


@pytest.mark.parametrize("name", ["manifest.json", "keys.json", "checkpoint", "hashes", "events.jsonl", "events.csv"])
def test_a_pipe_or_folder_in_place_of_a_file_is_refused_at_once(name: str, acme: Log, tmp_path: Path) -> None:
    file = acme.export(tmp_path) / name
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(ProofFailed, match=name):
        verify_export(tmp_path)
    file.unlink()
    file.mkdir()
    with pytest.raises(ProofFailed, match=name):
        verify_export(tmp_path)


@pytest.mark.parametrize("member", ["since", "until", "revoked"])
def test_a_published_time_without_its_zone_is_refused(member: str, acme: Log, tmp_path: Path) -> None:
    key = msgspec.to_builtins(acme.published())
    path = tmp_path / "keys.json"
    for time in ("2027-01-01T00:00:00Z", "2027-01-01T00:00:00"):
        path.write_bytes(msgspec.json.encode([{**key, member: time}]))
        if time.endswith("Z"):
            assert len(read_keys(path)) == 1
    with pytest.raises(Invalid, match="malformed"):
        read_keys(path)


def test_a_newest_event_whose_time_has_no_zone_is_refused(tmp_path: Path) -> None:
    log = Log().append(3)
    keys = [log.published(until=SINCE + timedelta(days=365))]
    assert verify_export(log.export(tmp_path), keys=keys).size == 3
    log.record(1, at="2026-02-01T00:00:00")
    with pytest.raises(ProofFailed) as failed:
        verify_export(log.export(tmp_path), keys=keys)
    assert (failed.value.kind, failed.value.index) == ("malformed", 3)


def test_a_note_with_a_checkpoint_that_no_log_key_signed_is_refused(acme: Log, globex: Log, tmp_path: Path) -> None:
    text = acme.checkpoint().decode().partition("\n\n")[0] + "\n"
    directory = acme.export(tmp_path)
    (directory / "checkpoint").write_bytes(sign(text, [globex.signer]))
    with pytest.raises(ProofFailed, match="checkpoint_signature"):
        verify_export(directory, keys=[acme.published(), globex.published()])
