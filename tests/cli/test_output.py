"""The same facts for a person and for a program, refusals on stderr, and exit statuses that mean one thing each."""

import errno
import json

import pytest

from tenantry import __version__
from tenantry.cli.commands import of_the_system, status
from tenantry.core import errors
from tests.cli.conftest import ISSUER, Shell


def test_a_terminal_gets_a_table_and_a_pipe_gets_json(deployed: Shell) -> None:
    piped = deployed("doctor")
    names = [check["name"] for check in piped.answer["checks"]]
    shown = deployed.on_terminal("doctor")
    assert shown.status == piped.status == 0
    assert all(name in shown.out for name in names)
    assert "\x1b[32mok" in shown.out
    assert "{" not in shown.out


def test_a_terminal_gets_json_when_it_asks(deployed: Shell) -> None:
    assert json.loads(deployed.on_terminal("doctor", "--json").out)["ok"] is True


def test_a_refusal_says_its_code_why_and_what_to_do_next_on_stderr(tenantry: Shell) -> None:
    refused = tenantry("doctor")
    assert (refused.status, refused.out) == (2, "")
    assert "invalid" in refused.err
    assert "tenantry.toml" in refused.err
    assert "tenantry init" in refused.err
    as_json = tenantry("doctor", "--json")
    assert json.loads(as_json.err)["error"] == "invalid"
    assert "tenantry init" in json.loads(as_json.err)["hint"]


@pytest.mark.parametrize("arguments", [["nonsense"], ["doctor", "--nonsense"], ["audit", "export"], ["demo", "extra"]])
def test_a_command_line_that_is_none_is_usage(tenantry: Shell, arguments: list[str]) -> None:
    wrong = tenantry(*arguments)
    assert (wrong.status, wrong.out) == (2, "")
    assert "usage" in wrong.err
    assert "--help" in wrong.err


def test_the_configuration_can_be_named_by_option_or_environment(deployed: Shell) -> None:
    named = deployed.folder / "named.toml"
    (deployed.folder / "tenantry.toml").rename(named)
    assert deployed("doctor").status == 2
    assert deployed("doctor", "--config", named).status == 0
    assert deployed("doctor", env={"TENANTRY_CONFIG": str(named)}).status == 0


def test_an_unknown_setting_is_named(deployed: Shell) -> None:
    with (deployed.folder / "tenantry.toml").open("a") as file:
        file.write("colour = 1\n")
    refused = deployed("doctor")
    assert refused.status == 2
    assert "colour" in refused.err


def test_the_version_is_the_packages(tenantry: Shell) -> None:
    assert tenantry("--version").out.strip() == f"tenantry {__version__}"


def test_help_says_of_every_command_what_it_does(tenantry: Shell) -> None:
    said = tenantry("--help").out
    rows = [line.strip("│ ").split() for line in said.splitlines() if line.startswith("│ ")]
    assert {"init", "doctor", "audit", "demo"} <= {row[0] for row in rows if len(row) > 2}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.NotFound(), 1),
        (errors.Denied(), 1),
        (errors.Unsafe(), 1),
        (errors.Damaged(), 1),
        (errors.Invalid(), 2),
        (errors.Unavailable(), 3),
        (errors.StorageFull(), 3),
        (errors.Throttled(), 3),
        (errors.Stale(), 3),
        (errors.Upstream(), 3),
        (errors.Unknown(), 3),
        (errors.ProofFailed(), 4),
    ],
)
def test_each_kind_of_error_has_one_status(error: errors.TenantryError, expected: int) -> None:
    assert status(error) == expected


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (["init", "--issuer", ISSUER, "--config", "/proc/none/tenantry.toml"], "/proc/none"),
        (["doctor", "--config", "."], "."),
        (["audit", "export", "--org", "org_" + "0" * 26, "--out", "/proc/none/out"], "/proc/none"),
    ],
)
def test_a_path_that_cannot_be_used_is_named_without_a_trace(deployed: Shell, arguments: list[str], path: str) -> None:
    refused = deployed(*arguments, "--json")
    assert (refused.status, refused.out) == (2, "")
    (line,) = refused.err.splitlines()
    assert json.loads(line)["error"] == "invalid"
    assert path in json.loads(line)["message"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "out"), "storage_full"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "upstream"),
    ],
)
def test_what_the_system_cannot_do_now_is_no_mistake_of_the_call(error: OSError, code: str) -> None:
    refused = of_the_system(error)
    assert (refused.code, status(refused)) == (code, 3)


def test_no_secret_is_shown(tenantry: Shell) -> None:
    made = tenantry("init", "--issuer", ISSUER)
    key = (tenantry.folder / "root.key").read_text().strip()
    assert key not in made.out + made.err + tenantry("doctor").out
