"""Writing tuples into a store: at most a hundred in one request, all of them or none, as OpenFGA's Write has it.

What is there is read first, for a refusal that names the tuple; the statements refuse again for whoever was faster, as a `Conflict`, after
which the use case reads again. Writers of different tuples do not meet. Each tuple is told of in `access_changes` under the set's revision;
the log's leaf holds counts and a digest, for tuples may name persons.
"""

import hashlib
from collections.abc import Iterable
from typing import Literal

import msgspec

from tenantry.access.errors import AccessError, LimitExceeded
from tenantry.access.plan import Plan
from tenantry.access.schema import (
    DELETE_TUPLES,
    NOTE_CHANGES,
    REQUIRE_TUPLES,
    TUPLES_AMONG,
    WRITE_TUPLES,
    ChangeRow,
    TupleRow,
)
from tenantry.access.tuples import RelationshipCondition, TupleKey, read_object, read_subject
from tenantry.core.errors import AlreadyDone, Conflict
from tenantry.journal import Event, Reads, Target, WriteSet

WRITE_MAX_TUPLES = 100
"""Tuples of one request, written and deleted (OpenFGA: 100)."""


class Edit(msgspec.Struct, frozen=True):
    """What one request writes and deletes, and what becomes of a tuple that is there already, or is not there."""

    writes: tuple[TupleKey, ...] = ()
    deletes: tuple[TupleKey, ...] = ()
    on_duplicate: Literal["error", "ignore"] = "error"
    on_missing: Literal["error", "ignore"] = "error"


class TuplesChanged(Event, tag="access.tuples_changed", frozen=True):
    """Tuples of a store were written and deleted; the digest is over the canonical list, which `access_changes` holds."""

    store: Target
    written: int
    deleted: int
    sha256: str


class EmptyWrite(AccessError):
    """Nothing is written and nothing deleted."""

    code = "invalid_write_input"
    number = 2003
    sentence = "Invalid input. Make sure you provide at least one write, or at least one delete"


class DuplicateTuple(AccessError):
    """One request names a tuple twice."""

    code = "cannot_allow_duplicate_tuples_in_one_request"
    number = 2004


class WriteFailed(AccessError):
    """A tuple to write is there already, or one to delete is not."""

    code = "write_failed_due_to_invalid_input"
    number = 2017


class ConditionConflict(AlreadyDone):
    """A tuple to write is there, under another condition: neither a duplicate nor new."""

    code = "Aborted"


async def write_tuples(w: WriteSet, reads: Reads, store: str, plan: Plan, edit: Edit, at_ms: int) -> None:
    """Write and delete tuples of a store, all or none; deletes come first.

    Raises:
        EmptyWrite, LimitExceeded, DuplicateTuple: of the request by itself.
        AccessError: `validation_error`, for a tuple that the model does not admit.
        WriteFailed: one is there already, or is not there, and that was not to be ignored.
        ConditionConflict: one is there under another condition.
        Conflict: somebody else was faster; read again.
    """
    check_edit(plan, edit)
    rows = await reads.all(TUPLES_AMONG, store=store, rows=rows_json((*edit.writes, *edit.deletes)))
    there = {_bare(key): key for key in map(key_of, rows)}
    writes = [one for one in edit.writes if _is_new(one, there, edit)]
    deletes = [there[_bare(one)] for one in edit.deletes if _is_there(one, there, edit)]
    if deletes:
        rows = rows_json(deletes)
        w.write(REQUIRE_TUPLES, Conflict, store=store, rows=rows, count=len(deletes))
        w.write(DELETE_TUPLES, Conflict, store=store, rows=rows, count=len(deletes))
        w.write_settled(NOTE_CHANGES, store=store, rows=rows, added=0)
    if writes:
        rows = rows_json(writes)
        w.write(WRITE_TUPLES, store=store, rows=rows, at=at_ms)
        w.write_settled(NOTE_CHANGES, store=store, rows=rows, added=1)
    if deletes or writes:
        w.record(TuplesChanged(store, len(writes), len(deletes), _digest(edit)))


def check_edit(plan: Plan, edit: Edit) -> None:
    """Refuse a request by itself, whatever is stored.

    Raises:
        EmptyWrite, LimitExceeded, DuplicateTuple, AccessError: see `write_tuples`.
    """
    if not edit.writes and not edit.deletes:
        raise EmptyWrite
    for one in edit.writes:
        _admit(plan, one)
    for key in edit.deletes:
        _check_form(key)
    seen: set[TupleKey] = set()
    for key in (*edit.deletes, *edit.writes):
        if _bare(key) in seen:
            raise DuplicateTuple(f"duplicate tuple in write: {_said(key)}")
        seen.add(_bare(key))
    if len(seen) > WRITE_MAX_TUPLES:
        raise LimitExceeded(f"The number of write operations exceeds the allowed limit of {WRITE_MAX_TUPLES}")


def rows_json(tuples: Iterable[TupleKey]) -> str:
    """Tuples as the statements take them."""
    return msgspec.json.encode([_row(one) for one in tuples]).decode()


def key_of(row: TupleRow | ChangeRow) -> TupleKey:
    """The tuple of a row."""
    condition = RelationshipCondition(row.condition, row.context) if row.condition else None
    return TupleKey(row.subject, row.relation, row.object, condition)


def _row(key: TupleKey) -> tuple[str, str, str, str, str, str]:
    type_, _, id_ = key.object.partition(":")
    condition = key.condition or _ALWAYS
    return (type_, id_, key.relation, key.user, condition.name, condition.context)


_ALWAYS = RelationshipCondition("", "")


def _bare(key: TupleKey) -> TupleKey:
    """What there is one of, whatever its condition."""
    return TupleKey(key.user, key.relation, key.object)


def _admit(plan: Plan, key: TupleKey) -> None:
    try:
        plan.vocabulary.admit(key)
    except AccessError as error:
        raise AccessError(error.message, hint=error.hint) from error
    if key.user == f"{key.object}#{key.relation}":
        raise AccessError(f"Invalid tuple '{key}'. Reason: cannot write a tuple that is implicit")


def _check_form(key: TupleKey) -> None:
    """One that an older model admitted can be deleted, too: only its form is looked at."""
    try:
        read_subject(key.user)
        read_object(key.object)
    except AccessError as error:
        raise AccessError(f"Invalid tuple '{key}'. Reason: {error.message}") from error


def _is_new(key: TupleKey, there: dict[TupleKey, TupleKey], edit: Edit) -> bool:
    known = there.get(_bare(key))
    if known is None:
        return True
    if edit.on_duplicate == "error":
        raise WriteFailed(f"cannot write a tuple which already exists: {_said(key)}: {_WRITE_FAILED}")
    if known != key:
        raise ConditionConflict(f"tuple to be written exists with another condition: {_said(key)}")
    return False


def _is_there(key: TupleKey, there: dict[TupleKey, TupleKey], edit: Edit) -> bool:
    if _bare(key) in there:
        return True
    if edit.on_missing == "error":
        raise WriteFailed(f"cannot delete a tuple which does not exist: {_said(key)}: {_WRITE_FAILED}")
    return False


_WRITE_FAILED = "tuple to be written already existed or the tuple to be deleted did not exist"


def _said(key: TupleKey) -> str:
    return f"user: '{key.user}', relation: '{key.relation}', object: '{key.object}'"


def _digest(edit: Edit) -> str:
    return hashlib.sha256(msgspec.json.encode([edit.writes, edit.deletes])).hexdigest()
