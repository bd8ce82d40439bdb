"""How sets that only record, or touch one ephemeral row, share a transaction on PostgreSQL.

Three kinds of statement, in this order, each sorted by organization and key so that the batches of several nodes never wait in a circle:

1. for each ephemeral statement: drop what descends from a cut, write the rest, and keep the numbers of those that succeeded in a
   setting of the transaction;
2. lock the heads of all organizations that record;
3. insert the leaves of those that succeeded, numbered on from each organization's last.

A set that was cut meanwhile is filtered by the first, and refused. A token recorded in the same instant is dead anyway: it carries the
revision its node had applied, and the cut's is higher.
"""

import functools
from collections.abc import Callable
from typing import Any

from tenantry.core.errors import Ended, NoOrganization, TenantryError
from tenantry.core.ids import PLATFORM
from tenantry.core.principal import Principal
from tenantry.journal import schema
from tenantry.journal.writeset import WriteSet
from tenantry.store import Compiled, Kind, Outcome, Program, Row, Statement, Step

_SET_ORGS = Compiled(
    "SELECT set_config('tenantry.org', $1::text, true), set_config('tenantry.done', '', true)", ("orgs",)
)
_LOCK_HEADS = Compiled("SELECT 1 FROM heads WHERE org = ANY($1::text[]) ORDER BY org FOR NO KEY UPDATE", ("orgs",))
_LEAVES = Compiled(
    """
WITH leaf AS (
    SELECT l.*, row_number() OVER (PARTITION BY l.org ORDER BY l.n, l.k) AS place
    FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bytea[], $5::bytea[], $6::bytea[]) AS l(n, k, org, body, salt, personal)
    WHERE l.n = ANY (string_to_array(current_setting('tenantry.done'), ',')::bigint[])),
last AS (
    SELECT o.org, coalesce((SELECT max(v.idx) FROM leaves v WHERE v.org = o.org), -1) AS idx FROM (SELECT DISTINCT org FROM leaf) o)
INSERT INTO leaves (org, idx, rev, xid, body, salt, personal)
SELECT leaf.org, last.idx + leaf.place, 0, pg_current_xact_id(), leaf.body, leaf.salt, leaf.personal FROM leaf JOIN last USING (org)
""",
    ("n", "k", "org", "body", "salt", "personal"),
)
_TYPES: dict[type, str] = {str: "text[]", int: "bigint[]", bytes: "bytea[]"}


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

    def compose(self, programs: list[Program]) -> list[tuple[Compiled, list[Any]]]:
        members = _members(programs)
        orgs = sorted({member.org for member in members} | {PLATFORM})
        statements: list[tuple[Compiled, list[Any]]] = [(_SET_ORGS, [",".join(orgs)])]
        statements += [(_writing(statement), _arrays(statement, group)) for statement, group in _groups(members)]
        recording = sorted({member.org for member in members if member.leaves})
        if recording:
            statements += [(_LOCK_HEADS, [recording]), (_LEAVES, _leaf_arrays(members))]
        return statements

    def answers(self, programs: list[Program], rows: list[list[Row]]) -> list[Outcome | TenantryError]:
        groups = _groups(_members(programs))
        told = {row[0]: row for found in rows[1 : 1 + len(groups)] for row in found}
        return [_answer(member, told[n]) for n, member in enumerate(_members(programs))]


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


_COLUMNS: tuple[tuple[str, str, Callable[[int, _Member], Any]], ...] = (
    ("n", "bigint[]", lambda n, _: n),
    ("org", "text[]", lambda _, member: member.org),
    ("path", "text[]", lambda _, member: member.path),
    ("path_rev", "bigint[]", lambda _, member: member.rev),
    ("platform_path", "text[]", lambda _, member: member.platform_path),
    ("platform_rev", "bigint[]", lambda _, member: member.platform_rev),
    ("incarnation", "bigint[]", lambda _, member: member.incarnation),
    ("must", "bigint[]", lambda _, member: int(member.guarded is not None and member.guarded.otherwise is not None)),
)
"""What is told of every member, before the arguments of its statement: name, type, value."""


@functools.cache
def _writing(statement: Statement | None) -> Compiled:
    """The text that filters, writes and tells; one row a set: its number, whether it is alive, whether it wrote."""
    names = list(statement.args) if statement is not None else []
    types = [_TYPES[statement.args[name]] for name in names] if statement is not None else []
    places = ", ".join(f"${i}::{kind}" for i, kind in enumerate([*(kind for _, kind, _ in _COLUMNS), *types], 1))
    columns = ", ".join([*(name for name, _, _ in _COLUMNS), *names])
    keys = ", ".join(["org", *(statement.key if statement is not None else ())])
    if statement is None:
        done = "done AS (SELECT n FROM alive)"
    else:
        done = (
            f"written AS ({statement.many}),\ndone AS (SELECT alive.n FROM alive LEFT JOIN written w USING ({keys}) "  # noqa: S608
            "WHERE alive.must = 0 OR w.org IS NOT NULL)"
        )
    text = f"""
WITH args AS (SELECT * FROM unnest({places}) AS a({columns})),
alive AS (
    SELECT a.* FROM args a
    WHERE EXISTS (SELECT 1 FROM heads h WHERE h.org = a.org)
      AND a.incarnation IN (0, (SELECT max(number) FROM incarnations))
      AND NOT EXISTS (
        SELECT 1 FROM cuts c WHERE c.org = a.org AND c.id IN (SELECT jsonb_array_elements_text(a.path::jsonb)) AND c.rev > a.path_rev)
      AND NOT EXISTS (
        SELECT 1 FROM cuts c
        WHERE c.org = '{PLATFORM}' AND c.id IN (SELECT jsonb_array_elements_text(a.platform_path::jsonb)) AND c.rev > a.platform_rev)
    ORDER BY {keys}),
{done},
kept AS (
    SELECT set_config('tenantry.done', concat_ws(',', nullif(current_setting('tenantry.done'), ''), string_agg(n::text, ',')), true)
    FROM done)
SELECT args.n, alive.n IS NOT NULL, done.n IS NOT NULL FROM args LEFT JOIN alive USING (n) LEFT JOIN done USING (n) CROSS JOIN kept
"""  # noqa: S608
    return Compiled(text, ())


def _arrays(statement: Statement | None, group: list[tuple[int, _Member]]) -> list[list[Any]]:
    columns = [[value(n, member) for n, member in group] for _, _, value in _COLUMNS]
    names = statement.args if statement is not None else ()
    return columns + [[m.guarded.args[name] for _, m in group if m.guarded is not None] for name in names]


def _leaves(steps: list[Step]) -> tuple[tuple[bytes, bytes | None, bytes | None], ...]:
    """Body, salt and personal part of each leaf that a set asks for."""
    asked = next((step.args for step in steps if step.statement is schema.SETTLE), None)
    return () if asked is None else tuple(zip(asked["bodies"], asked["salts"], asked["personals"], strict=True))


def _leaf_arrays(members: list[_Member]) -> list[list[Any]]:
    leaves = [(n, k, member.org, leaf) for n, member in enumerate(members) for k, leaf in enumerate(member.leaves)]
    return [
        [n for n, _, _, _ in leaves],
        [k for _, k, _, _ in leaves],
        [org for _, _, org, _ in leaves],
        [body for *_, (body, _, _) in leaves],
        [salt for *_, (_, salt, _) in leaves],
        [personal for *_, (_, _, personal) in leaves],
    ]


def _answer(member: _Member, row: Row) -> Outcome | TenantryError:
    _, alive, done = row
    if not alive:
        return Ended() if member.incarnation else NoOrganization()
    if not done and member.guarded is not None and member.guarded.otherwise is not None:
        return member.guarded.otherwise()
    return Outcome([0])  # what settling gives: no state changed, so no revision
