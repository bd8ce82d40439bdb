"""From a write set to the program that the store runs: the order in which locks, guards, state, revision, leaves and cuts come.

Rows are written first and the organization's head is locked last, so that the lock is held only through the flush; the platform's
comes before the tenant's. Under the lock the revision is taken, and the actor's own credential is checked once more before its own
set cuts anything.
"""

from tenantry.core.errors import Conflict, Ended, NoOrganization
from tenantry.core.ids import PLATFORM
from tenantry.core.principal import Principal
from tenantry.journal import schema
from tenantry.journal.batching import SHARED
from tenantry.journal.event import Origin, Setting, leaf
from tenantry.journal.writeset import WriteSet
from tenantry.store import Kind, Outcome, Program, Step


def compose(w: WriteSet, actor: Principal, origin: Origin, at_ms: int, *, dialect: str, role: str = "app") -> Program:
    """The program of a write set on a database. A small one of `app` may share a transaction on PostgreSQL.

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
    steps += _expected(parts)
    settled = _settled_at_once if dialect == "postgres" else _settled_one_by_one
    for part in parts:
        if _needs_head(part):
            counterpart = next((other.org for other in parts if other is not part), "")
            steps += settled(part, Setting(part.org, actor, at_ms, origin, counterpart))
    steps += _guards(actor)
    for part in parts:
        steps += part.settled
        steps += [Step(part.org, schema.CUT, {"id": branch}) for branch in part.cuts]
        steps += [Step(part.org, schema.DESTROY, {"subject": subject, "at": at_ms}) for subject in part.destroyed]
    if dialect == "postgres" and role == "app" and SHARED.takes(w, parts):
        return SHARED.program(w, actor, steps)
    return Program(w.org, steps, role, cuts=any(part.cuts for part in parts))


def settle(w: WriteSet, program: Program, outcome: Outcome) -> None:
    """Give the set its revision."""
    returning = (step for step in program.steps if step.statement.returns)
    for step, made in zip(returning, outcome.made, strict=True):
        if step.statement.table is schema.CHANGELOG and made is not None:
            part = w if step.org == w.org or w.platform is None else w.platform
            part.revision = made


def _needs_head(part: WriteSet) -> bool:
    """Whether the organization must be there: not for what followers derive, which may outlive it."""
    return bool(part.events) or part.expected is not None or part.changes_state() or Kind.EPHEMERAL in part.kinds


def _expected(parts: list[WriteSet]) -> list[Step]:
    """Locks and guards of a set that expects a revision: the lock first, or the revision could move on behind its guard."""
    expecting = [part for part in parts if part.expected is not None]
    if not expecting:
        return []
    return [Step(part.org, schema.LOCK_HEAD, {}, NoOrganization) for part in parts if _needs_head(part)] + [
        Step(part.org, schema.GUARD_REVISION, {"rev": part.expected}, Conflict) for part in expecting
    ]


def _guards(actor: Principal) -> list[Step]:
    lineage = actor.lineage
    if lineage is None:
        return []
    args = {"incarnation": lineage.incarnation, "path": list(lineage.path), "rev": lineage.rev}
    steps = [Step(actor.org, schema.GUARD_PATH, args, Ended)]
    if lineage.platform_path:
        args = {**args, "path": list(lineage.platform_path), "rev": lineage.platform_rev}
        steps.append(Step(PLATFORM, schema.GUARD_PATH, args, Ended))
    return steps


def _settled_at_once(part: WriteSet, setting: Setting) -> list[Step]:
    leaves = [leaf(event, setting) for event in part.events]
    args = {
        **_change(part, setting),
        "bodies": [made.body for made in leaves],
        "salts": [made.salt for made in leaves],
        "personals": [made.personal for made in leaves],
    }
    return [Step(part.org, schema.SETTLE, args, NoOrganization)]


def _settled_one_by_one(part: WriteSet, setting: Setting) -> list[Step]:
    into, steps = schema.LEAF_ONLY, []
    if part.changes_state():
        into, steps = schema.LEAF_OF_CHANGE, [Step(part.org, schema.CHANGE, _change(part, setting), NoOrganization)]
    elif not part.events:
        steps = [Step(part.org, schema.LOCK_HEAD, {}, NoOrganization)]
    for event in part.events:
        made = leaf(event, setting)
        args = {"body": made.body, "salt": made.salt, "personal": made.personal}
        steps.append(Step(part.org, into, args, NoOrganization))
    return steps


def _change(part: WriteSet, setting: Setting) -> dict[str, object]:
    """The changelog row; without `touched` there is none."""
    if not part.changes_state():
        return {"at": setting.at_ms, "touched": None, "cut": None}
    return {"at": setting.at_ms, "touched": part.touched_json(), "cut": schema.ids_json(part.cuts)}
