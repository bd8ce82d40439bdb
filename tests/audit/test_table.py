"""The CSV of a log: neutral for a spreadsheet, readable back to the byte."""

import csv
import hashlib
import io
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.audit.export import ExportWriter
from tenantry.audit.lines import Entry
from tenantry.audit.proof import ProofFailed
from tenantry.audit.table import HEADER, cell, row
from tenantry.audit.verify import verify_export
from tests.audit import peer
from tests.audit.logs import Log

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "'x", "''", "=cmd|' /C calc'!A0", "\uff1d1"]
NEUTRAL = ["", "a=b", "1,5", 'say "x"', "a;b", "two\r\nlines"]


def uncell(text: str) -> str:
    """The text that `cell` was given."""
    return text.removeprefix("'")


def read_back(table: str) -> list[Entry]:
    """The leaves of a table, as whoever has only the spreadsheet reads them."""
    return [
        Entry(
            index=int(cells["index"]),
            revision=int(cells["revision"]),
            body=uncell(cells["event"]).encode(),
            salt=bytes.fromhex(uncell(cells["salt"])) or None,
            personal=uncell(cells["personal"]).encode() or None,
        )
        for cells in csv.DictReader(io.StringIO(table, newline=""))
    ]


@pytest.mark.parametrize("text", FORMULAS)
def test_aud_11_a_cell_that_begins_like_a_formula_is_neutral_and_reversible(text: str) -> None:
    """AUD-11: `=`, `+`, `-`, `@`, tab, CR, and the mark itself get the mark; taking it off gives the text back."""
    assert cell(text) == "'" + text
    assert uncell(cell(text)) == text


@given(st.text())
def test_aud_11_every_cell_is_reversible(text: str) -> None:
    """AUD-11: no text comes back as another, and none stays a formula."""
    assert uncell(cell(text)) == text
    assert not cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize("text", FORMULAS + NEUTRAL)
def test_aud_11_a_leaf_comes_back_from_its_row_to_the_byte(text: str) -> None:
    """AUD-11: quotes, separators and line breaks in an event survive the table; the shown column is one line."""
    log = Log()
    log.record(text)
    table = (HEADER + row(log.entries[0])).decode()
    assert read_back(table) == log.entries
    shown = next(csv.DictReader(io.StringIO(table, newline="")))["data"]
    assert "\n" not in shown
    assert not shown.startswith(("=", "+", "-", "@"))


def test_aud_11_the_manifest_covers_the_table(acme: Log, tmp_path: Path) -> None:
    """AUD-11: the table of an export holds every leaf; a changed cell is found."""
    table = acme.export(tmp_path) / "events.csv"
    assert verify_export(tmp_path).size == 300
    assert read_back(table.read_bytes().decode()) == acme.entries
    table.write_bytes(table.read_bytes().replace(b"ledger.credited", b"ledger.debited!", 1))
    with pytest.raises(ProofFailed) as failed:
        verify_export(tmp_path)
    assert (failed.value.kind, failed.value.index) == ("file_changed", 0)


def sealed_again(directory: Path, **digests: str | None) -> None:
    """The manifest as a forger writes it: nobody signs it."""
    manifest = directory / "manifest.json"
    content = msgspec.json.decode(manifest.read_bytes())
    files = content["files"] | digests
    content["files"] = {name: digest for name, digest in files.items() if digest}
    manifest.write_bytes(msgspec.json.encode(content))


@pytest.mark.parametrize(("was", "becomes", "index"), [(b"04.000Z", b"05.000Z", 4), (b"data", b"fine", None)])
def test_a_table_that_says_something_else_than_the_events_is_refused_whatever_the_manifest_says(
    was: bytes, becomes: bytes, index: int | None, acme: Log, tmp_path: Path
) -> None:
    table = acme.export(tmp_path) / "events.csv"
    sealed_again(tmp_path)
    assert verify_export(tmp_path).size == 300
    forged = table.read_bytes().replace(was, becomes, 1)
    table.write_bytes(forged)
    sealed_again(tmp_path, **{"events.csv": hashlib.sha256(forged).hexdigest()})
    with pytest.raises(ProofFailed) as failed:
        verify_export(tmp_path, keys=[acme.published()], against=acme.checkpoint())
    assert (failed.value.kind, failed.value.index) == ("file_changed", index)
    assert peer.run("export", str(tmp_path)).stdout == b"refused: another table than the events make\n"


def test_aud_11_another_verifier_writes_the_same_table(tmp_path: Path) -> None:
    """AUD-11: a program that shares no line with ours makes the same bytes of texts, numbers, lists and hidden marks."""
    log = Log().append(10)
    for value in [
        *FORMULAS,
        *NEUTRAL,
        "\x00\x1b[2J\x7f\x9b\u061c\u202e\ufeff\ud7ff\U0001f600\\n",
        1e21,
        -0.5,
        None,
        ["a", {"b": "\u2066"}],
    ]:
        log.record(value)
    log.export(tmp_path)
    size = len(log.entries)
    assert verify_export(tmp_path).size == size
    assert peer.run("export", str(tmp_path)).stdout == f"complete up to {size}\n".encode()


@pytest.mark.parametrize("name", ["events.csv", "events.xls", ".events.csv"])
def test_a_file_that_the_export_does_not_name_is_refused(name: str, acme: Log, tmp_path: Path) -> None:
    with ExportWriter(tmp_path, acme.checkpoint(), [acme.published()]) as writer:
        writer.add(acme.entries, b"".join(acme.hashes))
    assert verify_export(tmp_path).size == 300
    (tmp_path / name).write_bytes(b"planted")
    with pytest.raises(ProofFailed, match=f"'{name}'"):
        verify_export(tmp_path)
    assert peer.run("export", str(tmp_path)).stdout == b"refused: other files than an export has\n"
    sealed_again(tmp_path, **{name: hashlib.sha256(b"planted").hexdigest()})
    with pytest.raises(ProofFailed) as failed:
        verify_export(tmp_path)
    assert failed.value.kind == "file_changed"
    assert peer.run("export", str(tmp_path)).stdout.startswith(b"refused: ")


def test_a_manifest_that_leaves_out_the_published_keys_is_refused(acme: Log, tmp_path: Path) -> None:
    keys = acme.export(tmp_path) / "keys.json"
    keys.unlink()
    sealed_again(tmp_path, **{"keys.json": None})
    with pytest.raises(ProofFailed) as failed:
        verify_export(tmp_path, keys=[acme.published()])
    assert failed.value.kind == "file_changed"


def test_an_export_without_a_table_verifies(acme: Log, tmp_path: Path) -> None:
    with ExportWriter(tmp_path, acme.checkpoint(), [acme.published()]) as writer:
        writer.add(acme.entries, b"".join(acme.hashes))
    assert verify_export(tmp_path).size == 300
    assert not (tmp_path / "events.csv").exists()
