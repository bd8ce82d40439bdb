"""`tenantry apply`: what an owner's file declares is planned, shown, asked for and made; a second run changes nothing."""

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.prompt import Confirm
from rich.table import Table

from tenantry.app.config import load
from tenantry.cli.output import DEFAULT_CONFIG, AsJson, ConfigPath, answer, answers_json, counted
from tenantry.cli.server import Server, running
from tenantry.cli.yaml import read_yaml
from tenantry.core.errors import Denied, Invalid
from tenantry.core.text import display
from tenantry.organizations.manifest import (
    THE_PLATFORM,
    Applied,
    DeclaredApplication,
    DeclaredResource,
    Manifest,
    Plan,
    Step,
)
from tenantry.organizations.rollout import Moved
from tenantry.organizations.routes_manifests import AfterOrganization, Declared

_MARKS = {"add": "[green]+[/]", "change": "[yellow]~[/]"}
_SECTIONS = {"applications": DeclaredApplication, "resources": DeclaredResource}


class Done(msgspec.Struct, frozen=True):
    """What became of a file: the steps, the owner's revision, and the stores that follow their application's newest model.

    `behind` stores were being changed by somebody else; run the command again for them.
    """

    owner: str
    revision: int
    steps: tuple[Step, ...]
    applications: dict[str, str]
    moved: int
    behind: int


def apply(
    file: Annotated[Path, Parameter(help="The file, in YAML.")],
    /,
    *,
    yes: Annotated[bool, Parameter(negative="", help="Do not ask. Needed where nobody could answer.")] = False,
    reason: Annotated[str, Parameter(help="Why, for the log of an owner that is an organization.")] = "tenantry apply",
    config: ConfigPath = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Make applications, their models and roles, and resources what a file declares; what it does not name stays as it is.

    The plan is shown first. Applying is all or nothing, and refused if the owner has changed since the plan. Stores that organizations
    have in an application are then moved to its newest model; run it again if that is interrupted.
    """
    declared = read_manifest(file)
    owner = "" if declared.owner == THE_PLATFORM else declared.owner
    with running(load(config)) as server, server.entered(owner, reason) as inside:
        plan = inside.ask("POST", "/v1/manifests/plan", Plan, declared)
        if plan.steps:
            _agree(plan, yes=yes, as_json=json)
        applied = inside.ask("POST", "/v1/manifests/apply", Applied, Declared(declared, plan))
        moved = [_move(inside, applied.applications[name]) for name, one in declared.applications.items() if one.model]
    done = Done(
        declared.owner,
        applied.revision,
        applied.steps,
        applied.applications,
        sum(one.moved for one in moved),
        sum(one.behind for one in moved),
    )
    answer(done, lambda console: _draw(console, done), as_json=json)


def read_manifest(path: Path) -> Manifest:
    """A file, with every key of it accounted for.

    Raises:
        Invalid: it is none; the sentence says where.
    """
    given = read_yaml(path)
    try:
        return msgspec.convert(given, Manifest)
    except msgspec.ValidationError as error:
        raise Invalid(f"{path}: {_place(given) or error}.", hint="See docs/how-to/apply-a-file.md.") from error


def _place(given: Any) -> str:
    """What is wrong, with the name of the entry that it is wrong in; empty if it is in none."""
    for section, kind in _SECTIONS.items():
        entries = given.get(section) if isinstance(given, dict) else None
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            try:
                msgspec.convert(entry, kind)
            except msgspec.ValidationError as error:
                return f"{section}.{name}: {error}"
    return ""


def _agree(plan: Plan, *, yes: bool, as_json: bool) -> None:
    """Show the plan to a person and ask; a program has said yes beforehand.

    Raises:
        Denied: nobody said yes.
    """
    person = not answers_json(as_json)
    if person:
        _draw_plan(Console(highlight=False), plan)
    if yes:
        return
    if not person or not sys.stdin.isatty():
        raise Denied("Nobody is here to agree to the plan.", hint="Add --yes.")
    try:
        agreed = Confirm.ask("Apply it?", default=False)
    except EOFError:
        agreed = False
    if not agreed:
        raise Denied("Nothing was changed.")


def _move(server: Server, application: str) -> Moved:
    """Move stores until none is left to look at."""
    path = f"/v1/applications/{application}/stores/move"
    total = page = server.ask("POST", path, Moved, AfterOrganization())
    while page.next is not None:
        page = server.ask("POST", path, Moved, AfterOrganization(page.next))
        total = Moved(page.model, total.moved + page.moved, total.behind + page.behind, page.next)
    return total


def _draw_plan(console: Console, plan: Plan) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "what", "name", "details"):
        table.add_column(title, overflow="fold")
    for step in plan.steps:
        details = "\n".join(map(display, step.details))
        table.add_row(_MARKS[step.action], step.kind, display(step.name), details.replace("[", "\\["))
    console.print(table)


def _draw(console: Console, done: Done) -> None:
    if not done.steps and not done.moved and not done.behind:
        console.print("Nothing to do: everything is as declared.")
        return
    if done.steps:
        console.print(f"[green]applied[/]  {counted(len(done.steps), 'change')}, at revision {done.revision}")
    if done.moved:
        console.print(f"[green]moved[/]    {counted(done.moved, 'store')} to the newest model")
    if done.behind:
        console.print(f"[yellow]behind[/]   {counted(done.behind, 'store')}: run this again")
