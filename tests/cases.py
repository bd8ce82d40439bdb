"""Which cases of `tests/cases.txt` have a test: `python -m tests.cases` prints those that have none, or wait.

Only a test *of* the case counts: its name contains the id and its docstring begins with it; a mention does not. The
exit status is 1 where list and tests contradict each other, 0 otherwise: a row without a test is news, not an error.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

TESTS = Path(__file__).parent
ID = re.compile(r"[A-Z]+-\d{2,}")
NAMED = re.compile(r"test_([a-z]+)_(\d{2,})_")


class Case(msgspec.Struct, frozen=True):
    """One row: what must happen, and the room (`http`, `signin`, ...) it waits for, empty where all stands."""

    id: str
    title: str
    waiting: str


class CaseTest(msgspec.Struct, frozen=True):
    """A test function whose name contains the id of a case."""

    case: str
    place: str
    docstring: str


class Report(msgspec.Struct, frozen=True):
    """What list and tests say together; `partly` has tests and still waits; `wrong` holds one sentence a contradiction."""

    tested: list[Case]
    partly: list[Case]
    missing: list[Case]
    waiting: list[Case]
    wrong: list[str]


def read_cases(text: str) -> list[Case]:
    """The rows of the list, in its order.

    Raises:
        ValueError: a line is no row, or an id appears twice.
    """
    cases: dict[str, Case] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        id_, title, *rest = (cell.strip() for cell in line.split(" | "))
        waiting = rest[0].removeprefix("waiting: ") if rest else ""
        if not ID.fullmatch(id_) or not title or len(rest) > 1 or (rest and (waiting == rest[0] or not waiting)):
            raise ValueError(f"line {number} is no row `id | title` or `id | title | waiting: room`")
        if id_ in cases:
            raise ValueError(f"line {number} uses {id_} a second time")
        cases[id_] = Case(id_, title, waiting)
    return list(cases.values())


def find_tests(folder: Path) -> Iterator[CaseTest]:
    """Every test function below `folder` that is named by the id of a case."""
    for path in sorted(folder.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (named := NAMED.match(node.name)):
                place = f"{path.relative_to(folder)}:{node.lineno} {node.name}"
                yield CaseTest(f"{named[1].upper()}-{named[2]}", place, ast.get_docstring(node) or "")


def compare(cases: list[Case], tests: list[CaseTest]) -> Report:
    """Sort the cases by whether a test answers them. A row that waits for a room is answered in part until the room is there."""
    known = {case.id for case in cases}
    wrong = [f"{test.place}: there is no case {test.case}" for test in tests if test.case not in known]
    wrong += [
        f"{test.place}: its docstring must begin with `{test.case}: `"
        for test in tests
        if test.case in known and not test.docstring.startswith(f"{test.case}: ")
    ]
    answered = {test.case for test in tests if test.docstring.startswith(f"{test.case}: ")}
    return Report(
        tested=[case for case in cases if case.id in answered and not case.waiting],
        partly=[case for case in cases if case.id in answered and case.waiting],
        missing=[case for case in cases if case.id not in answered and not case.waiting],
        waiting=[case for case in cases if case.id not in answered and case.waiting],
        wrong=wrong,
    )


def main() -> int:
    """Print the cases that have no test, then the counts. Returns the exit status."""
    report = compare(read_cases((TESTS / "cases.txt").read_text("utf-8")), list(find_tests(TESTS)))
    for case in report.missing:
        print(f"{case.id} has no test: {case.title}")
    for sentence in report.wrong:
        print(sentence, file=sys.stderr)
    for room in sorted({case.waiting for case in report.waiting}):
        print(f"waiting for {room}:", *(case.id for case in report.waiting if case.waiting == room))
    for case in report.partly:
        print(f"{case.id} is tested in part and waits for {case.waiting}")
    counts = f"{len(report.tested)} cases tested, {len(report.partly)} in part"
    print(f"{counts}, {len(report.missing)} without a test, {len(report.waiting)} waiting")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
