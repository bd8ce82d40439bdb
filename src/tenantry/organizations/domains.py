"""Mail domains of an organization: claimed by its admin, proved by the operator's recorded word. A proved one is a door.

Any organization may claim a domain; one alone can have it proved. A claim gives nothing.
"""

import re

import msgspec

from tenantry.core.errors import AlreadyDone, Conflict, Invalid
from tenantry.journal import Event, Reads, Target, Text, WriteSet
from tenantry.organizations import doors
from tenantry.organizations.doors import DoorKind
from tenantry.organizations.part import PAGE_ARGS, Part
from tenantry.store import Kind, Read, Statement, Table

DOMAINS = Table("domains", Kind.STATE)

_LABEL = "(?!-)[a-z0-9-]{1,63}(?<!-)"
_DOMAIN = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})+")


class Domain(msgspec.Struct, frozen=True):
    """A mail domain. `word` is what the operator said when it was proved: who looked, at what."""

    id: str
    name: str
    status: str
    made_at_ms: int
    proved_at_ms: int | None
    word: str | None


CLAIM = Statement(
    "organizations_claim_domain",
    DOMAINS,
    "INSERT INTO domains (org, id, name, status, made_at) VALUES (:org, :id, :name, 'claimed', :made_at) ON CONFLICT DO NOTHING",
    {"id": str, "name": str, "made_at": int},
)
PROVE = Statement(
    "organizations_prove_domain",
    DOMAINS,
    "UPDATE domains SET status = 'proved', proved_at = :proved_at, word = :word WHERE org = :org AND id = :id AND status = 'claimed'",
    {"id": str, "proved_at": int, "word": str},
)
REMOVE = Statement(
    "organizations_remove_domain", DOMAINS, "DELETE FROM domains WHERE org = :org AND id = :id", {"id": str}
)
_COLUMNS = "id, name, status, made_at, proved_at, word"
DOMAIN = Read(
    "organizations_domain",
    Domain,
    f"SELECT {_COLUMNS} FROM domains WHERE org = :org AND id = :id",  # noqa: S608
    {"id": str},
)
DOMAINS_PAGE = Read(
    "organizations_domains",
    Domain,
    f"SELECT {_COLUMNS} FROM domains WHERE org = :org AND id > :after ORDER BY id LIMIT :most",  # noqa: S608
    PAGE_ARGS,
)

PART = Part(
    tables=(DOMAINS,),
    statements=(CLAIM, PROVE, REMOVE),
    reads=(DOMAIN, DOMAINS_PAGE),
    ddl="""
CREATE TABLE domains (
    org text NOT NULL, id text NOT NULL, name text NOT NULL, status text NOT NULL, made_at {int} NOT NULL, proved_at {int}, word text,
    PRIMARY KEY (org, id), UNIQUE (org, name)) {strict};
""",
)


class DomainClaimed(Event, tag="domain.claimed", frozen=True):
    """An organization says that a mail domain is its own; nothing follows from it yet."""

    domain: Target
    name: str


class DomainProved(Event, tag="domain.proved", frozen=True):
    """A mail domain was proved to be the organization's, on an operator's word: it leads there from now on."""

    domain: Target
    name: str
    word: Text


class DomainRemoved(Event, tag="domain.removed", frozen=True):
    """A mail domain leads to the organization no more."""

    domain: Target
    name: str


class AlreadyClaimed(AlreadyDone):
    """The organization has this domain."""

    code = "already_claimed"
    sentence = "This domain is claimed already."


class AlreadyProved(AlreadyDone):
    """The domain was proved before."""

    code = "already_proved"
    sentence = "This domain is proved already."


def domain_name(text: str) -> str:
    """A domain in its one spelling: lower case, no trailing dot; internationalized ones in their ASCII form (RFC 5890, A-labels).

    Raises:
        Invalid: it is no such name.
    """
    name = text.lower()
    if not _DOMAIN.fullmatch(name):
        raise Invalid("This is no domain name.", hint="Write it as example.com; internationalized ones as xn--….")
    return name


def claim(w: WriteSet, domain_id: str, name: str, now_ms: int) -> None:
    """Say that a domain is the organization's."""
    spelled = domain_name(name)
    w.write(CLAIM, AlreadyClaimed, id=domain_id, name=spelled, made_at=now_ms)
    w.record(DomainClaimed(domain_id, spelled))


async def prove(w: WriteSet, reads: Reads, domain_id: str, word: str, now_ms: int) -> None:
    """Let a claimed domain lead to the organization, on the operator's word. `w` is begun `with_platform`.

    Raises:
        NotFound: the organization has not claimed it.
        DoorTaken, when the set is sent: it is proved to be another organization's.
    """
    known = await reads.one(DOMAIN, id=domain_id)
    w.write(PROVE, AlreadyProved, id=domain_id, proved_at=now_ms, word=word)
    doors.open_door(w, DoorKind.DOMAIN, known.name, domain_id)
    event = DomainProved(domain_id, known.name, word)
    w.record(event)
    if w.platform is not None:
        w.platform.record(event)


async def remove(w: WriteSet, reads: Reads, domain_id: str) -> None:
    """Take a domain away, and its door."""
    known = await reads.one(DOMAIN, id=domain_id)
    doors.close_doors(w, domain_id)
    w.write(REMOVE, Conflict, id=domain_id)
    w.record(DomainRemoved(domain_id, known.name))
