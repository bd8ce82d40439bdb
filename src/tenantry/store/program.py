"""A program: the steps of one write set, in order, as the journal composed them; the engine runs all of them or none.

Each step belongs to one organization. A step with `otherwise` must write (or find) at least one row, else the program is
refused with that error and nothing of it stays.
"""

from typing import Any, Protocol

import msgspec

from tenantry.core.errors import TenantryError
from tenantry.store.schema import Statement

Refusal = type[TenantryError]
"""A class and not an object: two callers that are refused alike must not share an error, and with it a trace."""

Row = tuple[Any, ...]


class Step(msgspec.Struct, frozen=True, eq=False):
    """One statement with its arguments (without `org`), and the refusal if it writes nothing."""

    org: str
    statement: Statement
    args: dict[str, Any]
    otherwise: Refusal | None = None


class Many(Protocol):
    """How sets that only record, or touch ephemeral rows, share one transaction on PostgreSQL. The journal has the one way."""

    def compose(self, programs: list["Program"]) -> tuple[bytes, list[Any]]:
        """The one statement that runs them all, and its arguments."""
        ...

    def answers(self, programs: list["Program"], row: Row) -> list["Outcome | TenantryError"]:
        """What became of each, from the row that the statement gave."""
        ...


class Program(msgspec.Struct, frozen=True, eq=False):
    """What one transaction does.

    `org` is the lane it queues in; `role` is the PostgreSQL role it runs as; `cuts` gives it a connection that other sets
    cannot take; `many` is set where it may share a transaction, and `keys` then names the rows that no two programs of one
    transaction may both touch.
    """

    org: str
    steps: list[Step]
    role: str = "app"
    cuts: bool = False
    many: Many | None = None
    keys: frozenset[Any] = frozenset()


class Outcome(msgspec.Struct, frozen=True, eq=False):
    """The integer that each returning step gave, in the order of those steps; `None` where one wrote nothing and did not have to."""

    made: list[int | None]
