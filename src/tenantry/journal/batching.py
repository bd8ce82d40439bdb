"""How sets that only record, or touch one ephemeral row, share a transaction on PostgreSQL.

One statement calls functions (`sharing`) in this order, each sorted by organization and key so that the batches of several nodes never
wait in a circle:

1. for each ephemeral statement: drop what descends from a cut, write the rest, and keep the numbers of those that succeeded;
2. lock the heads of all organizations that record, and insert the leaves of those that succeeded, numbered on from each organization's
   last.

A set that was cut meanwhile is filtered by the first, and refused. A token recorded in the same instant is dead anyway: it carries the
revision its node had applied, and the cut's is higher.
"""

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any

from tenantry.core.errors import Ended, NoOrganization, TenantryError
from tenantry.core.ids import PLATFORM
from tenantry.core.principal import Principal
from tenantry.journal import schema, sharing
from tenantry.journal.writeset import WriteSet
from tenantry.store import Kind, Outcome, Program, Row, Statement, Step


class _Member(Program, frozen=True, eq=False):
    """A program that may share a transaction, with what the shared statements need to know of it."""

    guarded: Step | None = None
    leaves: tuple[tuple[bytes, bytes | None, bytes | None], ...] = ()
    path: str = "[]"
    rev: int = 0
    platform_path: str = "[]"
    platform_rev: int = 0
    incarnation: int = 0


class _Shared:
    """The journal's way to run many sets at once; see `tenantry.store.program.Many`."""

    def takes(self, w: WriteSet, parts: list[WriteSet]) -> bool:
        """Whether this set touches one organization, changes no state and guards at most one ephemeral row."""
        if (
            parts != [w]
            or w.locks
            or w.settled
            or w.expected is not None
            or w.opens
            or w.destroyed
            or len(w.steps) > 1
            or w.changes_state()
        ):
            return False
        return all(
            step.statement.table.kind is Kind.EPHEMERAL and step.statement.many and not step.statement.returns
            for step in w.steps
        )

    def program(self, w: WriteSet, actor: Principal, steps: list[Step]) -> Program:
        """The program, with its steps for when it has to run alone."""
        guarded = w.steps[0] if w.steps else None
        keys: frozenset[Any] = frozenset()
        if guarded is not None:
            keys = frozenset(
                {(guarded.statement.table.name, w.org, *(guarded.args[column] for column in guarded.statement.key))}
            )
        own = actor.lineage if actor.lineage is not None and actor.org == w.org else None
        if actor.lineage is not None and own is None:
            return Program(w.org, steps)
        return _Member(
            w.org,
            steps,
            many=self,
            keys=keys,
            guarded=guarded,
            leaves=_leaves(steps),
            path=schema.ids_json(own.path) if own else "[]",
            rev=own.rev if own else 0,
            platform_path=schema.ids_json(own.platform_path) if own else "[]",
            platform_rev=own.platform_rev if own else 0,
            incarnation=own.incarnation if own else 0,
        )

    def compose(self, programs: list[Program]) -> tuple[bytes, list[Any]]:
        members = _members(programs)
        groups = _groups(members)
        orgs = ",".join(sorted({member.org for member in members} | {PLATFORM}))
        values: list[Any] = []
        for statement, group in groups:
            values += [orgs, *_arrays(statement, group)]
        recording = sorted({member.org for member in members if member.leaves})
        if recording:
            values += [_literal(recording), *_leaf_arrays(members)]
        return _calls(tuple(statement for statement, _ in groups), records=bool(recording)), values

    def answers(self, programs: list[Program], row: Row) -> list[Outcome | TenantryError]:
        answers: dict[int, Outcome | TenantryError] = {}
        for (_, group), states in zip(_groups(_members(programs)), row, strict=False):
            answers |= {n: _answer(member, state) for (n, member), state in zip(group, states, strict=True)}
        return [answers[n] for n in range(len(programs))]


SHARED = _Shared()


def _members(programs: list[Program]) -> list[_Member]:
    """A member's number in the batch is its place here. The order in which rows are locked is the statements' own."""
    return [program for program in programs if isinstance(program, _Member)]


def _groups(members: list[_Member]) -> list[tuple[Statement | None, list[tuple[int, _Member]]]]:
    groups: dict[str, tuple[Statement | None, list[tuple[int, _Member]]]] = {}
    for n, member in enumerate(members):
        statement = member.guarded.statement if member.guarded is not None else None
        groups.setdefault(statement.name if statement else "", (statement, []))[1].append((n, member))
    return [groups[name] for name in sorted(groups)]


_COLUMNS: dict[str, Callable[[int, _Member], Any]] = {
    "n": lambda n, _: n,
    "org": lambda _, member: member.org,
    "path": lambda _, member: member.path,
    "path_rev": lambda _, member: member.rev,
    "platform_path": lambda _, member: member.platform_path,
    "platform_rev": lambda _, member: member.platform_rev,
    "incarnation": lambda _, member: member.incarnation,
    "must": lambda _, member: int(member.guarded is not None and member.guarded.otherwise is not None),
}
"""What is told of every member, as `sharing.MEMBER` names it."""

_QUOTED = ("path", "platform_path")


@functools.cache
def _calls(statements: tuple[Statement | None, ...], *, records: bool) -> bytes:
    """One `SELECT` that calls the functions in their order. PostgreSQL works a list of calls out from left to right."""
    called = [(sharing.share(statement), sharing.types(statement)) for statement in statements]
    if records:
        called.append((sharing.LEAVES, sharing.LEAVES_TYPES))
    number = itertools.count(1)
    calls = [f"{made.name}({', '.join(f'${next(number)}::{kind}' for kind in types)})" for made, types in called]
    return f"SELECT {', '.join(calls)}".encode()


def _arrays(statement: Statement | None, group: list[tuple[int, _Member]]) -> list[Any]:
    columns: list[Any] = []
    for name, value in _COLUMNS.items():
        column = [value(n, member) for n, member in group]
        columns.append(column if name in _QUOTED else _literal(column))
    names = statement.args if statement is not None else ()
    return columns + [[m.guarded.args[name] for _, m in group if m.guarded is not None] for name in names]


def _literal(values: Iterable[int | str]) -> str:
    """An array of numbers or organizations, which need no quotes: psycopg would dump each by itself."""
    return f"{{{','.join(map(str, values))}}}"


def _leaves(steps: list[Step]) -> tuple[tuple[bytes, bytes | None, bytes | None], ...]:
    """Body, salt and personal part of each leaf that a set asks for."""
    asked = next((step.args for step in steps if step.statement is schema.SETTLE), None)
    return () if asked is None else tuple(zip(asked["bodies"], asked["salts"], asked["personals"], strict=True))


def _leaf_arrays(members: list[_Member]) -> list[Any]:
    leaves = [(n, k, member.org, leaf) for n, member in enumerate(members) for k, leaf in enumerate(member.leaves)]
    return [
        _literal(n for n, _, _, _ in leaves),
        _literal(k for _, k, _, _ in leaves),
        _literal(org for _, _, org, _ in leaves),
        [body for *_, (body, _, _) in leaves],
        [salt for *_, (_, salt, _) in leaves],
        [personal for *_, (_, _, personal) in leaves],
    ]


def _answer(member: _Member, state: int) -> Outcome | TenantryError:
    if state == sharing.DEAD:
        return Ended() if member.incarnation else NoOrganization()
    if state == sharing.ALIVE and member.guarded is not None and member.guarded.otherwise is not None:
        return member.guarded.otherwise()
    return Outcome([0])  # what settling gives: no state changed, so no revision
