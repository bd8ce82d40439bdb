"""How the play looks on a terminal: what a step proved once it ended, below it what runs and what is to come, at last a summary.

Only what is not over yet is drawn anew, so that it fits a terminal of 24 lines.
"""

from pathlib import Path
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from tenantry.cli.demo.play import Played, Step
from tenantry.cli.output import called


class Silent:
    """Nobody watches."""

    def began(self, name: str) -> None:
        """See `Told`."""

    def went_on(self, done: int, total: int) -> None:
        """See `Told`."""

    def ended(self, step: Step) -> None:
        """See `Told`."""


class Screen:
    """A person watches."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._over = 0
        self._running = ""
        self._far = (0, 0)
        self._spinner = Spinner("dots", style="cyan")
        self.console = Console(highlight=False)
        self._live = Live(console=self.console, refresh_per_second=12, get_renderable=self._table)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def began(self, name: str) -> None:
        """See `Told`."""
        self._running, self._far = name, (0, 0)

    def went_on(self, done: int, total: int) -> None:
        """See `Told`."""
        self._far = (done, total)

    def ended(self, step: Step) -> None:
        """See `Told`."""
        self._over += 1
        self._running = ""
        self.console.print(_drawn(step))

    def sum_up(self, played: Played) -> None:
        """Say in a sentence how it went, and name what was not refused."""
        self._live.refresh()
        self._live.stop()
        twins = [twin for step in played.steps for twin in step.twins]
        seconds = sum(step.ms for step in played.steps) / 1000
        refused = sum(twin.refused for twin in twins)
        if played.ok:
            said = f"{len(played.steps)} steps held in {seconds:.1f} s, and {refused} attempts that had to be refused were."
            self.console.print(Text(said, "bold green"))
            return
        self.console.print(Text("This is not as it should be:", "bold red"))
        for step in played.steps:
            if not step.ok:
                self.console.print(Text(f"  {step.name}: {step.proof}"))
        for twin in twins:
            if not twin.refused:
                self.console.print(Text(f"  not refused: {twin.name}"))

    def invite(self, folder: Path, question: str) -> None:
        """Say what there is to look at, until Ctrl-C; `question` is what the command `check` can be asked."""
        self.console.print(f"\nEverything still runs; its files are in [bold]{folder}[/].", soft_wrap=True)
        self.console.print(f"Try: [bold]{escape(called())} audit verify {folder}/acme[/]", soft_wrap=True)
        self.console.print(f"Or:  [bold]{escape(called())} check {escape(question)}[/]", soft_wrap=True)
        self.console.print("Ctrl-C ends it and removes them.")

    def _table(self) -> Table:
        """What runs and what is to come."""
        table = _columns()
        for name in self._names[self._over :]:
            if name != self._running:
                table.add_row(Text("·", "dim"), Text(name, "dim"), "")
                continue
            table.add_row(self._spinner, Text(name, "bold"), "")
            if self._far[1]:
                done, total = self._far
                table.add_row("", ProgressBar(total=total, completed=done, width=40), Text(f"{done}/{total}", "dim"))
        return table


def _columns() -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(width=1)
    table.add_column(ratio=1)
    table.add_column(justify="right", no_wrap=True)
    return table


def _drawn(step: Step) -> Table:
    """A step that is over."""
    table = _columns()
    mark = Text("✓", "bold green") if step.ok else Text("✗", "bold red")
    table.add_row(mark, Text(step.name, "bold"), Text(f"{step.ms} ms", "dim"))
    refused = sum(twin.refused for twin in step.twins)
    said = Text(step.proof, "" if step.ok else "red")
    if step.twins:
        said.append(f"\nrefused: {refused} of {len(step.twins)} ({_named(step)})", "dim")
    table.add_row("", said, "")
    return table


def _named(step: Step) -> str:
    """The names of the twins, shortened where they are many."""
    names = [twin.name for twin in step.twins]
    return ", ".join(names) if len(names) <= 2 else f"{names[0]}, … {names[-1]}"
