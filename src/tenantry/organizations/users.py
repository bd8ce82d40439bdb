"""Users: a person within one organization. E-mail and name are personal data; they lie in named columns and beside leaves, never in them.

A user is known by (connection, subject) where an identity provider says who it is, or by an account of the platform; never by e-mail
alone, so two users may have the same address.
"""

import msgspec

from tenantry.core.errors import AlreadyDone, Invalid, NotFound
from tenantry.core.text import named
from tenantry.journal import Event, Personal, Reads, Target, WriteSet
from tenantry.organizations import agents, groups, parties
from tenantry.organizations.part import PAGE_ARGS, Part
from tenantry.organizations.parties import PartyKind
from tenantry.store import Kind, Read, Statement, Table

USERS = Table("users", Kind.STATE)
EMAIL_MAX_CHARACTERS = 254
"""RFC 5321, 4.5.3.1.3, less the angle brackets."""


class User(msgspec.Struct, frozen=True):
    """A person of the organization."""

    org: str
    id: str
    status: str
    email: str
    display_name: str
    account_id: str | None
    connection_id: str | None
    subject: str | None
    made_at_ms: int

    def path(self) -> tuple[str, ...]:
        """The branches that its credentials descend from."""
        return (self.org, self.id)


class Profile(msgspec.Struct, frozen=True):
    """What a person is called and where mail goes.

    Raises:
        Invalid: the address is none, or a name cannot be shown.
    """

    email: str
    display_name: str

    def __post_init__(self) -> None:
        named(self.display_name)
        _, at, host = named(self.email).rpartition("@")
        if not at or not host or len(self.email) > EMAIL_MAX_CHARACTERS or any(c.isspace() for c in self.email):
            raise Invalid("This is no e-mail address.")


ADD_USER = Statement(
    "organizations_add_user",
    USERS,
    "INSERT INTO users (org, id, email, display_name, account_id, connection_id, subject) "
    "VALUES (:org, :id, :email, :display_name, :account_id, :connection_id, :subject) ON CONFLICT DO NOTHING",
    {"id": str, "email": str, "display_name": str, "account_id": str, "connection_id": str, "subject": str},
)
SET_PROFILE = Statement(
    "organizations_set_profile",
    USERS,
    "UPDATE users SET email = :email, display_name = :display_name WHERE org = :org AND id = :id",
    {"id": str, "email": str, "display_name": str},
)
DELETE_USER = Statement(
    "organizations_delete_user", USERS, "DELETE FROM users WHERE org = :org AND id = :id", {"id": str}
)
DELETE_USERS = Statement("organizations_delete_users", USERS, "DELETE FROM users WHERE org = :org", {})

_FROM = (
    "SELECT u.org, u.id, p.status, u.email, u.display_name, u.account_id, u.connection_id, u.subject, p.made_at "
    "FROM users u JOIN parties p ON p.org = u.org AND p.id = u.id WHERE u.org = :org"
)
USER = Read("organizations_user", User, f"{_FROM} AND u.id = :id", {"id": str})
USERS_PAGE = Read("organizations_users", User, f"{_FROM} AND u.id > :after ORDER BY u.id LIMIT :most", PAGE_ARGS)
USER_OF_SUBJECT = Read(
    "organizations_user_of_subject",
    User,
    f"{_FROM} AND u.connection_id = :connection_id AND u.subject = :subject",
    {"connection_id": str, "subject": str},
)

PART = Part(
    tables=(USERS,),
    statements=(ADD_USER, SET_PROFILE, DELETE_USER, DELETE_USERS),
    reads=(USER, USERS_PAGE, USER_OF_SUBJECT),
    ddl="""
CREATE TABLE users (
    org text NOT NULL, id text NOT NULL, email text NOT NULL, display_name text NOT NULL, account_id text, connection_id text, subject text,
    PRIMARY KEY (org, id), UNIQUE (org, connection_id, subject), UNIQUE (org, account_id),
    FOREIGN KEY (org, id) REFERENCES parties (org, id)) {strict};
""",
)


class UserAdded(Event, tag="user.added", frozen=True):
    """A person joined the organization."""

    user: Target
    account: str | None
    connection: str | None
    email: Personal
    display_name: Personal


class UserChanged(Event, tag="user.changed", frozen=True):
    """A person's address or name changed."""

    user: Target
    email: Personal
    display_name: Personal


class AlreadyUser(AlreadyDone):
    """The account, or the subject of the connection, is a user of the organization."""

    code = "already_user"
    sentence = "This person is a user of the organization already."


class Known(msgspec.Struct, frozen=True):
    """By what a user is known: an account of the platform, or a connection's subject, or nothing yet."""

    account_id: str | None = None
    connection_id: str | None = None
    subject: str | None = None

    def __post_init__(self) -> None:
        if (self.connection_id is None) != (self.subject is None):
            raise Invalid("A connection and its subject are given together.")


def add(w: WriteSet, user_id: str, profile: Profile, now_ms: int, known: Known = Known()) -> None:  # noqa: B008 - frozen
    """A person joins the organization.

    Raises, when the set is sent:
        AlreadyUser: the account, or the connection's subject, is a user here.
    """
    parties.add(w, PartyKind.USER, user_id, now_ms)
    fields = {"email": profile.email, "display_name": profile.display_name}
    w.write(ADD_USER, AlreadyUser, id=user_id, **fields, **msgspec.structs.asdict(known))
    w.record(UserAdded(user_id, known.account_id, known.connection_id, profile.email, profile.display_name))


async def change(w: WriteSet, reads: Reads, user_id: str, email: str | None, display_name: str | None) -> None:
    """Change a person's address, name or both; `None` leaves it."""
    user = await reads.one(USER, id=user_id)
    party = await parties.party(reads, PartyKind.USER, user_id)
    profile = Profile(
        user.email if email is None else email, user.display_name if display_name is None else display_name
    )
    parties.change(w, party, ends_at_ms=None)
    w.write(SET_PROFILE, id=user_id, email=profile.email, display_name=profile.display_name)
    w.record(UserChanged(user_id, profile.email, profile.display_name))


async def deactivate(w: WriteSet, reads: Reads, user_id: str, reason: str = "") -> None:
    """End a user's access; again changes nothing. Agents that nobody else answers for are orphaned from this revision on.

    Raises:
        NotFound: there is no such user. LastOwner: it is the organization's last active owner.
    """
    await agents.note_orphans(w, reads, user_id)
    await parties.deactivate(w, reads, PartyKind.USER, user_id, reason)


async def remove(w: WriteSet, reads: Reads, user_id: str) -> None:
    """Remove a user for good, with the personal data of its record; `erasure.erase_user` also clears the log's.

    Raises: as `deactivate`.
    """
    await agents.note_orphans(w, reads, user_id)
    await parties.remove(w, reads, PartyKind.USER, user_id)
    await groups.leave_all(w, reads, user_id)
    w.write(DELETE_USER, NotFound, id=user_id)
