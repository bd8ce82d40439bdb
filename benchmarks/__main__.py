"""The one command: measure the topics, print the table, keep the results of a whole run."""

import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import cyclopts
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import (
    audit_append,
    audit_verify,
    cut,
    decisions,
    following,
    http_check,
    openfga,
    postgres_sets,
    report,
    sqlite_sets,
    start,
    tokens,
)
from benchmarks.ground import Ground
from benchmarks.measure import FULL, QUICK, Pace, Row, Skipped, machine

TOPICS: dict[str, Callable[[Ground], Awaitable[list[Row]]]] = {
    "sqlite": sqlite_sets.rows,
    "postgres": postgres_sets.rows,
    "audit": audit_append.rows,
    "following": following.rows,
    "verify": audit_verify.rows,
    "tokens": tokens.rows,
    "http": http_check.rows,
    "decisions": decisions.rows,
    "openfga": openfga.rows,
    "cut": cut.rows,
    "start": start.rows,
}
app = cyclopts.App(name="python -m benchmarks", help=__doc__)


@app.default
def main(*names: str, quick: bool = False) -> int:
    """Measure `names`, or everything.

    Parameters
    ----------
    names
        Topics to measure alone; then nothing is written.
    quick
        Fewer and shorter rounds: for a look, not for a claim.
    """
    unknown = sorted(set(names) - TOPICS.keys())
    if unknown:
        print(f"There is no topic {', '.join(unknown)}; there are {', '.join(TOPICS)}.", file=sys.stderr)
        return 2
    pace = QUICK if quick else FULL
    here = machine()
    with tempfile.TemporaryDirectory(prefix="tenantry-bench-") as folder:
        ground = Ground(Path(folder), here, pace)
        try:
            rows, skipped = uvloop.run(_measure(ground, list(names) or list(TOPICS)))
        finally:
            ground.close()
    report.show(rows, skipped)
    if not names:
        report.write(rows, skipped, here, _how(pace, quick=quick))
    return 0 if all(row.met for row in rows) else 1


async def _measure(ground: Ground, names: list[str]) -> tuple[list[Row], dict[str, str]]:
    rows: list[Row] = []
    skipped: dict[str, str] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("measuring", total=len(names))
        for name in names:
            progress.update(bar, description=name)
            try:
                rows += await TOPICS[name](ground)
            except Skipped as reason:
                skipped[name] = str(reason)
            progress.advance(bar)
    return rows, skipped


def _how(pace: Pace, *, quick: bool) -> str:
    return f"{'quick, ' if quick else ''}{pace.rounds} rounds of {pace.seconds:g} s for each side"


if __name__ == "__main__":
    sys.exit(app())
