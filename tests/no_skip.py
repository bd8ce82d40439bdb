"""With TENANTRY_NO_SKIP=1 a skipped test fails: a machine that claims to run everything must not leave a thing out.

Exempt is a skip whose reason begins with `peer:`, a comparison with somebody else's program that is not here, and an
expected failure, which is a result. The hooks come into force where a conftest imports them.
"""

import os
from collections.abc import Generator

import pytest

__all__ = ["pytest_make_collect_report", "pytest_runtest_makereport"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_a_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_a_skip(report)
    return report


def _refuse_a_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("TENANTRY_NO_SKIP") != "1" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not reason.startswith("peer:"):
        report.outcome = "failed"
        report.longrepr = f"skipped, though TENANTRY_NO_SKIP=1: {reason}"
