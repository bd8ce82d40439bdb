"""`tenantry doctor`: look at everything a deployment rests on, change nothing, and say what to do about what is not well."""

import asyncio
from collections.abc import Callable

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tenantry.app.config import load
from tenantry.cli.checks import Check, Status, examine
from tenantry.cli.output import DEFAULT_CONFIG, AsJson, ConfigPath, answer, counted

COLOURS = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red"}


class Examined(msgspec.Struct, frozen=True):
    """Everything that was looked at."""

    ok: bool
    checks: list[Check]


def doctor(*, config: ConfigPath = DEFAULT_CONFIG, json: AsJson = False) -> int:
    """Check the database, its durability and roles, clocks, incarnation, schema, the root key and every audit log.

    Each check is `ok`, `warn` or `fail`, with what to do. The exit status is 1 if any fails.
    """
    checks = asyncio.run(examine(load(config)))
    found = Examined(all(check.status is not Status.FAIL for check in checks), checks)
    answer(found, _drawing(found), as_json=json)
    return 0 if found.ok else 1


def _drawing(found: Examined) -> Callable[[Console], None]:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("found", overflow="fold")
    for check in found.checks:
        said = Text(check.found)
        if check.next:
            said.append(f"\n{check.next}", "dim")
        table.add_row(check.name, Text(check.status, COLOURS[check.status]), said)
    failed = sum(check.status is Status.FAIL for check in found.checks)
    warned = sum(check.status is Status.WARN for check in found.checks)

    def draw(console: Console) -> None:
        console.print(table)
        console.print(f"{counted(len(found.checks), 'check')}: {failed} failed, {warned} to look at.")

    return draw
