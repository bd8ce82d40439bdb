"""One unbroken life of a deployment's data. A restore, a standby that lost commits or a copied database begins another, and whatever
was issued in the one before is refused.

At its start a node holds its mark (outside the database) against what the database says. A change it saw that is no longer there, a mark
of a later incarnation, another place (file, cluster or timeline) or another issuer each begin a new incarnation; every organization's log
goes on with `incarnation.begun`, which names the last head known and the reason:

| reason | the database |
|---|---|
| copied | is served under another issuer |
| rewound | went on from an earlier point of its cluster on another timeline: a standby promoted, a recovery to a point in time |
| restored | lacks what this node saw |
| moved | lacks nothing of that, but lies elsewhere, so that its original may still be served |

Running nodes notice another timeline or a newer incarnation at their next look (`Following`) and stop, so that they start again through
here. What is sent out waits in a new incarnation until an operator `confirm`s it; each node hears of it at its next look (`Pulse.held`).
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from tenantry.core import scopes
from tenantry.core.clock import Clock
from tenantry.core.errors import AlreadyDone, Unsafe
from tenantry.core.ids import PLATFORM, IdSource
from tenantry.core.limits import PAGE_ROWS
from tenantry.journal.duties import Duties, Duty
from tenantry.journal.event import Event, Target
from tenantry.journal.journal import Journal
from tenantry.journal.mark import Destruction, DestructionList, Mark, MarkFile, last_leaf, seen
from tenantry.journal.schema import (
    BEGIN_INCARNATION,
    CHANGES,
    CONFIRM_INCARNATION,
    CURSOR_OF,
    FOUND_DEPLOYMENT,
    MOVE_CURSOR,
    SETTLE_DEPLOYMENT,
)
from tenantry.store import Engine, Program, Step, Survey

DUTY = "incarnation"

_KNOWN = (
    "SELECT d.id, d.issuer, d.place, i.number, i.id FROM deployment d, incarnations i ORDER BY i.number DESC LIMIT 1"
)
KNOWN = Survey("deployment", _KNOWN, role="app")
_UNTOLD = """
SELECT h.org, coalesce((SELECT max(rev) FROM changelog c WHERE c.org = h.org), 0),
  coalesce((SELECT max(idx) + 1 FROM leaves l WHERE l.org = h.org), 0)
FROM heads h LEFT JOIN cursors k ON k.org = h.org AND k.follower = :follower WHERE k.org IS NULL
ORDER BY h.org = :platform, h.org LIMIT :most
"""
UNTOLD = Survey("untold", _UNTOLD, {"follower": str, "platform": str, "most": int}, role="worker")


class DeploymentFounded(Event, tag="deployment.founded", frozen=True):
    """The deployment began: the first leaf of the platform's log."""

    platform: Target
    issuer: str


class IncarnationBegun(Event, tag="incarnation.begun", frozen=True):
    """The data of this deployment began a new life; what was issued before is refused."""

    incarnation: Target
    number: int
    reason: str
    last_revision: int
    last_leaves: int
    seen_revision: int


class IncarnationConfirmed(Event, tag="incarnation.confirmed", frozen=True):
    """An operator said that this life is the right one: what waited to be sent out is sent."""

    incarnation: Target
    number: int


class Incarnation(msgspec.Struct, frozen=True):
    """The life that the deployment is in, and the mark this node now keeps. `begun_now`: why this check-in began it, if it did."""

    deployment: str
    number: int
    id: str
    mark: Mark
    begun_now: str = ""


class _Known(msgspec.Struct, frozen=True):
    deployment: str
    issuer: str
    place: str
    number: int
    id: str


class AnotherNodeBegan(AlreadyDone):
    """Another node found the same thing first; its incarnation counts."""

    sentence = "Another node began the incarnation."


class NothingHeld(AlreadyDone):
    """The incarnation was confirmed already, or is the first."""

    sentence = "Nothing waits for an operator's word."


Destroy = Callable[[Destruction], Awaitable[None]]


async def found(engine: Engine, ids: IdSource, clock: Clock, issuer: str) -> bool:
    """Make a fresh database a deployment with its first incarnation; `False` if it is one already."""
    if await engine.survey(KNOWN):
        return False
    place, now = await engine.place(), clock.now_ms()
    args = {"number": 1, "id": ids.new("incarnation"), "at": now, "reason": "founded", "confirmed": now}
    steps = [
        Step(
            "", FOUND_DEPLOYMENT, {"id": ids.new("deployment"), "issuer": issuer, "place": place.text}, AnotherNodeBegan
        ),
        Step("", BEGIN_INCARNATION, args, AnotherNodeBegan),
    ]
    await engine.run(Program("", steps, "worker"))
    return True


async def join(engine: Engine, folder: Path) -> None:
    """Give this node a mark, on an operator's word that the database is the current one."""
    known = await _known(engine)
    MarkFile(folder).write(Mark(known.deployment, known.number))


async def check_in(
    engine: Engine,
    journal: Journal,
    duties: Duties,
    ids: IdSource,
    clock: Clock,
    folder: Path,
    issuer: str,
    destroy: Destroy,
) -> Incarnation:
    """What a node does before it answers anybody: find out whether the database is the one it knew.

    `destroy` erases what the destruction list names; it is called for each entry before this node's mark enters a new incarnation, whoever
    began that: the lists of two nodes may differ, and a crash in the middle is made good by the next start.

    Raises:
        Unsafe: this node never joined this deployment, its mark is of another one, or its destruction list cannot be read.
        NotOurs: another node is just beginning an incarnation; try again.
    """
    known, mark, reason = await _held_against(engine, folder, issuer)
    erased = DestructionList(folder).read()
    if reason:
        known = await _begin(engine, duties, ids, clock, known, mark, issuer, reason)
    if mark.incarnation != known.number:
        for entry in erased:
            await destroy(entry)
    if known.number > 1 and not await engine.survey(CURSOR_OF, follower=_teller(known), org=PLATFORM):
        duty = await duties.take(DUTY)
        await _tell(engine, journal, duty, known, mark)
        await duties.release(duty)
    mark = Mark(known.deployment, known.number) if reason else msgspec.structs.replace(mark, incarnation=known.number)
    MarkFile(folder).write(mark)
    return Incarnation(known.deployment, known.number, known.id, mark, reason)


async def confirm(engine: Engine, journal: Journal, duties: Duties, clock: Clock) -> int:
    """An operator's word that the newest incarnation is the right one, so that what waits is sent; gives its number.

    Raises:
        NothingHeld: it was confirmed before, or is the first.
        NotOurs: a node is just beginning an incarnation; try again.
    """
    duty = await duties.take(DUTY)
    try:
        known = await _known(engine)
        async with journal.begin_duty(scopes.of_platform(), duty) as w:
            w.write(CONFIRM_INCARNATION, NothingHeld, at=clock.now_ms(), number=known.number)
            w.record(IncarnationConfirmed(known.id, known.number))
    finally:
        await duties.release(duty)
    return known.number


async def foresee(engine: Engine, folder: Path, issuer: str) -> str:
    """Why the next check-in of this node would begin a new incarnation; empty if it would not. Changes nothing.

    Raises:
        Unsafe: this node never joined this deployment, or its mark is of another one.
    """
    return (await _held_against(engine, folder, issuer))[2]


async def _held_against(engine: Engine, folder: Path, issuer: str) -> tuple[_Known, Mark, str]:
    """The database, this node's mark of it, and why they are not of one life."""
    known, mark = await _known(engine), MarkFile(folder).read()
    if mark is None:
        raise Unsafe("This node has never seen this database.", hint="Run `tenantry init` to join it.")
    if mark.deployment != known.deployment:
        raise Unsafe(
            "This node belongs to another deployment than its database.",
            hint="Use an empty state directory and `tenantry init`.",
        )
    return known, mark, await _reason(engine, known, mark, issuer)


async def _known(engine: Engine) -> _Known:
    rows = await engine.survey(KNOWN)
    if not rows:
        raise Unsafe("The database holds no deployment.", hint="Run `tenantry init`.")
    return _Known(*rows[0])


async def _reason(engine: Engine, known: _Known, mark: Mark, issuer: str) -> str:
    """Why a new incarnation must begin; empty if the database is the one this node knew."""
    if issuer != known.issuer:
        return "copied"
    place, was = await engine.place(), known.place
    lost = mark.incarnation > known.number or (mark.incarnation == known.number and not await _all_there(engine, mark))
    if place.text == was:
        return "restored" if lost else ""
    if place.another_timeline_of(was):
        return "rewound" if lost or not place.synchronous else ""
    return "restored" if lost else "moved"


async def _all_there(engine: Engine, mark: Mark) -> bool:
    """Whether the newest changes and leaves this node saw are what the database holds."""
    for expected in mark.newest:
        rows = await engine.read(CHANGES, expected.org, {"after": expected.rev - 1, "most": 1})
        if not rows or seen(rows[0]) != expected:
            return False
    for grown in mark.grown:
        if await last_leaf(engine, grown.org, grown.leaves) != grown:
            return False
    return True


async def _begin(
    engine: Engine, duties: Duties, ids: IdSource, clock: Clock, known: _Known, mark: Mark, issuer: str, reason: str
) -> _Known:
    duty = await duties.take(DUTY)
    number = max(known.number, mark.incarnation) + 1
    fresh = _Known(known.deployment, issuer, (await engine.place()).text, number, ids.new("incarnation"))
    args = {"number": number, "id": fresh.id, "at": clock.now_ms(), "reason": reason, "confirmed": None}
    steps = [
        duty.step(),
        Step("", BEGIN_INCARNATION, args, AnotherNodeBegan),
        Step("", SETTLE_DEPLOYMENT, {"issuer": issuer, "place": fresh.place}),
    ]
    await engine.run(Program("", steps, "worker"))
    return fresh


def _teller(known: _Known) -> str:
    """The follower whose cursors say which logs were told of an incarnation."""
    return f"incarnation:{known.number}"


async def _tell(engine: Engine, journal: Journal, duty: Duty, known: _Known, mark: Mark) -> None:
    """Continue every log with `incarnation.begun`; a crash in the middle is made good by the next start.

    The platform's is told last, and says that all were: organizations that come later began in this life.
    """
    name = _teller(known)
    reason = (await engine.survey(_REASON, number=known.number))[0][0]
    while rows := await engine.survey(UNTOLD, follower=name, platform=PLATFORM, most=PAGE_ROWS):
        for org, rev, leaves in rows:
            seen_rev = max((s.rev for s in mark.newest if s.org == org), default=0)
            async with journal.begin_duty(scopes.of_job(org), duty) as w:
                w.write(MOVE_CURSOR, AnotherNodeBegan, follower=name, rev=rev, leaf=leaves, from_rev=0, from_leaf=0)
                w.touch(known.id)
                w.record(IncarnationBegun(known.id, known.number, reason, rev, leaves, seen_rev))


_REASON = Survey(
    "incarnation_reason",
    "SELECT reason FROM incarnations WHERE number = :number",
    {"number": int},
    role="app",
)
