"""Groups of an organization and their members: users, agents and services. The graph reads memberships as derived tuples."""

import msgspec

from tenantry.core.errors import AlreadyDone, NotFound, TooLarge
from tenantry.core.text import named
from tenantry.journal import Event, Reads, Target, WriteSet
from tenantry.organizations import parties
from tenantry.organizations.part import PAGE_ARGS, Part
from tenantry.organizations.parties import PartyKind
from tenantry.store import Kind, Read, Statement, Table

GROUPS = Table("groups", Kind.STATE)
GROUP_MEMBERS = Table("group_members", Kind.STATE)

MEMBERS = (PartyKind.USER, PartyKind.AGENT, PartyKind.SERVICE)
"""What can be a member."""
LEFT_MAX = 1_000
"""Groups that one removal leaves: each is named to the followers."""


class Group(msgspec.Struct, frozen=True):
    """A group of the organization; its name is its own within it."""

    id: str
    name: str
    made_at_ms: int


class Member(msgspec.Struct, frozen=True):
    """A member of a group."""

    id: str
    made_at_ms: int


class Membership(msgspec.Struct, frozen=True):
    """That a member is in a group."""

    group_id: str
    member_id: str


ADD_GROUP = Statement(
    "organizations_add_group",
    GROUPS,
    "INSERT INTO groups (org, id, name) VALUES (:org, :id, :name) ON CONFLICT DO NOTHING",
    {"id": str, "name": str},
)
FREE_NAME = Statement(
    "organizations_free_group_name",
    GROUPS,
    "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM groups WHERE org = :org AND name = :name AND id <> :id)",
    {"id": str, "name": str},
)
RENAME_GROUP = Statement(
    "organizations_rename_group",
    GROUPS,
    "UPDATE groups SET name = :name WHERE org = :org AND id = :id",
    {"id": str, "name": str},
)
DELETE_GROUP = Statement(
    "organizations_delete_group", GROUPS, "DELETE FROM groups WHERE org = :org AND id = :id", {"id": str}
)
ADD_MEMBER = Statement(
    "organizations_add_member",
    GROUP_MEMBERS,
    "INSERT INTO group_members (org, group_id, member_id, made_at) VALUES (:org, :group_id, :member_id, :made_at) "
    "ON CONFLICT DO NOTHING",
    {"group_id": str, "member_id": str, "made_at": int},
)
DROP_MEMBER = Statement(
    "organizations_drop_member",
    GROUP_MEMBERS,
    "DELETE FROM group_members WHERE org = :org AND group_id = :group_id AND member_id = :member_id",
    {"group_id": str, "member_id": str},
)
EMPTY_GROUP = Statement(
    "organizations_empty_group",
    GROUP_MEMBERS,
    "DELETE FROM group_members WHERE org = :org AND group_id = :group_id",
    {"group_id": str},
)
LEAVE_GROUPS = Statement(
    "organizations_leave_groups",
    GROUP_MEMBERS,
    "DELETE FROM group_members WHERE org = :org AND member_id = :member_id",
    {"member_id": str},
)

_FROM = (
    "SELECT g.id, g.name, p.made_at FROM groups g JOIN parties p ON p.org = g.org AND p.id = g.id WHERE g.org = :org"
)
GROUP = Read("organizations_group", Group, f"{_FROM} AND g.id = :id", {"id": str})
GROUPS_PAGE = Read("organizations_groups", Group, f"{_FROM} AND g.id > :after ORDER BY g.id LIMIT :most", PAGE_ARGS)
MEMBERS_PAGE = Read(
    "organizations_members",
    Member,
    "SELECT member_id, made_at FROM group_members WHERE org = :org AND group_id = :group_id AND member_id > :after "
    "ORDER BY member_id LIMIT :most",
    {"group_id": str, **PAGE_ARGS},
)
GROUPS_OF = Read(
    "organizations_groups_of",
    Membership,
    "SELECT group_id, member_id FROM group_members WHERE org = :org AND member_id = :member_id AND group_id > :after "
    "ORDER BY group_id LIMIT :most",
    {"member_id": str, **PAGE_ARGS},
)
MEMBERSHIPS = Read(
    "organizations_memberships",
    Membership,
    "SELECT group_id, member_id FROM group_members WHERE org = :org AND (group_id, member_id) > (:after_group, :after) "
    "ORDER BY group_id, member_id LIMIT :most",
    {"after_group": str, **PAGE_ARGS},
)

PART = Part(
    tables=(GROUPS, GROUP_MEMBERS),
    statements=(ADD_GROUP, FREE_NAME, RENAME_GROUP, DELETE_GROUP, ADD_MEMBER, DROP_MEMBER, EMPTY_GROUP, LEAVE_GROUPS),
    reads=(GROUP, GROUPS_PAGE, MEMBERS_PAGE, GROUPS_OF, MEMBERSHIPS),
    ddl="""
CREATE TABLE groups (
    org text NOT NULL, id text NOT NULL, name text NOT NULL, PRIMARY KEY (org, id), UNIQUE (org, name),
    FOREIGN KEY (org, id) REFERENCES parties (org, id)) {strict};
CREATE TABLE group_members (
    org text NOT NULL, group_id text NOT NULL, member_id text NOT NULL, made_at {int} NOT NULL, PRIMARY KEY (org, group_id, member_id),
    FOREIGN KEY (org, group_id) REFERENCES groups (org, id), FOREIGN KEY (org, member_id) REFERENCES parties (org, id)) {strict};
CREATE INDEX group_members_member ON group_members (org, member_id, group_id);
""",
)


class GroupAdded(Event, tag="group.added", frozen=True):
    """A group began."""

    group: Target
    name: str


class GroupRenamed(Event, tag="group.renamed", frozen=True):
    """A group got another name."""

    group: Target
    name: str


class MemberAdded(Event, tag="group.member_added", frozen=True):
    """A user, agent or service became a member of a group."""

    group: Target
    member: Target


class MemberRemoved(Event, tag="group.member_removed", frozen=True):
    """A member left a group."""

    group: Target
    member: Target


class NameTaken(AlreadyDone):
    """Another group of the organization has the name."""

    code = "name_taken"
    sentence = "Another group has this name."


class NoMember(NotFound):
    """The group has no such member."""

    sentence = "This is no member of the group."


def add(w: WriteSet, group_id: str, name: str, now_ms: int) -> None:
    """Begin a group. `NameTaken`, when the set is sent: the organization has one of this name."""
    parties.add(w, PartyKind.GROUP, group_id, now_ms)
    w.write(ADD_GROUP, NameTaken, id=group_id, name=named(name))
    w.record(GroupAdded(group_id, name))


async def rename(w: WriteSet, reads: Reads, group_id: str, name: str) -> None:
    """Give a group another name."""
    party = await parties.party(reads, PartyKind.GROUP, group_id)
    parties.change(w, party, ends_at_ms=None)
    w.write(FREE_NAME, NameTaken, id=group_id, name=named(name))
    w.write(RENAME_GROUP, id=group_id, name=name)
    w.record(GroupRenamed(group_id, name))


async def remove(w: WriteSet, reads: Reads, group_id: str) -> None:
    """Remove a group; what it was allowed to, its members are allowed to no more because of it."""
    await parties.remove(w, reads, PartyKind.GROUP, group_id)
    w.write(EMPTY_GROUP, group_id=group_id)
    w.write(DELETE_GROUP, NotFound, id=group_id)


def add_member(w: WriteSet, group_id: str, member_id: str, now_ms: int) -> None:
    """Add a member; adding one twice changes nothing. It commutes: fifty adders are fifty members.

    Raises, when the set is sent:
        NotFound: the organization has no such group, or no such user, agent or service.
    """
    parties.refer(w, group_id, PartyKind.GROUP)
    parties.refer(w, member_id, *MEMBERS)
    w.write(ADD_MEMBER, group_id=group_id, member_id=member_id, made_at=now_ms)
    w.record(MemberAdded(group_id, member_id))


def remove_member(w: WriteSet, group_id: str, member_id: str) -> None:
    """Take a member out of a group. `NoMember`, when the set is sent: it is none."""
    w.write(DROP_MEMBER, NoMember, group_id=group_id, member_id=member_id)
    w.record(MemberRemoved(group_id, member_id))


async def leave_all(w: WriteSet, reads: Reads, member_id: str) -> None:
    """Take a member out of every group, because it is removed.

    Raises:
        TooLarge: it is in more than `LEFT_MAX`; take it out of some first.
    """
    left = await reads.all(GROUPS_OF, member_id=member_id, after="", most=LEFT_MAX + 1)
    if len(left) > LEFT_MAX:
        raise TooLarge(f"It is in more than {LEFT_MAX} groups.", hint="Deactivate it, and take it out of some first.")
    w.write(LEAVE_GROUPS, member_id=member_id)
    w.touch(*(membership.group_id for membership in left))
