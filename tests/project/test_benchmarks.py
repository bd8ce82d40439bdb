"""The kept results of the benchmarks have the shape that others read, and the documentation shows every one of them."""

from pathlib import Path

import msgspec
import pytest

from benchmarks.measure import Machine, Row, compared
from benchmarks.report import page

ROOT = Path(__file__).parents[2]
FIELDS = {"name", "ours", "theirs", "ratio", "goal", "met", "note"}


@pytest.fixture(scope="module")
def results() -> list[dict[str, object]]:
    return msgspec.json.decode((ROOT / "benchmarks" / "results.json").read_bytes())


def test_every_result_has_exactly_the_seven_fields_and_a_name_of_its_own(results: list[dict[str, object]]) -> None:
    assert results
    assert [row for row in results if row.keys() != FIELDS] == []
    assert len({row["name"] for row in results}) == len(results)
    msgspec.convert(results, list[Row], strict=True)


def test_no_result_claims_a_goal_that_its_numbers_miss(results: list[dict[str, object]]) -> None:
    assert [row for row in msgspec.convert(results, list[Row]) if row.met != (row.ratio >= row.goal)] == []


def test_every_result_says_how_many_organizations_which_socket_and_how_long_a_sync(
    results: list[dict[str, object]],
) -> None:
    told = (" organization", "sync ", " cores")
    assert [row for row in results if not all(word in str(row["note"]) for word in told)] == []


def test_the_documentation_has_a_line_for_every_result_and_says_what_was_skipped(
    results: list[dict[str, object]],
) -> None:
    text = (ROOT / "docs" / "reference" / "benchmarks.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    rows = msgspec.convert(results, list[Row])
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == [row.name for row in rows]
    assert [row.name for row, line in zip(rows, lines, strict=True) if f"| {row.ratio:.2f} |" not in line] == []
    assert "## skipped" in text


def test_what_was_skipped_is_named_with_its_reason_and_makes_no_row() -> None:
    row = compared("a", 3.0, 2.0, 1.5, 1.5, "1 organization")
    text = page([row], {"b": "not installed"}, Machine(2, 0.5), "a look")
    assert "- b: not installed" in text
    assert "| b |" not in text


def test_a_ratio_just_below_its_goal_is_not_met() -> None:
    assert compared("a", 1.0, 1.0, 2.0, 2.0, "").met
    assert not compared("a", 1.0, 1.0, 1.996, 2.0, "").met
