"""`tenantry check`: a decision of the running server, with its reasons if they are asked for."""

from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from tenantry.access.closure import Outcome
from tenantry.access.explain import Explanation
from tenantry.access.reasons import Tried
from tenantry.access.routes import Answer, Explained, Tuple
from tenantry.access.tuples import TupleKey
from tenantry.app.config import load
from tenantry.cli.output import DEFAULT_CONFIG, AsJson, ConfigPath, answer, counted
from tenantry.cli.server import Organization, Reason, running
from tenantry.core.text import display

DENIED = 1
_COLOURS = {Outcome.YES: "green", Outcome.NO: "red"}


def check(
    store: Annotated[str, Parameter(help="The store, by its id.")],
    subject: Annotated[str, Parameter(help="Who, such as `user:anne`.")],
    relation: Annotated[str, Parameter(help="The relation, such as `viewer`.")],
    object_: Annotated[str, Parameter(name="OBJECT", help="To what, such as `document:1`.")],
    /,
    *,
    explain: Annotated[
        bool, Parameter(negative="", help="Say what was tried, what decided, and what is missing.")
    ] = False,
    organization: Organization = "",
    reason: Reason = "tenantry check",
    config: ConfigPath = DEFAULT_CONFIG,
    json: AsJson = False,
) -> int:
    """Ask whether a subject has a relation to an object. The exit status is 0 if it has, and 1 if not.

    An organization is entered for it, and its log says so. The decision stands in its log of decisions, like any other.
    """
    path = f"/v1/stores/store_{store.removeprefix('store_')}"
    asked = Tuple(subject, relation, object_)
    with running(load(config)) as server, server.entered(organization, reason) as inside:
        if explain:
            explained = inside.ask("POST", f"{path}/explain", Explained, asked)
            answer(explained, lambda console: _draw_explained(console, explained), as_json=json)
            return 0 if explained.answer.allowed else DENIED
        given = inside.ask("POST", f"{path}/check", Answer, asked)
    answer(given, lambda console: _draw(console, given), as_json=json)
    return 0 if given.allowed else DENIED


def _draw(console: Console, given: Answer) -> None:
    word = "[bold green]allowed[/]" if given.allowed else "[bold red]denied[/]"
    because = Text(f"  {display(given.because)}" if given.because else "")
    console.print(word, f"at revision {given.revision}", because, soft_wrap=True)


def _draw_explained(console: Console, explained: Explained) -> None:
    _draw(console, explained.answer)
    told = explained.explanation
    console.print(Text(display(told.because)), soft_wrap=True)
    console.print(_tree(told.tried))
    for title, keys in (("decided by", told.decided), ("condition not met", told.unmet)):
        for key in keys:
            console.print(Text.assemble((title, "bold"), f"  {_spelled(key)}"), soft_wrap=True)
    _draw_missing(console, told)


def _draw_missing(console: Console, told: Explanation) -> None:
    for way in told.missing:
        said = " and ".join(map(_spelled, way))
        console.print(Text.assemble(("would be allowed with", "bold"), f"  {said}"), soft_wrap=True)
    if told.hidden:
        console.print("There is more, which you may not see.")


def _tree(tried: Tried) -> Tree:
    tree = Tree(_label(tried), guide_style="dim")
    for found in tried.found:
        tree.add(Text(display(found), style="cyan"))
    for part in tried.parts:
        tree.add(_tree(part))
    if tried.left_out:
        tree.add(Text(f"{counted(tried.left_out, 'step')} not shown", style="dim"))
    return tree


def _label(tried: Tried) -> Text:
    what = display(f"{tried.of} {tried.by}".strip()) or "something that you may not see"
    again = " (shown elsewhere)" if tried.again else ""
    return Text.assemble((tried.outcome.value, _COLOURS.get(tried.outcome, "yellow")), f"  {what}", (again, "dim"))


def _spelled(key: TupleKey) -> str:
    condition = f" with {key.condition.name}" if key.condition else ""
    return display(f"{key.object}#{key.relation}@{key.user}{condition}")
