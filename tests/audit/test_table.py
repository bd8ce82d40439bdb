"""The CSV of a log: neutral for a spreadsheet, readable back to the byte."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.audit.export import ExportWriter
from tenantry.audit.proof import ProofFailed
from tenantry.audit.table import cell, header, read_table, row, uncell
from tenantry.audit.verify import verify_export
from tests.audit.logs import Log

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "'x", "''", "=cmd|' /C calc'!A0", "\uff1d1"]
NEUTRAL = ["", "a=b", "1,5", 'say "x"', "a;b", "two\r\nlines"]


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
    table = (header(["value"]) + row(log.entries[0], ["value"])).decode()
    assert list(read_table(io.StringIO(table, newline=""))) == log.entries
    shown = next(csv.DictReader(io.StringIO(table, newline="")))["value"]
    assert "\n" not in shown
    assert not shown.startswith(("=", "+", "-", "@"))


def test_aud_11_the_manifest_covers_the_table(acme: Log, tmp_path: Path) -> None:
    """AUD-11: the table of an export holds every leaf; a changed cell is found."""
    table = acme.export(tmp_path) / "events.csv"
    assert verify_export(tmp_path).size == 300
    with table.open(newline="") as file:
        assert list(read_table(file)) == acme.entries
    table.write_bytes(table.read_bytes().replace(b"ledger.credited", b"ledger.debited!", 1))
    with pytest.raises(ProofFailed) as failed:
        verify_export(tmp_path)
    assert failed.value.kind == "file_changed"


def test_an_export_without_columns_has_no_table(acme: Log, tmp_path: Path) -> None:
    with ExportWriter(tmp_path, acme.checkpoint(), [acme.published()]) as writer:
        writer.add(acme.entries, b"".join(acme.hashes))
    assert verify_export(tmp_path).size == 300
    assert not (tmp_path / "events.csv").exists()
