"""Invitations: whoever holds the secret that went to an address may become a user, once, until it expires.

The secret is shown once, by whoever invites; only its digest is kept. An invitation dies with whoever gave it.
"""

import msgspec

from tenantry.core.errors import AlreadyDone, Invalid, NotFound
from tenantry.core.secrets import Secret
from tenantry.journal import Event, Personal, Reads, Target, WriteSet
from tenantry.organizations import parties, roles, users
from tenantry.organizations.part import PAGE_ARGS, Part
from tenantry.organizations.parties import PartyKind
from tenantry.organizations.users import Known, Profile
from tenantry.store import Kind, Read, Statement, Table

INVITATIONS = Table("invitations", Kind.STATE)
INVITERS = (PartyKind.USER, PartyKind.SERVICE)
LIFE_MAX_MS = 30 * 24 * 3_600_000
"""An invitation lives at most 30 days."""


class Invitation(msgspec.Struct, frozen=True):
    """An invitation. `user_id` is who it became, `email` is empty once nobody can use it any more."""

    id: str
    email: str
    role: str
    inviter_id: str
    status: str
    made_at_ms: int
    ends_at_ms: int
    user_id: str | None


INVITE = Statement(
    "organizations_invite",
    INVITATIONS,
    "INSERT INTO invitations (org, id, digest, email, role, inviter_id, status, made_at, ends_at) "
    "VALUES (:org, :id, :digest, :email, :role, :inviter_id, 'open', :made_at, :ends_at)",
    {"id": str, "digest": str, "email": str, "role": str, "inviter_id": str, "made_at": int, "ends_at": int},
)
SPEND = Statement(
    "organizations_spend_invitation",
    INVITATIONS,
    "UPDATE invitations SET status = 'accepted', user_id = :user_id, email = '' "
    "WHERE org = :org AND id = :id AND status = 'open' AND ends_at > :now "
    "AND EXISTS (SELECT 1 FROM parties p WHERE p.org = :org AND p.id = inviter_id AND p.status = 'active')",
    {"id": str, "user_id": str, "now": int},
)
WITHDRAW = Statement(
    "organizations_withdraw_invitation",
    INVITATIONS,
    "UPDATE invitations SET status = 'withdrawn', email = '' WHERE org = :org AND id = :id AND status = 'open'",
    {"id": str},
)
DELETE_INVITATIONS = Statement(
    "organizations_delete_invitations", INVITATIONS, "DELETE FROM invitations WHERE org = :org", {}
)
_COLUMNS = "id, email, role, inviter_id, status, made_at, ends_at, user_id"
INVITATION = Read(
    "organizations_invitation",
    Invitation,
    f"SELECT {_COLUMNS} FROM invitations WHERE org = :org AND id = :id",  # noqa: S608
    {"id": str},
)
INVITATION_OF = Read(
    "organizations_invitation_of",
    Invitation,
    f"SELECT {_COLUMNS} FROM invitations WHERE org = :org AND digest = :digest",  # noqa: S608
    {"digest": str},
)
INVITATIONS_PAGE = Read(
    "organizations_invitations",
    Invitation,
    f"SELECT {_COLUMNS} FROM invitations WHERE org = :org AND id > :after ORDER BY id LIMIT :most",  # noqa: S608
    PAGE_ARGS,
)

PART = Part(
    tables=(INVITATIONS,),
    statements=(INVITE, SPEND, WITHDRAW, DELETE_INVITATIONS),
    reads=(INVITATION, INVITATION_OF, INVITATIONS_PAGE),
    ddl="""
CREATE TABLE invitations (
    org text NOT NULL, id text NOT NULL, digest text NOT NULL, email text NOT NULL, role text NOT NULL, inviter_id text NOT NULL,
    status text NOT NULL, made_at {int} NOT NULL, ends_at {int} NOT NULL, user_id text, PRIMARY KEY (org, id), UNIQUE (org, digest),
    FOREIGN KEY (org, inviter_id) REFERENCES parties (org, id), FOREIGN KEY (org, user_id) REFERENCES parties (org, id)) {strict};
""",
)


class UserInvited(Event, tag="invitation.sent", frozen=True):
    """Somebody was invited to the organization, with a role or none."""

    invitation: Target
    role: str
    ends_at_ms: int
    email: Personal


class InvitationAccepted(Event, tag="invitation.accepted", frozen=True):
    """An invitation was spent: whoever held its secret became this user."""

    invitation: Target
    user: Target


class InvitationWithdrawn(Event, tag="invitation.withdrawn", frozen=True):
    """An invitation was taken back before anybody used it."""

    invitation: Target


class NotOpen(AlreadyDone):
    """The invitation was spent, withdrawn, has expired, or whoever gave it has lost access."""

    code = "invitation_closed"
    sentence = "This invitation is no longer open."


def invite(
    w: WriteSet, invitation_id: str, inviter_id: str, email: str, role: str, *, now_ms: int, ends_at_ms: int
) -> Secret:
    """Invite whoever reads the mail of an address; gives the secret, which is not kept.

    Raises:
        Invalid: this is no address, or the end is not within `LIFE_MAX_MS` from now.
    """
    Profile(email, "")
    if not now_ms < ends_at_ms <= now_ms + LIFE_MAX_MS:
        raise Invalid("An invitation ends in the future, within 30 days.")
    secret = Secret.issue(w.org)
    parties.refer_active(w, inviter_id, *INVITERS)
    w.write(
        INVITE,
        id=invitation_id,
        digest=secret.digest().hex(),
        email=email,
        role=role,
        inviter_id=inviter_id,
        made_at=now_ms,
        ends_at=ends_at_ms,
    )
    w.record(UserInvited(invitation_id, role, ends_at_ms, email))
    return secret


async def named_by(reads: Reads, secret: Secret) -> Invitation:
    """The invitation of a secret, whatever became of it.

    Raises:
        NotFound: it is no invitation of this organization.
    """
    return await reads.one(INVITATION_OF, NotFound, digest=secret.digest().hex())


def accept(w: WriteSet, invitation: Invitation, user_id: str, display_name: str, now_ms: int, known: Known) -> None:
    """Whoever holds the secret becomes a user, once. It gets the role it was invited to, if whoever invited may still give it.

    Raises, when the set is sent:
        NotOpen: it was spent or withdrawn, it has expired, or its giver is not active, or for one with a role an owner no more.
        AlreadyUser: the account, or the connection's subject, is a user here.
    """
    users.add(w, user_id, Profile(invitation.email, display_name), now_ms, known)
    w.write(SPEND, NotOpen, id=invitation.id, user_id=user_id, now=now_ms)
    w.record(InvitationAccepted(invitation.id, user_id))
    if invitation.role:
        roles.refuse_unless_owner(w, invitation.inviter_id, NotOpen)
        roles.give(w, invitation.role, user_id)


async def withdraw(w: WriteSet, reads: Reads, invitation_id: str) -> None:
    """Take an invitation back. `NotOpen`, when the set is sent: it was used, or withdrawn before."""
    await reads.one(INVITATION, id=invitation_id)
    w.write(WITHDRAW, NotOpen, id=invitation_id)
    w.record(InvitationWithdrawn(invitation_id))
