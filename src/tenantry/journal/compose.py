"""From a write set to the program that the store runs: the order in which locks, guards, state, revision, cuts and leaves come.

Rows are written first and the organization's head is locked last, so that the lock is held only through the flush; the platform's
comes before the tenant's. Under the lock the actor's own credential is checked once more, then the revision is taken.
"""

from tenantry.core.errors import Conflict, Ended, NoOrganization
from tenantry.core.ids import PLATFORM
from tenantry.core.principal import Principal
from tenantry.journal import schema
from tenantry.journal.batching import SHARED
from tenantry.journal.event import Origin, Setting, leaf
from tenantry.journal.writeset import WriteSet
from tenantry.store import Outcome, Program, Step


def compose(
    w: WriteSet, actor: Principal, origin: Origin, at_ms: int, *, role: str = "app", shared: bool = False
) -> Program:
    """The program of a write set. `shared` lets it share a transaction where nothing in it forbids that.

    Raises:
        Misuse: state changes without an event.
        TooLarge, NotCanonical: an event cannot be a leaf.
    """
    parts = [part for part in (w.platform, w) if part is not None and not part.is_empty()]
    for part in parts:
        part.refuse_silent()
        if role == "app":
            part.refuse_derived()
    steps = [Step(part.org, schema.OPEN_LOG, {}) for part in parts if part.opens]
    steps += [step for part in parts for step in part.locks]
    steps += [step for part in parts for step in part.steps]
    steps += [Step(part.org, schema.LOCK_HEAD, {}, NoOrganization) for part in parts if _needs_head(part)]
    steps += _guards(parts, actor)
    for part in parts:
        counterpart = next((other.org for other in parts if other is not part), "")
        steps += _journal_steps(part, Setting(part.org, actor, at_ms, origin, counterpart))
    if shared and role == "app" and SHARED.takes(w, parts):
        return SHARED.program(w, actor, steps)
    return Program(w.org, steps, role)


def settle(w: WriteSet, program: Program, outcome: Outcome) -> None:
    """Give the set its revision and the rows it asked for."""
    returning = (step for step in program.steps if step.statement.returns)
    for step, rows in zip(returning, outcome.rows, strict=True):
        part = w if step.org == w.org or w.platform is None else w.platform
        if step.statement is schema.CHANGE:
            part.revision = rows[0][0]
        elif step.statement.table is not schema.LEAVES:
            part.rows.append(rows)


def _needs_head(part: WriteSet) -> bool:
    return bool(part.events) or part.changes_state() or part.expected is not None


def _guards(parts: list[WriteSet], actor: Principal) -> list[Step]:
    steps = [
        Step(part.org, schema.GUARD_REVISION, {"rev": part.expected}, Conflict)
        for part in parts
        if part.expected is not None
    ]
    lineage = actor.lineage
    if lineage is None:
        return steps
    args = {"incarnation": lineage.incarnation, "path": list(lineage.path), "rev": lineage.rev}
    steps.append(Step(actor.org, schema.GUARD_PATH, args, Ended))
    if lineage.platform_path:
        args = {**args, "path": list(lineage.platform_path), "rev": lineage.platform_rev}
        steps.append(Step(PLATFORM, schema.GUARD_PATH, args, Ended))
    return steps


def _journal_steps(part: WriteSet, setting: Setting) -> list[Step]:
    org, steps = part.org, []
    changes = part.changes_state()
    if changes:
        told = {"at": setting.at_ms, "touched": part.touched_json(), "cut": schema.ids_json(part.cuts)}
        steps.append(Step(org, schema.CHANGE, told))
        steps += [Step(org, schema.CUT, {"id": branch}) for branch in part.cuts]
    into = schema.LEAF_OF_CHANGE if changes else schema.LEAF_ONLY
    for event in part.events:
        made = leaf(event, setting)
        steps.append(Step(org, into, {"body": made.body, "salt": made.salt, "personal": made.personal}))
    steps += [Step(org, schema.DESTROY, {"subject": subject, "at": setting.at_ms}) for subject in part.destroyed]
    return steps
