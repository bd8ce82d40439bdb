"""Accounts: a person's own sign-in means at the vendor. They belong to the platform; an organization's admin acts on users, never on them.

What one signs in with (passwords, passkeys) lies in `signin`, below the account's branch.
"""

import msgspec

from tenantry.core.errors import AlreadyDone, Conflict, Misuse
from tenantry.core.ids import PLATFORM
from tenantry.journal import Event, Personal, Reads, Target, Text, WriteSet
from tenantry.organizations.part import Part
from tenantry.organizations.users import Profile
from tenantry.store import Kind, Read, Statement, Table

ACCOUNTS = Table("accounts", Kind.STATE)


class Account(msgspec.Struct, frozen=True):
    """A person's account. `email` is the verified address it signs in with, in its one spelling."""

    id: str
    status: str
    email: str
    made_at_ms: int


ADD_ACCOUNT = Statement(
    "organizations_add_account",
    ACCOUNTS,
    "INSERT INTO accounts (org, id, status, email, made_at) VALUES (:org, :id, 'active', :email, :made_at) ON CONFLICT DO NOTHING",
    {"id": str, "email": str, "made_at": int},
)
CLOSE_ACCOUNT = Statement(
    "organizations_close_account",
    ACCOUNTS,
    "DELETE FROM accounts WHERE org = :org AND id = :id",
    {"id": str},
)
ACCOUNT = Read(
    "organizations_account",
    Account,
    "SELECT id, status, email, made_at FROM accounts WHERE org = :org AND id = :id",
    {"id": str},
)
ACCOUNT_OF_EMAIL = Read(
    "organizations_account_of_email",
    Account,
    "SELECT id, status, email, made_at FROM accounts WHERE org = :org AND email = :email",
    {"email": str},
)

PART = Part(
    tables=(ACCOUNTS,),
    statements=(ADD_ACCOUNT, CLOSE_ACCOUNT),
    reads=(ACCOUNT, ACCOUNT_OF_EMAIL),
    ddl="""
CREATE TABLE accounts (
    org text NOT NULL, id text NOT NULL, status text NOT NULL, email text NOT NULL, made_at {int} NOT NULL,
    PRIMARY KEY (org, id), UNIQUE (org, email)) {strict};
""",
)


class AccountOpened(Event, tag="account.opened", frozen=True):
    """A person has an account."""

    account: Target
    email: Personal


class AccountClosed(Event, tag="account.closed", frozen=True):
    """An account was closed: every session that descends from it died, in each organization."""

    account: Target
    reason: Text


class AddressTaken(AlreadyDone):
    """Another account has the address. Whoever is told so has proved the address to be theirs first."""

    code = "address_taken"
    sentence = "This address has an account already."


def address(email: str) -> str:
    """The one spelling under which an account's address is kept: lower case.

    Raises:
        Invalid: it is no address.
    """
    return Profile(email, "").email.lower()


def open_account(w: WriteSet, account_id: str, email: str, now_ms: int) -> None:
    """Open an account for an address that its owner has proved.

    Raises, when the set is sent:
        AddressTaken: it has one.
    """
    _of_platform(w)
    w.write(ADD_ACCOUNT, AddressTaken, id=account_id, email=address(email), made_at=now_ms)
    w.record(AccountOpened(account_id, email))


async def close_account(w: WriteSet, reads: Reads, account_id: str, reason: str = "") -> None:
    """Close an account for good; users it stood behind stay users of their organizations."""
    _of_platform(w)
    await reads.one(ACCOUNT, id=account_id)
    w.write(CLOSE_ACCOUNT, Conflict, id=account_id)
    w.cut(account_id)
    w.record(AccountClosed(account_id, reason))


def _of_platform(w: WriteSet) -> None:
    if w.org != PLATFORM:
        raise Misuse("Accounts belong to the platform.")
