"""A write set: what one use case writes, collected and sent whole. Nothing reaches the database before the block ends."""

from typing import Any

from tenantry.core.errors import Invalid, Misuse, TooLarge
from tenantry.core.limits import SET_MAX_CUTS, SET_MAX_EVENTS, SET_MAX_STATEMENTS, SET_MAX_TOUCHED, VALUE_MAX
from tenantry.core.text import named
from tenantry.journal.event import Event
from tenantry.journal.schema import ids_json
from tenantry.store import Kind, Refusal, Statement, Step


class WriteSet:
    """Collects statements, events and cuts of one organization; `platform` is the same for the platform's own records.

    After the block, `revision` is the organization's revision this set made (unchanged at 0 if it changed no state).
    """

    def __init__(self, org: str, platform: "WriteSet | None" = None) -> None:
        self.org = org
        self.steps: list[Step] = []
        self.settled: list[Step] = []
        self.kinds: list[Kind] = []
        self.locks: list[Step] = []
        self.events: list[Event] = []
        self.cuts: list[str] = []
        self.destroyed: list[str] = []
        self.touched: list[str] = []
        self.expected: int | None = None
        self.opens = False
        self.revision = 0
        self.platform = platform

    def write(self, statement: Statement, otherwise: Refusal | None = None, **args: Any) -> None:
        """Run a registered statement. `otherwise` is the refusal, raised in the database, if it writes no row.

        Raises:
            Misuse: an argument is missing or unknown.
            Invalid: a text holds a NUL, which PostgreSQL cannot keep.
            TooLarge: a value passes `VALUE_MAX`, or the set `SET_MAX_STATEMENTS`; do it as one set-based statement or as a job of many
                sets.
        """
        self._add(self.steps, statement, otherwise, args)

    def write_settled(self, statement: Statement, **args: Any) -> None:
        """Run a registered statement when the set's revision is taken: it finds it as the greatest of the changelog.

        The organization's lock is held meanwhile, so this is for what must know the revision, and is quick.

        Raises:
            Misuse, Invalid, TooLarge: as `write` does.
        """
        self._add(self.settled, statement, None, args)

    def lock(self, statement: Statement, otherwise: Refusal, **args: Any) -> None:
        """Lock a row first, where two must not decide at once. The statement is a `SELECT … FOR UPDATE` (plain on SQLite)."""
        self._check(statement, args)
        self.locks.append(Step(self.org, statement, args, otherwise))

    def record(self, event: Event) -> None:
        """Write an event to the organization's log, in the same transaction."""
        if len(self.events) >= SET_MAX_EVENTS:
            raise TooLarge(f"One change records at most {SET_MAX_EVENTS} events.")
        self.events.append(event)

    def cut(self, branch: str) -> None:
        """From this set's revision on, everything that descends from `branch` is dead.

        Raises:
            Invalid: this cannot be the name of a branch.
            TooLarge: the set passes `SET_MAX_CUTS`.
        """
        if branch in self.cuts:
            return
        if len(self.cuts) >= SET_MAX_CUTS:
            raise TooLarge(f"One change cuts at most {SET_MAX_CUTS} branches.")
        self.cuts.append(named(branch))

    def touch(self, *ids: str) -> None:
        """Name what else followers should look at; targets of events and cuts are named already."""
        if len(self.touched) + len(ids) > SET_MAX_TOUCHED:
            raise TooLarge(f"One change names at most {SET_MAX_TOUCHED} ids: name what holds them.")
        self.touched += ids

    def expect_revision(self, revision: int) -> None:
        """Refuse with `Conflict` if the organization has moved past `revision` since it was read."""
        self.expected = revision

    def open_log(self) -> None:
        """This set begins the organization: it makes the row that every later set locks."""
        self.opens = True

    def destroy(self, subject: str) -> None:
        """Put the organization, or a person of it, on the destruction list: no restored backup may bring it back."""
        self.destroyed.append(subject)

    def changes_state(self) -> bool:
        """Whether this set makes a row of the changelog."""
        return bool(self.cuts or self.destroyed) or Kind.STATE in self.kinds

    def is_empty(self) -> bool:
        """Whether there is nothing to send."""
        return not (
            self.steps or self.events or self.cuts or self.opens or self.destroyed or self.locks or self.settled
        )

    def refuse_silent(self) -> None:
        """No silent write (invariant 2).

        Raises:
            Misuse: state changed, or something was cut or destroyed, and no event says so.
        """
        if self.changes_state() and not self.events:
            raise Misuse(f"A change of {self._tables(Kind.STATE) or 'branches'} records no event.")

    def refuse_derived(self) -> None:
        """What followers rebuild is written by them alone.

        Raises:
            Misuse: the set writes a derived table outside a duty.
        """
        if Kind.DERIVED in self.kinds:
            raise Misuse(f"{self._tables(Kind.DERIVED)}: only the follower of a derived table writes it.")

    def touched_json(self) -> str:
        """What the changelog row touches: targets of events, cuts, and what was named by `touch`, each once."""
        named = dict.fromkeys(t for event in self.events for t in event.targets())
        return ids_json([*(named | dict.fromkeys(self.cuts) | dict.fromkeys(self.touched))])

    def _tables(self, kind: Kind) -> str:
        """The tables of a kind that the set writes."""
        tables = [step.statement.table for step in (*self.steps, *self.settled)]
        return ", ".join(sorted({table.name for table in tables if table.kind is kind}))

    def _add(self, to: list[Step], statement: Statement, otherwise: Refusal | None, args: dict[str, Any]) -> None:
        self._check(statement, args)
        if len(self.steps) + len(self.settled) >= SET_MAX_STATEMENTS:
            raise TooLarge(f"One change writes at most {SET_MAX_STATEMENTS} rows by themselves.")
        to.append(Step(self.org, statement, args, otherwise))
        if statement.table.kind not in self.kinds:
            self.kinds.append(statement.table.kind)

    def _check(self, statement: Statement, args: dict[str, Any]) -> None:
        if args.keys() != statement.args.keys():
            raise Misuse(f"{statement.name} takes {sorted(statement.args)}, not {sorted(args)}.")
        for value in args.values():
            for part in value if isinstance(value, list) else (value,):
                _refuse_unkept(part)


def _refuse_unkept(value: object) -> None:
    """Refuse what one of the two databases could not keep, so that both keep the same."""
    if isinstance(value, str | bytes) and len(value) > VALUE_MAX:
        raise TooLarge(f"One value has at most {VALUE_MAX} characters or bytes.")
    if isinstance(value, str) and "\0" in value:
        raise Invalid("A text holds a NUL character.")
