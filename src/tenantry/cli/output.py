"""How a command speaks: tables and colours for a person, JSON for a pipe, refusals on stderr."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

from tenantry.core.text import display

ConfigPath = Annotated[
    Path, Parameter(name="--config", env_var="TENANTRY_CONFIG", show_default=True, help="The configuration.")
]
AsJson = Annotated[
    bool, Parameter(name="--json", negative="", help="Answer in JSON, as in a pipe, though this is a terminal.")
]
DEFAULT_CONFIG = Path("tenantry.toml")


def called() -> str:
    """What the shell finds this program by: `tenantry`, or the path it was called by where that is not on PATH."""
    return "tenantry" if shutil.which("tenantry") else sys.argv[0]


def counted(number: int, noun: str) -> str:
    """`1 event`, `2 events`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def answers_json(asked: bool) -> bool:
    """Whether the answer is for a program: it was asked for, or the output is no terminal."""
    return asked or not sys.stdout.isatty()


def answer(record: msgspec.Struct, draw: Callable[[Console], None], *, as_json: bool) -> None:
    """Give the record to a program, or draw it for a person."""
    if answers_json(as_json):
        write_json(record)
    else:
        draw(Console(highlight=False))


def write_json(record: msgspec.Struct) -> None:
    """One object on one line of stdout."""
    sys.stdout.write(msgspec.json.encode(record).decode() + "\n")
    sys.stdout.flush()


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stderr tells of a refusal: its code, why, and what to do next; of a failed proof also its kind and first bad index."""

    error: str
    message: str
    hint: str = ""
    kind: str = ""
    index: int | None = None


def fail(failure: Failure, *, as_json: bool) -> None:
    """Say on stderr what was refused. A sentence may quote what somebody else wrote: it moves no cursor and hides no text."""
    if as_json:
        sys.stderr.write(msgspec.json.encode(failure).decode() + "\n")
        return
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble(("refused", "bold red"), " ", (failure.error, "bold"), " ", display(failure.message)))
    if failure.hint:
        console.print(Text.assemble(("   next", "bold"), f" {display(failure.hint)}"))
