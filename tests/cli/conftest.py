"""The real command in a process of its own, in a directory of its own, on a pipe or on a terminal."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tenantry.cli.demo.cluster import Cluster

COMMAND = (sys.executable, "-m", "tenantry.cli")
ISSUER = "https://id.example.com"
_numbers = count(1)


class Ran(msgspec.Struct, frozen=True):
    """How a command ended and what it said."""

    status: int
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        (line,) = self.out.splitlines()
        return json.loads(line)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's, with the source tree in it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TENANTRY_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **(extra or {})}


class Shell:
    """Runs `tenantry` in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Ran:
        ran = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            cwd=self.folder,
            env=environment(env),
            capture_output=True,
            text=True,
            check=False,
        )
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    def on_terminal(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Ran:
        """The same with stdout on a terminal."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            cwd=self.folder,
            env=environment({"TERM": "xterm-256color", "COLUMNS": "120", **(env or {})}),
            stdout=theirs,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(theirs)
        said = "".join(read_terminal(ours))
        _, err = process.communicate()
        return Ran(process.returncode, said, err)


def read_terminal(descriptor: int) -> Iterator[str]:
    """What is written to a terminal, until nobody writes to it any more."""
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        while True:
            try:
                chunk = file.read(1 << 16)
            except OSError:  # EIO: the last writer is gone
                return
            yield chunk.decode(errors="replace")


@pytest.fixture
def tenantry(tmp_path: Path) -> Shell:
    """`tenantry` in an empty directory."""
    return Shell(tmp_path)


@pytest.fixture
def deployed(tenantry: Shell) -> Shell:
    """`tenantry` beside a deployment on SQLite."""
    assert tenantry("init", "--issuer", ISSUER).status == 0
    return tenantry


@pytest.fixture
def empty_database(cluster: Cluster) -> Callable[[], str]:
    """Makes an empty database; returns its superuser's connection string."""

    def make() -> str:
        name = f"cli_{next(_numbers)}"
        cluster.create_database(name)
        return cluster.conninfo(name)

    return make
