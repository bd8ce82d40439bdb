"""Our error for PostgreSQL's, by its SQLSTATE. Never by its words, which name values."""

import psycopg

from tenantry.core.errors import Conflict, Damaged, Misuse, StorageFull, TenantryError, Unavailable, Unknown
from tenantry.store.program import Program

GUARD_FAILED = "TY001"
"""Raised by `tenantry_guard`; its message is the place of the step."""

UNSENDABLE = (psycopg.DataError, psycopg.ProgrammingError, UnicodeEncodeError)
"""What psycopg raises, without a SQLSTATE, for a value it cannot send."""

RETRIED = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
"""Nothing was written, and trying again, at most `RETRIES` times, may do."""

RETRIES = 3

_TRANSIENT = {"53300", "57014", "55P03", "57P03"}


def of_the_database(error: psycopg.Error | UnicodeEncodeError) -> bool:
    """Whether the connection, the disk or the server failed, rather than something that one of several sets asked for."""
    if isinstance(error, UNSENDABLE) and not getattr(error, "sqlstate", None):
        return False
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    return state is None or state.startswith(("08", "53", "57P", "58", "XX"))


def refusal(error: psycopg.Error | UnicodeEncodeError, program: Program | None = None) -> TenantryError:
    """What to raise for `error`. One of `RETRIED` means here that it was tried often enough."""
    state = error.sqlstate or "" if isinstance(error, psycopg.Error) else ""
    if (
        state == GUARD_FAILED
        and program is not None
        and isinstance(error, psycopg.Error)
        and error.diag.message_primary
    ):
        otherwise = program.steps[int(error.diag.message_primary)].otherwise
        return otherwise() if otherwise is not None else Misuse("A guard without a refusal.")
    if not state and isinstance(error, UNSENDABLE):
        return Misuse("A value cannot be sent to the database: half a character, a NUL in a text, or an unknown type.")
    if not state or state.startswith("08") or _ended(error):
        return Unknown("The connection to the database broke.", hint="Read back what was written before trying again.")
    return _by_class(state)


def _ended(error: psycopg.Error | UnicodeEncodeError) -> bool:
    """Whether the session ended with it: a commit whose sync failed may still be recovered."""
    return isinstance(error, psycopg.Error) and error.diag.severity_nonlocalized in ("FATAL", "PANIC")


def _by_class(state: str) -> TenantryError:
    if state in ("53100", "53200"):
        return StorageFull("The database has no space left.", hint="Free space on the data disk; nothing was lost.")
    if state in ("40001", "40P01"):
        return Unavailable(
            "The database could not settle a conflict between writers.", hint="Try again; nothing was written."
        )
    if state in _TRANSIENT:
        return Unavailable("The database is too busy.", hint="Try again in a second; nothing was written.")
    if state.startswith("23"):
        return Conflict("This contradicts what is stored.", hint=f"SQLSTATE {state}.")
    if state.startswith(("XX", "58")):
        return Damaged("The database reports damage.", hint="Run `tenantry doctor`, then restore a backup.")
    return Misuse(f"A statement cannot be run (SQLSTATE {state}).")
