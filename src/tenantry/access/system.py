"""The store that every organization has for Tenantry's own questions: who owns it, who administers it, who may call which route.

Its model is `system.fga`, which ships with the release and can be read and tested; no interface writes it, so nobody can remove the last
way to repair it. Other rooms give and take relations here with `relate` and `unrelate`, in the write set of the change that they record.
"""

import functools
import hashlib
from importlib import resources

from tenantry.access.graph import Names
from tenantry.access.language import parse
from tenantry.access.plan import Plan, compile_model
from tenantry.access.schema import ADD_TUPLES, DELETE_TUPLES, KEEP_OWNER, NOTE_CHANGES
from tenantry.access.tuples import TupleKey
from tenantry.access.writing import rows_json
from tenantry.core.errors import Denied, NoOrganization
from tenantry.core.ids import ALPHABET, LENGTH
from tenantry.journal import Event, Target, WriteSet
from tenantry.journal.schema import LOCK_HEAD

SYSTEM_STORE = "store_" + "0" * LENGTH
"""Every organization has it, without a row."""

SYSTEM_APPLICATION = "app_" + "0" * LENGTH


ROLES = ("owner", "admin", "auditor", "member")
"""What somebody may be given on an organization."""


class RoleGiven(Event, tag="access.role_given", frozen=True):
    """Somebody was given a role on an object of the organization."""

    subject: Target
    role: str
    object: Target


class RoleTaken(Event, tag="access.role_taken", frozen=True):
    """Somebody's role on an object of the organization was taken."""

    subject: Target
    role: str
    object: Target


class LastOwner(Denied):
    """An organization keeps at least one owner."""

    code = "last_owner"
    sentence = "This is the last owner; make another one first."


@functools.cache
def system_text() -> str:
    """The model as it is shipped."""
    return resources.files("tenantry.access").joinpath("system.fga").read_text("utf-8")


@functools.cache
def system_model() -> str:
    """The id of the shipped model: another text has another."""
    number = int.from_bytes(hashlib.sha256(system_text().encode()).digest()[:16])
    return "model_" + "".join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


@functools.cache
def system_plan() -> Plan:
    """The shipped model, compiled; every organization's system graph shares its names."""
    parsed = parse(system_text())
    return compile_model(parsed.model, Names(), parsed.places)


def relate(w: WriteSet, object_: str, relation: str, subject: str) -> None:
    """`subject` has `relation` to `object_` from this set on; again changes nothing. The caller records what happened.

    Raises:
        InvalidTuple: the shipped model does not admit it.
    """
    _write(w, TupleKey(subject, relation, object_), added=True)


def unrelate(w: WriteSet, object_: str, relation: str, subject: str) -> None:
    """`subject` has no such relation from this set on, and may never have had. The caller records what happened.

    Raises:
        InvalidTuple: the shipped model does not admit such a tuple.
        LastOwner: the organization would be left without an owner; nothing of the set is written.
    """
    owns = (object_, relation) == (f"organization:{w.org}", "owner")
    if owns:
        w.lock(LOCK_HEAD, NoOrganization)  # two who take each other's must not both find the other's still there
    _write(w, TupleKey(subject, relation, object_), added=False)
    if owns:
        w.write(KEEP_OWNER, LastOwner, store=SYSTEM_STORE)


def give_role(w: WriteSet, object_: str, role: str, subject: str) -> None:
    """Give a role and record it; `object_` is an object of the organization, `organization:org_…` the whole of it.

    Raises:
        InvalidTuple: the shipped model does not admit it.
    """
    relate(w, object_, role, subject)
    w.record(RoleGiven(subject, role, object_))


def take_role(w: WriteSet, object_: str, role: str, subject: str) -> None:
    """Take a role and record it.

    Raises:
        InvalidTuple, LastOwner: as `unrelate`.
    """
    unrelate(w, object_, role, subject)
    w.record(RoleTaken(subject, role, object_))


def _write(w: WriteSet, key: TupleKey, *, added: bool) -> None:
    system_plan().vocabulary.admit(key)
    rows = rows_json([key])
    if added:
        w.write(ADD_TUPLES, store=SYSTEM_STORE, rows=rows, at=0)
    else:
        w.write(DELETE_TUPLES, store=SYSTEM_STORE, rows=rows, count=1)
    w.write_settled(NOTE_CHANGES, store=SYSTEM_STORE, rows=rows, added=int(added))
    w.touch(SYSTEM_STORE)
