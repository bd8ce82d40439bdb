"""The list of cases and the script that says which have no test."""

from pathlib import Path

import pytest

from tests.cases import TESTS, Case, compare, find_tests, read_cases

HELD = Case("OPS-01", "the ledger holds", "")
WAITING = Case("OPS-10", "works as usual", "http")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of tests, empty as yet."""
    (tmp_path / "faults").mkdir()
    return tmp_path


def write(folder: Path, source: str) -> None:
    (folder / "faults" / "test_crash.py").write_text(source)


def test_the_projects_own_list_and_tests_agree() -> None:
    report = compare(read_cases((TESTS / "cases.txt").read_text("utf-8")), list(find_tests(TESTS)))
    assert report.wrong == []
    assert len(report.tested) + len(report.partly) + len(report.missing) + len(report.waiting) == 284


def test_a_test_named_by_the_id_and_documented_with_it_answers_the_case(folder: Path) -> None:
    write(folder, 'async def test_ops_01_the_ledger_holds():\n    """OPS-01: the ledger holds."""\n')
    report = compare([HELD, WAITING], list(find_tests(folder)))
    assert (report.tested, report.missing, report.waiting, report.wrong) == ([HELD], [], [WAITING], [])


def test_a_case_that_waits_and_has_a_test_is_answered_in_part(folder: Path) -> None:
    write(folder, 'def test_ops_10_works():\n    """OPS-10: works."""\n')
    report = compare([HELD, WAITING], list(find_tests(folder)))
    assert (report.tested, report.partly, report.missing, report.waiting) == ([], [WAITING], [HELD], [])


def test_a_mention_answers_nothing(folder: Path) -> None:
    write(
        folder, '# OPS-01\ndef test_the_ledger_holds():\n    """OPS-01: the ledger holds."""\n    test_ops_01_x = 1\n'
    )
    report = compare([HELD], list(find_tests(folder)))
    assert (report.tested, report.missing) == ([], [HELD])


def test_a_name_whose_docstring_begins_otherwise_is_a_contradiction(folder: Path) -> None:
    write(folder, 'def test_ops_01_the_ledger_holds():\n    """The ledger holds, see OPS-01: it must."""\n')
    report = compare([HELD], list(find_tests(folder)))
    assert report.missing == [HELD]
    assert report.wrong == [
        "faults/test_crash.py:1 test_ops_01_the_ledger_holds: its docstring must begin with `OPS-01: `"
    ]


def test_a_test_of_an_unknown_case_is_a_contradiction(folder: Path) -> None:
    write(folder, 'def test_ops_99_the_ledger_holds():\n    """OPS-99: the ledger holds."""\n')
    assert compare([HELD], list(find_tests(folder))).wrong == [
        "faults/test_crash.py:1 test_ops_99_the_ledger_holds: there is no case OPS-99"
    ]


@pytest.mark.parametrize(
    "line", ["OPS-1 | short", "OPS-01 | ", "OPS-01 | a | http", "OPS-01 | a | waiting: ", "OPS-01 | a | waiting: b | c"]
)
def test_a_line_that_is_no_row_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="line 1 is no row"):
        read_cases(line)


def test_an_id_is_used_once() -> None:
    with pytest.raises(ValueError, match="line 2 uses OPS-01 a second time"):
        read_cases("OPS-01 | a\nOPS-01 | b")
