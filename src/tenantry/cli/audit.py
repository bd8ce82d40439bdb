"""`tenantry audit export | verify`: take an organization's log out, and prove what was taken out without the deployment."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from tenantry.app.config import Config, load
from tenantry.app.visit import visit
from tenantry.audit.export import CHECKPOINT, KEYS
from tenantry.audit.log import export as export_log
from tenantry.audit.verify import Report, read_checkpoint, read_keys, verify_export
from tenantry.cli.output import DEFAULT_CONFIG, AsJson, ConfigPath, answer, answers_json, called, counted
from tenantry.core import scopes
from tenantry.core.clock import iso
from tenantry.core.errors import AlreadyDone, Invalid, NoOrganization, NotFound
from tenantry.core.principal import SYSTEM
from tenantry.core.scopes import TenantScope
from tenantry.core.text import display
from tenantry.journal import Journal

PLATFORM = "platform"
"""What the platform's organization is called on the command line."""


class Exported(msgspec.Struct, frozen=True):
    """What was taken out. `newer` events were logged since; the next export will have them."""

    org: str
    out: str
    size: int
    newer: int


def export(
    *,
    org: Annotated[
        str, Parameter(help="The organization whose log it is, by its id; `platform` is the deployment's own.")
    ],
    out: Annotated[Path, Parameter(help="A folder that does not exist yet, or is empty.")],
    csv: Annotated[bool, Parameter(negative="", help="Add `events.csv`, for a spreadsheet.")] = False,
    config: ConfigPath = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Write an organization's log, up to its newest signed checkpoint, into a folder that `audit verify` reads.

    That it was taken out is itself an event of the log.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AlreadyDone(f"{out} holds something already.", hint="Name a folder that does not exist.")
    shown = not answers_json(json)
    with Progress(disable=not shown, transient=True) as progress:
        task = progress.add_task("events", visible=False)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, visible=True)

        done = asyncio.run(_export(load(config), org, out, csv, show))
    answer(done, lambda console: _draw_export(console, done), as_json=json)


def verify(
    directory: Annotated[Path, Parameter(help="The folder that was exported.")],
    /,
    *,
    against: Annotated[
        Path | None, Parameter(help="A checkpoint you kept: the log must be a continuation of it.")
    ] = None,
    keys: Annotated[
        Path | None, Parameter(help="The published keys, from a place you trust. Unless told, those in the folder.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Prove that an exported log is whole, unchanged and signed. Asks nothing of the deployment that made it.

    The exit status is 4 if it is not; the sentence names the first bad event, counted from 0, and what is wrong with it.
    """
    for what, path in (("export", directory), ("checkpoint", against), ("key history", keys)):
        if path is not None and not path.exists():
            raise Invalid(f"There is no {what} at {path}.", hint="`tenantry audit export` makes one.")
    report = verify_export(
        directory,
        keys=read_keys(keys) if keys else None,
        against=read_checkpoint(against) if against else None,
    )
    answer(report, _drawing(report), as_json=json)


async def _export(config: Config, org: str, out: Path, table: bool, progress: Callable[[int, int], None]) -> Exported:
    async with visit(config) as guest:
        scope = await _scope(guest.journal, org)
        await guest.sequence(scope)
        keys = await guest.checkpoint_keys.published(scope.org)
        checkpoint = await export_log(guest.journal, scope, SYSTEM, out, keys, table=table, progress=progress)
        head = await guest.journal.head(scope)
        await guest.sequence(scope)  # the export's own event, which would wait for a node
    return Exported(scope.org, str(out), checkpoint.size, head.leaves - checkpoint.size)


async def _scope(journal: Journal, org: str) -> TenantScope:
    """The organization by its name on the command line.

    Raises:
        NoOrganization: there is none, or its log was never opened.
    """
    try:
        scope = scopes.of_platform() if org == PLATFORM else scopes.of_job(org)
        await journal.head(scope)
    except NotFound as error:
        raise NoOrganization(
            hint="Give its id, `org_` and 26 characters, or `platform` for the deployment's own log."
        ) from error
    return scope


def _draw_export(console: Console, done: Exported) -> None:
    console.print(
        f"[green]{counted(done.size, 'event')}[/] of {done.org}, in [bold]{escape(done.out)}[/].", soft_wrap=True
    )
    if done.newer:
        console.print(f"The next export will have {counted(done.newer, 'newer event')}, this export among them.")
    console.print(
        f"Keep [bold]{CHECKPOINT}[/] and [bold]{KEYS}[/] where nobody can change them: later exports are held against them."
    )
    console.print(f"Next: [bold]{escape(called())} audit verify {escape(done.out)}[/]", soft_wrap=True)


def _named(name: str) -> Text:
    """A name as it is: its maker chose it, and neither markup nor an escape sequence in it means anything."""
    return Text(display(name))


def _drawing(report: Report) -> Callable[[Console], None]:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    table.add_row("log", _named(report.origin))
    table.add_row("events", f"{report.size}, each as it was logged")
    table.add_row("newest", iso(round(report.newest.timestamp() * 1000)) if report.newest else "none")
    table.add_row("erased", f"{report.erased} without their personal data")
    table.add_row("root", report.root)
    for key in report.signed_by:
        table.add_row("signed by", _named(key))

    def draw(console: Console) -> None:
        console.print("[green]The log is whole and unchanged.[/]")
        console.print(table)
        if report.held is not None:
            console.print(f"It continues the checkpoint you kept, over {counted(report.held, 'event')}.")
        else:
            console.print(
                "[yellow]Whether its newest events are missing cannot be seen[/]: give a checkpoint with --against."
            )
        if report.keys_enclosed:
            console.print(
                "[yellow]The keys came with it, so its maker vouches for himself[/]: give published ones with --keys."
            )

    return draw
