"""Roles in an organization: relations of the system store, given to a principal or to a group's members.

What a role allows is the engine's to decide, over the shipped model.
"""

from tenantry.access import system
from tenantry.access.schema import TUPLES_OF_OBJECT
from tenantry.access.system import SYSTEM_STORE
from tenantry.core.errors import NotFound
from tenantry.journal import Reads, WriteSet
from tenantry.organizations import parties
from tenantry.organizations.parties import PartyKind

OWNER = "owner"

_HOLDERS = {
    "user": (PartyKind.USER, "user:{}"),
    "group": (PartyKind.GROUP, "group:{}#member"),
    "agent": (PartyKind.AGENT, "agent:{}"),
    "service": (PartyKind.SERVICE, "service:{}"),
    "mcp": (PartyKind.MCP_SERVER, "mcp_server:{}"),
    "job": (PartyKind.JOB, "job:{}"),
}
"""By the prefix of its id: what a holder is, and how tuples name it."""


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
    kind, form = _holder(holder_id)
    parties.refer_active(w, holder_id, kind)
    system.give_role(w, f"organization:{w.org}", role, form.format(holder_id))


def take(w: WriteSet, role: str, holder_id: str) -> None:
    """Take a role in the organization; taking what was not given changes nothing.

    Raises:
        InvalidTuple: this kind of holder cannot have the role.

    Raises, when the set is sent:
        LastOwner: the organization would have no active owner.
    """
    system.take_role(w, f"organization:{w.org}", role, subject_of(holder_id))
    if role == OWNER:
        parties.keep_active_owner(w)


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


def _holder(party_id: str) -> tuple[PartyKind, str]:
    known = _HOLDERS.get(party_id.partition("_")[0])
    if known is None:
        raise NotFound
    return known
