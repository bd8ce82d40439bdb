"""Writes the reference of the commands, the configuration and the audit events from their declarations.

python -m tenantry.cli.reference docs/reference
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

import msgspec

import tenantry.app.rooms  # noqa: F401 - events are declared beside what they record
from tenantry.app.config import Config
from tenantry.app.node import ROOMS
from tenantry.audit.catalogue import catalogue
from tenantry.cli.commands import MEANINGS, STATUSES, app
from tenantry.core.errors import TenantryError

_COMMANDS = """
Every command answers a terminal with tables and colours, a pipe (or `--json`) with one JSON object on one line. A refusal goes
to stderr: its code, why, and what to do next; with `--json` as `{"error", "message", "hint"}`, for a failed proof also `kind`
and `index`.

## Exit status

| status | means |
|---|---|
"""
_CONFIGURATION = """# Configuration

One TOML file, `tenantry.toml` unless `--config` or `TENANTRY_CONFIG` names another. `tenantry init` writes it with mode 0600:
it holds passwords. Unknown keys are refused. Each text below can be given, or overridden, by the environment variable beside it.
"""


_EVENTS = """# Audit events

Each is a leaf of its organization's log, with `type`, `at`, `org`, `actor` (the chain, outermost last), `targets`, `outcome`, `data`, and
where known `client`, `request` and `counterpart`. What is personal lies beside the leaf and can be erased without breaking a proof.

| event | means | data | personal |
|---|---|---|---|
"""


def commands() -> str:
    """docs/reference/cli.md."""
    title, _, rest = app.generate_docs().partition("\n")
    meanings = [f"| {number} | {said} |" for number, said in MEANINGS.items()]
    statuses = [
        f"| `{kind.code}`{' and any other' if kind is TenantryError else ''} | {number} |" for kind, number in STATUSES
    ]
    kinds = "\n\nBy the kind of error, the first that fits:\n\n| kind | status |\n|---|---|\n"
    body = _COMMANDS + "\n".join(meanings) + kinds + "\n".join(statuses)
    return f"{title}\n\n{rest.strip()}\n{body}\n"


def configuration() -> str:
    """docs/reference/configuration.md."""
    return _CONFIGURATION + _table(Config, "", "TENANTRY")


def events() -> str:
    """docs/reference/events.md: of every room that a deployment has, the demonstration's apart."""
    rooms = {schema.room for schema in ROOMS}
    rows = [
        f"| `{event.name}` | {event.meaning} | {_listed(f for f in event.fields if f not in event.personal)} | {_listed(event.personal)} |"
        for event in catalogue()
        if event.room in rooms
    ]
    return _EVENTS + "\n".join(rows) + "\n"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(kind: type[msgspec.Struct], path: str, variable: str) -> str:
    """The settings of a struct, then those of the structs in it."""
    said, rows, below = _docstrings(kind), list[str](), ""
    for field in msgspec.structs.fields(kind):
        name, environment = f"{path}{field.name}", f"{variable}_{field.name.upper()}"
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            below += f"\n## `[{name}]`\n\n{inspect.getdoc(field.type)}\n{_table(field.type, name + '.', environment)}"
            continue
        unset = field.default_factory() if field.default is msgspec.NODEFAULT and not field.required else field.default
        default = "required" if field.required else "none" if unset in ("", []) else f"`{str(unset).lower()}`"
        by = f"`{environment}`" if field.type is str else "—"
        rows.append(f"| `{field.name}` | {default} | {by} | {said[field.name]} |")
    return "\n| key | default | environment | |\n|---|---|---|---|\n" + "\n".join(rows) + "\n" + below


def _docstrings(kind: type) -> dict[str, str]:
    """What stands below each field of a class."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            found[field.target.id] = inspect.cleandoc(ast.literal_eval(below.value)).replace("\n", " ")
    return found


def write(folder: Path) -> None:
    """Write all pages."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cli.md").write_text(commands(), encoding="utf-8")
    (folder / "configuration.md").write_text(configuration(), encoding="utf-8")
    (folder / "events.md").write_text(events(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
