"""A small room of the demonstration, the tests and the benchmarks: a ledger with a table of each kind.

| table | kind | what it shows |
|---|---|---|
| ledger_entries | state | a change with a version guard, an event and a row of the changelog |
| ledger_members | state | what commutes: fifty adders are fifty members |
| ledger_vouchers | ephemeral | what can be spent once |
| ledger_balances | derived | what a follower rebuilds |

Its credentials carry a path, so that cutting a branch ends them.
"""

import msgspec

from tenantry.core import scopes
from tenantry.core.errors import AlreadyDone, Conflict
from tenantry.core.principal import Principal
from tenantry.core.scopes import TenantScope
from tenantry.journal import Change, Cuts, Event, Journal, Personal, Reads, Target, Text, WriteSet
from tenantry.store import Kind, Migration, Read, Schema, Statement, Table

ENTRIES = Table("ledger_entries", Kind.STATE, worker="SELECT")
MEMBERS = Table("ledger_members", Kind.STATE)
VOUCHERS = Table("ledger_vouchers", Kind.EPHEMERAL)
BALANCES = Table("ledger_balances", Kind.DERIVED)

ADD_ENTRY = Statement(
    "ledger_add_entry",
    ENTRIES,
    "INSERT INTO ledger_entries (org, id, account, amount, version) VALUES (:org, :id, :account, :amount, 1) ON CONFLICT DO NOTHING",
    {"id": str, "account": str, "amount": int},
)
CORRECT_ENTRY = Statement(
    "ledger_correct_entry",
    ENTRIES,
    "UPDATE ledger_entries SET amount = :amount, version = version + 1 WHERE org = :org AND id = :id AND version = :version",
    {"id": str, "amount": int, "version": int},
)
ADD_MEMBER = Statement(
    "ledger_add_member",
    MEMBERS,
    "INSERT INTO ledger_members (org, name) VALUES (:org, :name) ON CONFLICT DO NOTHING",
    {"name": str},
)
SPEND = Statement(
    "ledger_spend",
    VOUCHERS,
    "INSERT INTO ledger_vouchers (org, voucher, spent_at) VALUES (:org, :voucher, :spent_at) ON CONFLICT DO NOTHING",
    {"voucher": str, "spent_at": int},
    key=("voucher",),
    many="INSERT INTO ledger_vouchers (org, voucher, spent_at) SELECT org, voucher, spent_at FROM alive "
    "ON CONFLICT DO NOTHING RETURNING org, voucher",
)
SET_BALANCE = Statement(
    "ledger_set_balance",
    BALANCES,
    "INSERT INTO ledger_balances (org, account, total, entries) "
    "SELECT :org, account, sum(amount), count(*) FROM ledger_entries WHERE org = :org AND account = :account GROUP BY account "
    "ON CONFLICT (org, account) DO UPDATE SET total = excluded.total, entries = excluded.entries",
    {"account": str},
)


class Entry(msgspec.Struct, frozen=True):
    """An amount on an account."""

    id: str
    account: str
    amount: int
    version: int


class Balance(msgspec.Struct, frozen=True):
    """What a follower made of an account's entries."""

    account: str
    total: int
    entries: int


class Name(msgspec.Struct, frozen=True):
    """One column of text."""

    name: str


ENTRY = Read(
    "ledger_entry",
    Entry,
    "SELECT id, account, amount, version FROM ledger_entries WHERE org = :org AND id = :id",
    {"id": str},
)
ENTRIES_OF = Read(
    "ledger_entries_of", Entry, "SELECT id, account, amount, version FROM ledger_entries WHERE org = :org ORDER BY id"
)
MEMBERS_OF = Read("ledger_members_of", Name, "SELECT name FROM ledger_members WHERE org = :org ORDER BY name")
VOUCHERS_OF = Read("ledger_vouchers_of", Name, "SELECT voucher FROM ledger_vouchers WHERE org = :org ORDER BY voucher")
BALANCES_OF = Read(
    "ledger_balances_of",
    Balance,
    "SELECT account, total, entries FROM ledger_balances WHERE org = :org ORDER BY account",
)

SCHEMA = Schema(
    room="ledger",
    tables=(ENTRIES, MEMBERS, VOUCHERS, BALANCES),
    statements=(ADD_ENTRY, CORRECT_ENTRY, ADD_MEMBER, SPEND, SET_BALANCE),
    reads=(ENTRY, ENTRIES_OF, MEMBERS_OF, VOUCHERS_OF, BALANCES_OF),
    migrations=(
        Migration(
            1,
            "expand",
            "entries, members, vouchers and balances",
            """
CREATE TABLE ledger_entries (
    org text NOT NULL, id text NOT NULL, account text NOT NULL, amount {int} NOT NULL, version {int} NOT NULL,
    PRIMARY KEY (org, id)) {strict};
CREATE INDEX ledger_entries_account ON ledger_entries (org, account);
CREATE TABLE ledger_members (org text NOT NULL, name text NOT NULL, PRIMARY KEY (org, name)) {strict};
CREATE TABLE ledger_vouchers (org text NOT NULL, voucher text NOT NULL, spent_at {int} NOT NULL, PRIMARY KEY (org, voucher)) {strict};
CREATE TABLE ledger_balances (
    org text NOT NULL, account text NOT NULL, total {int} NOT NULL, entries {int} NOT NULL, PRIMARY KEY (org, account)) {strict};
""",
        ),
    ),
)


class LedgerOpened(Event, tag="ledger.opened", frozen=True):
    """An organization began to keep a ledger."""

    organization: Target


class EntryAdded(Event, tag="ledger.entry_added", frozen=True):
    """An entry was added."""

    entry: Target
    account: str
    amount: int
    note: Text
    payer: Personal


class EntryCorrected(Event, tag="ledger.entry_corrected", frozen=True):
    """An entry's amount was corrected."""

    entry: Target
    amount: int


class MemberAdded(Event, tag="ledger.member_added", frozen=True):
    """Somebody joined the ledger."""

    name: str


class VoucherSpent(Event, tag="ledger.voucher_spent", frozen=True):
    """A voucher was spent."""

    voucher: str


class CredentialIssued(Event, tag="ledger.credential_issued", frozen=True):
    """A credential was made for a branch."""

    holder: str
    path: list[str]


class BranchCut(Event, tag="ledger.branch_cut", frozen=True):
    """Everything below a branch was ended."""

    branch: Target
    reason: Text


class AlreadySpent(AlreadyDone):
    """The voucher was spent before."""

    code = "already_spent"
    sentence = "This voucher has been spent."


class AlreadyEntered(AlreadyDone):
    """There is an entry of this id."""

    code = "already_entered"
    sentence = "This entry is in the ledger."


def open_ledger(w: WriteSet) -> None:
    """Begin an organization's log with its ledger."""
    w.open_log()
    w.touch(w.org)
    w.record(LedgerOpened(w.org))


def add_entry(w: WriteSet, entry_id: str, account: str, amount: int, *, note: str = "", payer: str = "") -> None:
    """Add an entry; once per id (`AlreadyEntered`)."""
    w.write(ADD_ENTRY, otherwise=AlreadyEntered, id=entry_id, account=account, amount=amount)
    w.record(EntryAdded(entry_id, account, amount, note, payer))


async def correct_entry(w: WriteSet, reads: Reads, entry_id: str, change: int) -> Entry:
    """Add `change` to an entry as it was read; whoever was faster makes it a `Conflict`."""
    entry = await reads.one(ENTRY, id=entry_id)
    w.write(CORRECT_ENTRY, otherwise=Conflict, id=entry_id, amount=entry.amount + change, version=entry.version)
    w.record(EntryCorrected(entry_id, entry.amount + change))
    return entry


def add_member(w: WriteSet, name: str) -> None:
    """Add a member; adding one twice changes nothing."""
    w.write(ADD_MEMBER, name=name)
    w.record(MemberAdded(name))


def spend(w: WriteSet, voucher: str, at_ms: int) -> None:
    """Spend a voucher, once (`AlreadySpent`)."""
    w.write(SPEND, otherwise=AlreadySpent, voucher=voucher, spent_at=at_ms)
    w.record(VoucherSpent(voucher))


def cut(w: WriteSet, branch: str, reason: str = "") -> None:
    """End everything that descends from `branch`."""
    w.cut(branch)
    w.record(BranchCut(branch, reason))


async def issue(journal: Journal, cuts: Cuts, scope: TenantScope, holder: str, path: tuple[str, ...]) -> Principal:
    """A credential for a branch as it is now; recorded before it is handed out."""
    lineage = await cuts.lineage(scope.org, path, (await journal.head(scope)).rev)
    principal = Principal(id=holder, org=scope.org, lineage=lineage)
    async with journal.begin(scope, principal) as w:
        w.record(CredentialIssued(holder, list(path)))
    return principal


class Balances:
    """The deriver of `ledger_balances`: the sum of each account that a change touched."""

    name = "ledger_balances"

    async def derive(self, w: WriteSet, reads: Reads, changes: list[Change]) -> None:
        """See `Deriver`."""
        entries = dict.fromkeys(i for change in changes for i in change.touched_ids() if i.startswith("ledger_"))
        accounts = {row.account for entry in entries for row in await reads.all(ENTRY, id=entry)}
        for account in sorted(accounts):
            w.write(SET_BALANCE, account=account)


def scope_of(org: str) -> TenantScope:
    """The scope of the demonstration's own background work."""
    return scopes.of_job(org)
