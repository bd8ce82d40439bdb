"""Sessions, grants and runs: the branches that this room keeps. Each is made below another, ends by itself or with what it descends from,
and never gives more time than that has.

A row is not the truth alone. What is cut above it ends it without touching it, so ask `standing` before anything rests on a branch.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from tenantry.core import canonical
from tenantry.core.errors import AlreadyDone, Conflict, Ended, NotFound
from tenantry.journal import Event, Reads, Target, Text, WriteSet
from tenantry.sessions.schema import ADD_BRANCH, BRANCH, CUTS_AMONG, END_BRANCH, Branch
from tenantry.sessions.tree import NoBranch, check_path, kind_of

KEPT = ("session", "grant", "run")
"""The kinds that this room keeps."""


class BranchMade(Event, tag="branch.made", frozen=True):
    """A session, grant or run began."""

    branch: Target
    kind: str
    parent: str
    principal: str
    ends_at_ms: int | None


class BranchEnded(Event, tag="branch.ended", frozen=True):
    """A session, grant or run ended, and everything below it."""

    branch: Target
    kind: str
    reason: Text


class AlreadyEnded(AlreadyDone):
    """It ended before."""

    sentence = "This has ended already."


class New(msgspec.Struct, frozen=True, kw_only=True):
    """A branch to be made.

    `above` is everything that it descends from, on both sides, as `tree` wants a path; `parent` and, of a run, the agent or job in
    `principal` stand in it. `rev` is the organization's revision, taken before what stands above was read: a cut after it ends the
    branch.
    """

    id: str
    parent: str
    principal: str
    above: tuple[str, ...]
    rev: int
    ends_at_ms: int | None = None
    detail: Mapping[str, Any] = {}


async def make(w: WriteSet, reads: Reads, new: New, now_ms: int) -> Branch:
    """Begin a session, grant or run. It ends with whatever above it ends first. Not checked here: that the principals above are active.

    Raises:
        NoBranch: its path is none of the tree, leaves out what a parent descends from, or nests runs too deeply.
        Ended: something above it has ended or was cut.
        Conflict: there is one of this id.
    """
    path = (*new.above, new.id)
    kind = kind_of(new.id)
    check_path(w.org, path)
    if kind.name not in KEPT:
        raise NoBranch(f"A {kind.name} is kept elsewhere.")
    if new.parent not in new.above or kind_of(new.parent).name not in kind.parents:
        raise NoBranch(f"A {kind.name} descends from {' or '.join(kind.parents)}.")
    if kind.name == "run" and kind_of(new.principal).name in ("agent", "job") and new.principal not in new.above:
        raise NoBranch("A run descends from what it is a run of.")
    ends_at_ms = await _end_above(reads, new, now_ms)
    branch = Branch(
        id=new.id,
        kind=kind.name,
        parent=new.parent,
        principal=new.principal,
        path_json=msgspec.json.encode(path).decode(),
        rev=new.rev,
        made_at_ms=now_ms,
        ends_at_ms=ends_at_ms,
        ended_at_ms=None,
        detail=canonical.encode(new.detail).decode(),
    )
    w.write(
        ADD_BRANCH,
        otherwise=Conflict,
        id=branch.id,
        kind=branch.kind,
        parent=branch.parent,
        principal=branch.principal,
        path=branch.path_json,
        rev=branch.rev,
        made_at=now_ms,
        ends_at=ends_at_ms,
        detail=branch.detail,
    )
    w.record(BranchMade(branch.id, branch.kind, branch.parent, branch.principal, ends_at_ms))
    return branch


async def standing(reads: Reads, branch: str, now_ms: int) -> Branch:
    """A branch that nothing has ended. Take the revision that a credential is to carry before asking.

    Raises:
        NotFound: this organization has no such branch.
        Ended: it, or something it descends from, has ended.
    """
    row = await reads.one(BRANCH, id=branch)
    cuts = await reads.all(CUTS_AMONG, ids=list(row.path))
    if not row.is_open(now_ms) or any(cut.rev > row.rev for cut in cuts):
        raise Ended
    return row


async def end(w: WriteSet, reads: Reads, branch: str, now_ms: int, reason: str = "") -> None:
    """End a session, grant or run, and everything below it.

    Raises:
        NotFound: this organization has no such branch.
        AlreadyEnded: it ended before.
    """
    row = await reads.one(BRANCH, id=branch)
    w.write(END_BRANCH, otherwise=AlreadyEnded, id=branch, ended_at=now_ms)
    w.cut(branch)
    w.record(BranchEnded(branch, row.kind, reason))


async def _end_above(reads: Reads, new: New, now_ms: int) -> int | None:
    """When a new branch ends: by what it asks, or before it by what stands above."""
    ends = [new.ends_at_ms]
    for above in new.above:
        if kind_of(above).name not in KEPT:
            continue
        try:
            row = await standing(reads, above, now_ms)
        except NotFound as error:
            raise NoBranch(f"There is no {above}.") from error
        if not set(row.path) <= set(new.above):
            raise NoBranch(f"The path leaves out what {above} descends from.")
        ends.append(row.ends_at_ms)
    known = [end for end in ends if end is not None]
    if known and min(known) <= now_ms:
        raise Ended
    return min(known, default=None)
