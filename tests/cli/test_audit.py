"""`tenantry audit export` and `verify`: what was taken out is proved without the deployment."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from tenantry.core.text import display
from tests.audit.logs import Log
from tests.cli.conftest import Shell

PLATFORM = "org_" + "0" * 26
NOBODY = "org_01JDB1V7E8F9G0H1J2K3M4N5P6"


@pytest.fixture
def out(deployed: Shell) -> Path:
    """The platform's log, taken out."""
    assert deployed("audit", "export", "--org", PLATFORM, "--out", "out").status == 0
    return deployed.folder / "out"


def test_an_export_verifies_and_one_that_was_changed_does_not(deployed: Shell, out: Path) -> None:
    sound = deployed("audit", "verify", out)
    assert (sound.status, sound.answer["org"]) == (0, PLATFORM)
    assert sound.answer["size"] > 0
    events = out / "events.jsonl"
    events.write_bytes(events.read_bytes().replace(b"founded", b"fOunded", 1))
    changed = deployed("audit", "verify", out, "--json")
    assert (changed.status, changed.out) == (4, "")
    failure = json.loads(changed.err)
    assert (failure["error"], failure["kind"], failure["index"]) == ("proof_failed", "changed", 0)


def test_a_spreadsheet_is_exported_when_asked_for_and_verified_with_the_rest(deployed: Shell, out: Path) -> None:
    assert not (out / "events.csv").exists()
    assert deployed("audit", "export", "--org", PLATFORM, "--out", "sheet", "--csv").status == 0
    sheet = deployed.folder / "sheet" / "events.csv"
    rows = list(csv.DictReader(sheet.read_text().splitlines()))
    assert (rows[0]["type"], rows[0]["outcome"]) == ("deployment.founded", "done")
    assert deployed("audit", "verify", "sheet").status == 0
    sheet.write_bytes(sheet.read_bytes().replace(b"done", b"d0ne", 1))
    changed = deployed("audit", "verify", "sheet", "--json")
    assert (changed.status, json.loads(changed.err)["kind"]) == (4, "file_changed")


def test_what_a_hostile_export_says_cannot_draw_on_the_terminal(deployed: Shell, out: Path) -> None:
    events = out / "events.jsonl"
    whole = events.read_bytes()
    for org in (b"Globex", b"\\u001b[2J\\u001b[HThe log is whole and unchanged.", b"\\u009b2J\\u202e", b"x" * 100_000):
        events.write_bytes(whole.replace(b'"org":"' + PLATFORM.encode(), b'"org":"' + org, 1))
        refused = deployed("audit", "verify", out)
        assert refused.status == 4
        assert "an event of the log of" in refused.err
        assert len(refused.err) < 1_000
        assert not set(refused.err) & set("\x1b\x9b\u202e")


def test_a_key_history_with_a_hostile_member_cannot_draw_on_the_terminal(deployed: Shell, out: Path) -> None:
    (out / "keys.json").write_bytes(b'[{"\\u001b[2J":1}]')
    refused = deployed("audit", "verify", out)
    assert refused.status == 4
    assert "unknown field" in refused.err
    assert "\x1b" not in refused.err


@pytest.mark.parametrize("host", ["id.example", "id.example[/nope]", "[bold]", "id\x9b2J\u202e.example"])
def test_a_log_of_any_name_is_shown_as_it_is_called(host: str, tenantry: Shell, tmp_path: Path) -> None:
    log = Log()
    log.origin = f"{host}/audit/{log.org}"
    log.append(3).export(tmp_path / "export")
    shown = tenantry.on_terminal("audit", "verify", tmp_path / "export")
    assert (shown.status, shown.err) == (0, "")
    assert display(log.origin) in shown.out
    assert not set(shown.out) & set("\x9b\u202e")


def test_the_sentence_for_a_person_names_the_first_bad_event_and_its_kind(deployed: Shell, out: Path) -> None:
    events = out / "events.jsonl"
    events.write_bytes(b"".join(events.read_bytes().splitlines(keepends=True)[:-1]))
    cut_short = deployed.on_terminal("audit", "verify", out)
    last = deployed("audit", "verify", out).err
    assert cut_short.status == 4
    assert "truncated at index" in last


def test_a_log_that_ends_before_a_kept_checkpoint_is_found_out(deployed: Shell, out: Path) -> None:
    assert deployed("audit", "export", "--org", PLATFORM, "--out", "later").status == 0
    kept = shutil.copy(deployed.folder / "later" / "checkpoint", deployed.folder / "kept")
    assert deployed("audit", "verify", "later", "--against", kept).status == 0
    assert deployed("audit", "verify", "later", "--against", out / "checkpoint").answer["held"] > 0
    behind = deployed("audit", "verify", out, "--against", kept, "--json")
    assert (behind.status, json.loads(behind.err)["kind"]) == (4, "behind")


def test_an_export_signed_by_other_keys_than_the_published_ones_is_refused(deployed: Shell, out: Path) -> None:
    keys = deployed.folder / "keys.json"
    shutil.copy(out / "keys.json", keys)
    own = deployed("audit", "verify", out, "--keys", keys)
    assert (own.status, own.answer["keys_enclosed"]) == (0, False)
    keys.write_text("[]")
    assert deployed("audit", "verify", out, "--keys", keys).status == 4


def test_an_organization_that_does_not_exist_has_no_log(deployed: Shell) -> None:
    for unknown in (NOBODY, "nonsense"):
        refused = deployed("audit", "export", "--org", unknown, "--out", "out")
        assert refused.status == 1
        assert "not_found" in refused.err
        assert "`platform`" in refused.err
        assert not (deployed.folder / "out").exists()


def test_the_platforms_log_is_taken_out_by_its_name(deployed: Shell) -> None:
    by_name = deployed("audit", "export", "--org", "platform", "--out", "out")
    assert (by_name.status, by_name.answer["org"]) == (0, PLATFORM)
    misnamed = deployed("audit", "export", "--org", "org_platform", "--out", "other", "--json")
    assert (misnamed.status, json.loads(misnamed.err)["message"]) == (1, "There is no such organization.")


def test_no_progress_is_drawn_for_an_organization_that_does_not_exist(deployed: Shell) -> None:
    refused = deployed.on_terminal("audit", "export", "--org", NOBODY, "--out", "out")
    assert (refused.status, "%" in refused.out) == (1, False)


def test_one_event_is_counted_as_one_and_times_are_in_utc_to_the_millisecond(tenantry: Shell, tmp_path: Path) -> None:
    log = Log()
    log.append(1).export(tmp_path / "export")
    kept = shutil.copy(tmp_path / "export" / "checkpoint", tmp_path / "kept")
    shown = tenantry.on_terminal("audit", "verify", tmp_path / "export", "--against", kept).out
    assert "over 1 event." in shown
    assert re.search(r"newest.* \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\s", shown)


def test_an_export_never_mixes_with_what_is_there(deployed: Shell, out: Path) -> None:
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert deployed("audit", "export", "--org", PLATFORM, "--out", out).status == 1
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_folder_in_place_of_a_checkpoint_or_of_keys_is_refused(deployed: Shell, out: Path) -> None:
    for option in ("--against", "--keys"):
        absent = deployed("audit", "verify", out, option, out / "absent")
        assert absent.status == 2
        assert ("checkpoint" if option == "--against" else "key history") in absent.err
        refused = deployed("audit", "verify", out, option, out, "--json")
        assert (refused.status, json.loads(refused.err)["error"]) == (2, "invalid")


def test_a_folder_that_is_not_there_is_a_mistake_and_no_failed_proof(deployed: Shell, out: Path) -> None:
    assert deployed("audit", "verify", "nowhere").status == 2
    assert deployed("audit", "verify", out, "--against", "nowhere").status == 2


@pytest.mark.parametrize("handed", ["nonsense", '[{"vkey": "not one", "since": "2026-01-01T00:00:00Z"}]'])
def test_what_the_verifier_brought_along_and_is_malformed_is_a_mistake_and_no_failed_proof(
    deployed: Shell, out: Path, handed: str
) -> None:
    brought = deployed.folder / "brought"
    brought.write_text(handed)
    for option in ("--keys", "--against"):
        wrong = deployed("audit", "verify", out, option, brought, "--json")
        assert (wrong.status, json.loads(wrong.err)["error"]) == (2, "invalid"), wrong.err
    (out / "keys.json").write_text(handed)
    assert deployed("audit", "verify", out).status == 4
