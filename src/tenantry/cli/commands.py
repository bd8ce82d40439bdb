"""Which commands there are, and what becomes of a refusal: its code, why and what to do next on stderr, and an exit status."""

import errno
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from tenantry import __version__
from tenantry.audit import proof as audit_proof
from tenantry.cli.output import Failure, fail
from tenantry.core.errors import (
    Damaged,
    Invalid,
    ProofFailed,
    StorageFull,
    TenantryError,
    Throttled,
    Unknown,
    Upstream,
)

MEANINGS = {
    0: "done",
    1: "refused: the sentence says why; of `check`, denied",
    2: "the command line, the configuration or another input is not of the form asked for, or a path cannot be used",
    3: "the database, or something else outside, cannot be reached or cannot take it now",
    4: "a proof failed",
}
USAGE = 2
INTERRUPTED = 130
STATUSES: tuple[tuple[type[TenantryError], int], ...] = (
    (ProofFailed, 4),
    (Invalid, USAGE),
    (Damaged, 1),
    (Throttled, 3),
    (Unknown, 3),
    (Upstream, 3),
    (TenantryError, 1),
)
"""The exit status of each kind of error; the first that fits counts."""

app = App(
    name="tenantry",
    help="The enterprise identity stack for AI applications.",
    version=f"tenantry {__version__}",
    help_format="markdown",
    default_parameter=Parameter(show_default=False),
    result_action="return_value",
)
access = App(name="access", help="Prove that an ended access is gone.")
audit = App(name="audit", help="Take an organization's log out, and verify what was taken out.")
app.command("tenantry.cli.init:init", name="init")
app.command("tenantry.cli.serve:serve", name="serve")
app.command("tenantry.cli.doctor:doctor", name="doctor")
app.command("tenantry.cli.confirm:confirm", name="confirm")
app.command("tenantry.cli.apply:apply", name="apply")
app.command("tenantry.cli.check:check", name="check")
app.command(access)
access.command("tenantry.cli.access:prove_gone", name="prove-gone")
access.command("tenantry.cli.access:receipt", name="receipt")
app.command(audit)
audit.command("tenantry.cli.audit:export", name="export")
audit.command("tenantry.cli.audit:verify", name="verify")
app.command("tenantry.cli.demo.command:demo", name="demo")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    if not given or {"--help", "-h"} & set(given):
        _load(app)
    try:
        return app(given, exit_on_error=False, print_error=False) or 0
    except CycloptsError as error:
        fail(Failure("usage", str(error), "Add --help to see what is possible."), as_json=as_json)
        return USAGE
    except (TenantryError, OSError) as error:
        refusal = error if isinstance(error, TenantryError) else of_the_system(error)
        fail(_told(refusal), as_json=as_json)
        return status(refusal)
    except KeyboardInterrupt:
        return INTERRUPTED


def _load(commands: App) -> None:
    """Load every command, so that help can say what each does."""
    for name in commands:
        if not name.startswith("-"):
            _load(commands[name])


def _told(error: TenantryError) -> Failure:
    if isinstance(error, audit_proof.ProofFailed):
        return Failure(error.code, error.message, error.hint, error.kind, error.index)
    return Failure(error.code, error.message, error.hint)


def status(error: TenantryError) -> int:
    """The exit status that an error ends a command with."""
    return next(number for kind, number in STATUSES if isinstance(error, kind))


def of_the_system(error: OSError) -> TenantryError:
    """Our refusal for the operating system's: a path that cannot be used is an input, a full disk or a dead line is not."""
    said = error.strerror or type(error).__name__
    where = f"{error.filename}: {said}." if error.filename is not None else f"{said}."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(where, hint="Free space on that disk.")
    if error.filename is not None:
        return Invalid(where, hint="Name a path that this user may use.")
    return Upstream(where, hint="Try again.")
