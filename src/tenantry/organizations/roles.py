"""Roles in an organization: relations of the system store, given to a principal or to a group's members.

What a role allows is the engine's to decide, over the shipped model.
"""

from tenantry.access import system
from tenantry.access.schema import TUPLES, TUPLES_OF_OBJECT
from tenantry.access.system import SYSTEM_STORE
from tenantry.core.errors import Denied, NotFound, TenantryError
from tenantry.core.principal import Principal
from tenantry.journal import Reads, WriteSet
from tenantry.organizations import parties
from tenantry.organizations.part import PAGE_MAX, Part
from tenantry.organizations.parties import PartyKind
from tenantry.store import Statement

OWNER = "owner"
_FROM_THE_FIRST = {"after_type": "", "after_id": "", "after_relation": "", "after_subject": ""}

IS_OWNER = Statement(
    "organizations_is_owner",
    TUPLES,
    "SELECT 1 FROM access_tuples t WHERE t.org = :org AND t.store = :store AND t.type = 'organization' AND t.id = :org "
    "AND t.relation = 'owner' AND t.subject = :subject",
    {"store": str, "subject": str},
)
_HAS = (
    "EXISTS (SELECT 1 FROM access_tuples t WHERE t.org = :org AND t.store = :store AND t.type = 'organization' AND t.id = :org "
    "AND t.subject = "
)
MAY_SPEAK_FOR = Statement(
    "organizations_may_speak_for",
    TUPLES,
    f"SELECT 1 WHERE NOT {_HAS}:subject AND t.relation IN ('owner', 'auditor')) OR {_HAS}:caller AND t.relation = 'owner')",
    {"store": str, "subject": str, "caller": str},
)
"""Whether the subject has nothing that an admin has not, or the caller is an owner."""
PART = Part(tables=(), statements=(IS_OWNER, MAY_SPEAK_FOR), reads=(), ddl="")

_HOLDERS = {
    "user": (PartyKind.USER, "user:{}"),
    "group": (PartyKind.GROUP, "group:{}#member"),
    "agent": (PartyKind.AGENT, "agent:{}"),
    "service": (PartyKind.SERVICE, "service:{}"),
    "mcp": (PartyKind.MCP_SERVER, "mcp_server:{}"),
    "job": (PartyKind.JOB, "job:{}"),
}
"""By the prefix of its id: what a holder is, and how tuples name it."""

_GIVE_ROLES = ("entry", "console")
"""By the prefix of its id: who may give roles besides owners."""


class MoreThanYours(Denied):
    """Owners alone give roles, so they alone give others the key, or the place, of one who has an owner's or an auditor's."""

    code = "more_than_yours"
    sentence = "This one has a role that only an owner gives; ask an owner."


def subject_of(party_id: str) -> str:
    """How tuples name a principal, or a group's members.

    Raises:
        NotFound: nothing that could hold a role has such an id.
    """
    _, form = _holder(party_id)
    return form.format(party_id)


def give(w: WriteSet, role: str, holder_id: str) -> None:
    """Give a role in the organization; again changes nothing.

    Raises:
        InvalidTuple: this kind of holder cannot have the role.

    Raises, when the set is sent:
        NotFound: the organization has no such holder. NotActive.
    """
    give_on(w, f"organization:{w.org}", role, holder_id)


def give_on(w: WriteSet, object_: str, role: str, holder_id: str) -> None:
    """Give a role on one object of the organization: an application, or a store.

    Not checked here: that it is the organization's.

    Raises: as `give`.
    """
    kind, form = _holder(holder_id)
    parties.refer_active(w, holder_id, kind)
    system.give_role(w, object_, role, form.format(holder_id))


async def take_on(w: WriteSet, reads: Reads, object_: str, role: str, holder_id: str) -> None:
    """Take a role on one object.

    Raises:
        NotFound: it was not given.
    """
    if role not in await _held(reads, subject_of(holder_id), object_):
        raise NotFound
    system.take_role(w, object_, role, subject_of(holder_id))


async def take(w: WriteSet, reads: Reads, role: str, holder_id: str) -> None:
    """Take a role in the organization.

    Raises:
        NotFound: it was not given.

    Raises, when the set is sent:
        LastOwner: the organization would have no active owner.
    """
    await take_on(w, reads, f"organization:{w.org}", role, holder_id)
    if role == OWNER:
        parties.keep_active_owner(w)


def refuse_unless_owner(w: WriteSet, holder_id: str, otherwise: type[TenantryError]) -> None:
    """Refuse what `w` does unless this one is an owner of the organization when it is written: owners alone give roles."""
    w.write(IS_OWNER, otherwise, store=SYSTEM_STORE, subject=subject_of(holder_id))


def refuse_to_rise(w: WriteSet, caller: Principal, holder_id: str) -> None:
    """Refuse what `w` does if it lets somebody act as a principal, or a group's member, that is more than an admin; owners may.

    Raises, when the set is sent:
        MoreThanYours: the holder is an owner or auditor, and the caller is no owner.
    """
    if caller.id.partition("_")[0] not in _GIVE_ROLES:
        subjects = {"subject": subject_of(holder_id), "caller": subject_of(caller.id)}
        w.write(MAY_SPEAK_FOR, MoreThanYours, store=SYSTEM_STORE, **subjects)


async def take_all(w: WriteSet, reads: Reads, holder_id: str) -> None:
    """Take every role in the organization from whoever is being removed."""
    for role in await _held(reads, subject_of(holder_id), f"organization:{w.org}"):
        system.take_role(w, f"organization:{w.org}", role, subject_of(holder_id))


async def holders(reads: Reads, role: str, after: str, most: int) -> list[str]:
    """The subjects that have a role in the organization, in the order of their text, after one of them."""
    rows = await reads.all(
        TUPLES_OF_OBJECT,
        store=SYSTEM_STORE,
        type="organization",
        id=reads.org,
        relation=role,
        subject="",
        after_type="organization" if after else "",
        after_id=reads.org if after else "",
        after_relation=role if after else "",
        after_subject=after,
        most=most,
    )
    return [row.subject for row in rows]


async def _held(reads: Reads, subject: str, object_: str) -> set[str]:
    type_, _, id_ = object_.partition(":")
    rows = await reads.all(
        TUPLES_OF_OBJECT,
        store=SYSTEM_STORE,
        type=type_,
        id=id_,
        relation="",
        subject=subject,
        **_FROM_THE_FIRST,
        most=PAGE_MAX,
    )
    return {row.relation for row in rows}


def _holder(party_id: str) -> tuple[PartyKind, str]:
    known = _HOLDERS.get(party_id.partition("_")[0])
    if known is None:
        raise NotFound
    return known
