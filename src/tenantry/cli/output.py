"""How a command speaks: tables and colours for a person, JSON for a pipe, refusals on stderr."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

from tenantry.app.config import DEFAULT_PATH

ConfigPath = Annotated[Path, Parameter(name="--config", env_var="TENANTRY_CONFIG", help="The configuration.")]
AsJson = Annotated[
    bool, Parameter(name="--json", negative="", help="Answer in JSON, as in a pipe, though this is a terminal.")
]
DEFAULT_CONFIG = DEFAULT_PATH


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


class Failure(msgspec.Struct, frozen=True):
    """What stderr tells a program of a refusal."""

    error: str
    message: str
    hint: str


def fail(code: str, message: str, hint: str, *, as_json: bool) -> None:
    """Say on stderr what was refused, by its code, why, and what to do next."""
    if as_json:
        sys.stderr.write(msgspec.json.encode(Failure(code, message, hint)).decode() + "\n")
        return
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble(("refused", "bold red"), " ", (code, "bold"), " ", message))
    if hint:
        console.print(Text.assemble((" next", "bold"), f"   {hint}"))
