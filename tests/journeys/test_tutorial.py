"""The tutorial does what it says: each of its commands is run, as it stands, in a copy of the example's folder."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.cli.conftest import environment

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial" / "first-product.md"
EXAMPLE = ROOT / "examples" / "fastapi_app"
SERVERS = ("tenantry serve", "uvicorn")
ABOUT_THE_CLONE = (". .venv/bin/activate", "cd examples/fastapi_app")


def free_port() -> str:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


class Terminal:
    """Runs what the page says to type, with other ports, where `tenantry`, `uvicorn` and `python` are this run's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "fastapi_app"
        self.ports = {"8080": free_port(), "8000": free_port()}
        shutil.copytree(EXAMPLE, self.folder)
        for file in self.folder.iterdir():
            file.write_text(self.here(file.read_text()))
        programs = folder / "bin"
        programs.mkdir()
        for name, words in {"tenantry": "-m tenantry.cli", "uvicorn": "-m uvicorn", "python": ""}.items():
            (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
            (programs / name).chmod(0o755)
        ours = {"PATH": f"{programs}:{os.environ['PATH']}", "TENANTRY_HTTP_LISTEN": f"127.0.0.1:{self.ports['8080']}"}
        self.env = environment(ours)
        self.env["PYTHONPATH"] = f"{self.folder}:{self.env['PYTHONPATH']}"

    def here(self, text: str) -> str:
        """A text with this run's ports."""
        return re.sub("8080|8000", lambda found: self.ports[found.group()], text)

    def run(self, block: str) -> subprocess.CompletedProcess[str]:
        """The commands of a block, in one shell."""
        return subprocess.run(
            ["/bin/sh", "-c", self.here(block)],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )

    @contextmanager
    def serve(self, block: str, address: str) -> Iterator[None]:
        """A block that stays, once it answers."""
        with (self.folder / "server.log").open("ab") as log:
            process = subprocess.Popen(
                self.here(block).split(), cwd=self.folder, env=self.env, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            while process.poll() is None:
                try:
                    httpx2.get(address)
                    break
                except httpx2.TransportError:
                    continue
            assert process.poll() is None, (self.folder / "server.log").read_text()
            yield
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """A copy of the example, in which nothing has been typed."""
    return Terminal(tmp_path)


def blocks() -> list[str]:
    """What the page says to type, without what is about the clone."""
    written = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return ["\n".join(line for line in block.splitlines() if line not in ABOUT_THE_CLONE) for block in written]


@pytest.mark.timeout(90)
def test_every_command_of_the_tutorial_answers_as_it_says(terminal: Terminal) -> None:
    said: list[tuple[int, str]] = []
    with ExitStack() as running:
        for block in blocks():
            if block.startswith(SERVERS):
                address = f"http://127.0.0.1:{terminal.ports['8000' if block.startswith('uvicorn') else '8080']}/"
                running.enter_context(terminal.serve(block, address))
                continue
            ran = terminal.run(block)
            said.append((ran.returncode, ran.stdout + ran.stderr))
    init, applied, set_up, called, denied, allowed, ended = said
    assert init[0] == applied[0] == set_up[0] == called[0] == 0, said
    assert '"steps":[]' in applied[1].splitlines()[-1]
    assert [line[:3] for line in called[1].splitlines()] == ["200", "200", "403"], called
    assert denied[0] == 1, denied
    assert '"relation":"owner"' in denied[1]
    assert "notebook:plans" in denied[1]
    assert allowed[0] == 0, allowed
    assert ended[0] != 0, ended
    assert "No token" in ended[1], ended
