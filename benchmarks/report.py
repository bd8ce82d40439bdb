"""Where results go: a table for a person, `results.json` for a program, a page for the documentation."""

import json
import platform
from pathlib import Path

import msgspec
import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks.measure import TASKS, Machine, Row

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "reference" / "benchmarks.md"


def show(rows: list[Row], skipped: dict[str, str]) -> None:
    """Print what was measured."""
    table = Table(title="Benchmarks", show_lines=False)
    for heading, side in (("", "left"), ("ours", "right"), ("theirs", "right"), ("ratio", "right"), ("goal", "right")):
        table.add_column(heading, justify="right" if side == "right" else "left")
    table.add_column("")
    for row in rows:
        met = "[green]met[/]" if row.met else "[red]missed[/]"
        table.add_row(row.name, f"{row.ours:,.1f}", f"{row.theirs:,.1f}", f"{row.ratio:.2f}", f"≥ {row.goal:g}", met)
    console = Console()
    console.print(table)
    for name, why in skipped.items():
        console.print(f"skipped: {name}: {why}")


def write(rows: list[Row], skipped: dict[str, str], machine: Machine, how: str) -> None:
    """Keep the results of a whole run."""
    RESULTS.write_text(json.dumps([msgspec.to_builtins(row) for row in rows], indent=2, ensure_ascii=False) + "\n")
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(rows, skipped, machine, how), encoding="utf-8")


def page(rows: list[Row], skipped: dict[str, str], machine: Machine, how: str) -> str:
    """The documentation's page."""
    lines = [
        "# Benchmarks",
        "",
        "Made by `make bench`; do not edit. Each row compares two ways to do the same, measured in turns in one run on the same",
        f"durable settings, {TASKS} tasks where nothing else is said. Both numbers are medians over the rounds; a goal is met when",
        "the ratio reaches it.",
        "Absolute numbers belong to this machine; the ratio is the claim.",
        "",
        f"Last run: {how}; {_facts(machine)}.",
        "",
        "| what | ours | theirs | ratio | goal | met | unit, peer and circumstances |",
        "|---|--:|--:|--:|--:|---|---|",
    ]
    lines += [
        f"| {r.name} | {r.ours:,.1f} | {r.theirs:,.1f} | {r.ratio:.2f} | ≥ {r.goal:g} | {_yes(r.met)} | {r.note} |"
        for r in rows
    ]
    lines += ["", "## skipped", ""]
    lines += [f"- {name}: {why}" for name, why in skipped.items()] or ["Nothing."]
    return "\n".join(lines) + "\n"


def _facts(machine: Machine) -> str:
    return (
        f"{machine.cores} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"psycopg {psycopg.__version__}; fsync after 8 KiB takes {machine.sync_ms:.2f} ms (median)"
    )


def _yes(met: bool) -> str:
    return "yes" if met else "**no**"
