"""The rule that turns skips into failures, tried on small suites of its own."""

import pytest


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An inner suite under the rule, with TENANTRY_NO_SKIP=1."""
    monkeypatch.setenv("TENANTRY_NO_SKIP", "1")
    pytester.makeconftest("from tests.no_skip import *")
    return pytester


def test_a_skip_fails_where_none_is_allowed_and_says_its_reason(suite: pytest.Pytester) -> None:
    suite.makepyfile("import pytest\ndef test_a(): pytest.skip('no compiler')\ndef test_b(): pass")
    result = suite.runpytest_inprocess()
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*TENANTRY_NO_SKIP=1: no compiler*"])


def test_a_marked_skip_is_an_error_of_its_setup(suite: pytest.Pytester) -> None:
    suite.makepyfile("import pytest\n@pytest.mark.skipif(True, reason='no token')\ndef test_a(): pass")
    suite.runpytest_inprocess().assert_outcomes(errors=1)


def test_a_module_that_skips_itself_fails(suite: pytest.Pytester) -> None:
    suite.makepyfile("import pytest\npytest.importorskip('no_such_library')\ndef test_a(): pass")
    suite.runpytest_inprocess().assert_outcomes(errors=1)


def test_a_missing_peer_may_be_skipped(suite: pytest.Pytester) -> None:
    suite.makepyfile("import pytest\ndef test_a(): pytest.skip('peer: not installed here')")
    suite.runpytest_inprocess().assert_outcomes(skipped=1)


def test_an_expected_failure_is_no_skip(suite: pytest.Pytester) -> None:
    suite.makepyfile("import pytest\n@pytest.mark.xfail(strict=True)\ndef test_a(): assert False")
    suite.runpytest_inprocess().assert_outcomes(xfailed=1)


def test_a_skip_is_a_skip_on_a_machine_that_promises_nothing(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TENANTRY_NO_SKIP")
    suite.makepyfile("import pytest\ndef test_a(): pytest.skip('no compiler')")
    suite.runpytest_inprocess().assert_outcomes(skipped=1)
