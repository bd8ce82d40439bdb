"""Routes of an organization's own: itself, its domains, users, groups, roles, invitations, and the operators who are in it."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tenantry.core.clock import Clock
from tenantry.core.ids import IdSource
from tenantry.organizations import domains, entries, groups, invitations, lifecycle, organization, parties, roles, users
from tenantry.organizations.domains import Domain
from tenantry.organizations.entries import Entry
from tenantry.organizations.groups import Group, Member
from tenantry.organizations.invitations import Invitation
from tenantry.organizations.organization import Organization
from tenantry.organizations.parties import PartyKind
from tenantry.organizations.permissions import (
    END_ACCESS,
    INVITE,
    MANAGE_GROUPS,
    MANAGE_ORGANIZATION,
    MANAGE_ROLES,
    MANAGE_USERS,
    READ_GROUPS,
    READ_ORGANIZATION,
    READ_ROLES,
    READ_USERS,
)
from tenantry.organizations.users import EMAIL_MAX_CHARACTERS, Profile, User
from tenantry.organizations.wire import (
    AnyId,
    Because,
    DomainId,
    EntryId,
    GroupId,
    InvitationId,
    Naming,
    Page,
    Pages,
    Time,
    UserId,
)
from tenantry.web import Call, Limits, Rate, Route, route

Role = Literal["owner", "admin", "auditor", "member"]
Email = Annotated[str, Meta(min_length=3, max_length=EMAIL_MAX_CHARACTERS)]


class NewUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person who joins."""

    email: Email
    display_name: Annotated[str, Meta(max_length=256)] = ""


class UserChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of a person becomes another; what is not given stays."""

    email: Email | None = None
    display_name: Annotated[str, Meta(max_length=256)] | None = None


class NewInvitation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to invite, and until when it holds."""

    email: Email
    ends_at_ms: Time


class Invited(msgspec.Struct, frozen=True):
    """An invitation with its secret, which is shown this once."""

    invitation: Invitation
    secret: str


class Holders(msgspec.Struct, frozen=True):
    """A page of those who have a role, as tuples name them; `next` leads to the one after it."""

    items: list[str]
    next: str | None


class HolderPages(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which page of holders."""

    after: Annotated[str, Meta(pattern="^[ -~]*$", max_length=512)] = ""
    limit: Annotated[int, Meta(ge=1, le=100)] = 50


def people_routes(ids: IdSource, clock: Clock) -> tuple[Route, ...]:
    """The routes of this file."""
    return (
        *_organization_routes(ids, clock),
        *_user_routes(ids, clock),
        *_group_routes(ids, clock),
        *_role_routes(),
        *_invitation_routes(ids, clock),
    )


def _organization_routes(ids: IdSource, clock: Clock) -> tuple[Route, ...]:
    @route("GET", "/v1/organization", READ_ORGANIZATION)
    async def get_organization(call: Call) -> Organization:
        """The organization itself."""
        return await organization.organization(call.reads)

    @route("PATCH", "/v1/organization", MANAGE_ORGANIZATION)
    async def rename_organization(call: Call, body: Naming) -> Organization:
        """Give the organization another name."""
        await call.run(organization.rename, body.name)
        return await organization.organization(call.reads)

    @route("GET", "/v1/domains", READ_ORGANIZATION)
    async def list_domains(call: Call, query: Pages) -> Page[Domain]:
        """Its mail domains."""
        return query.page(await call.reads.all(domains.DOMAINS_PAGE, **query.asked))

    @route("POST", "/v1/domains", MANAGE_ORGANIZATION, status=201)
    async def claim_domain(call: Call, body: Naming) -> Domain:
        """Say that a mail domain is the organization's; an operator proves it."""
        domain = ids.new("domain")
        async with call.begin() as w:
            domains.claim(w, domain, body.name, clock.now_ms())
        return await call.reads.one(domains.DOMAIN, id=domain)

    @route("DELETE", "/v1/domains/{domain_id}", MANAGE_ORGANIZATION, status=204)
    async def remove_domain(call: Call, domain_id: DomainId) -> None:
        """Take a mail domain away."""
        await call.run(domains.remove, domain_id)

    @route("GET", "/v1/operator-entries", READ_ORGANIZATION)
    async def list_operator_entries(call: Call, query: Pages) -> Page[Entry]:
        """Operators who were, or are, in the organization."""
        return query.page(await call.reads.all(entries.ENTRIES_PAGE, **query.asked))

    @route("POST", "/v1/operator-entries/{entry_id}/veto", END_ACCESS)
    async def veto_operator_entry(call: Call, entry_id: EntryId) -> Entry:
        """Send an operator out."""
        now = clock.now_ms()
        entry = await call.reads.one(entries.ENTRY, id=entry_id)
        async with call.journal.begin(call.scope, call.principal, origin=call.origin, with_platform=True) as w:
            entries.end(w, entry, now, vetoed=True)
        return await call.reads.one(entries.ENTRY, id=entry_id)

    return (
        *(get_organization, rename_organization, list_domains, claim_domain, remove_domain),
        *(list_operator_entries, veto_operator_entry),
    )


def _user_routes(ids: IdSource, clock: Clock) -> tuple[Route, ...]:
    @route("GET", "/v1/users", READ_USERS)
    async def list_users(call: Call, query: Pages) -> Page[User]:
        """Users of the organization."""
        return query.page(await call.reads.all(users.USERS_PAGE, **query.asked))

    @route("POST", "/v1/users", MANAGE_USERS, status=201)
    async def add_user(call: Call, body: NewUser) -> User:
        """A person joins the organization."""
        user = ids.new("user")
        async with call.begin() as w:
            users.add(w, user, Profile(body.email, body.display_name), clock.now_ms())
        return await call.reads.one(users.USER, id=user)

    @route("GET", "/v1/users/{user_id}", READ_USERS)
    async def get_user(call: Call, user_id: UserId) -> User:
        """One user."""
        return await call.reads.one(users.USER, id=user_id)

    @route("PATCH", "/v1/users/{user_id}", MANAGE_USERS)
    async def change_user(call: Call, user_id: UserId, body: UserChange) -> User:
        """Change a user's address or name."""
        await call.run(users.change, user_id, body.email, body.display_name)
        return await call.reads.one(users.USER, id=user_id)

    @route("POST", "/v1/users/{user_id}/deactivate", MANAGE_USERS)
    async def deactivate_user(call: Call, user_id: UserId, body: Because) -> User:
        """End a user's access to the organization."""
        await call.run(users.deactivate, user_id, body.reason)
        return await call.reads.one(users.USER, id=user_id)

    @route("POST", "/v1/users/{user_id}/reactivate", MANAGE_USERS)
    async def reactivate_user(call: Call, user_id: UserId) -> User:
        """Let a user in again."""
        await call.run(parties.reactivate, PartyKind.USER, user_id)
        return await call.reads.one(users.USER, id=user_id)

    @route("DELETE", "/v1/users/{user_id}", MANAGE_USERS, status=204)
    async def remove_user(call: Call, user_id: UserId) -> None:
        """Remove a user for good, and erase the personal data that record and log hold. Again, it erases what is left."""
        if (await call.reads.one(parties.PARTY, id=user_id)).status != parties.REMOVED:
            await call.run(users.remove, user_id)
        await lifecycle.erase_user(call.journal, call.scope, call.principal, user_id)

    return (list_users, add_user, get_user, change_user, deactivate_user, reactivate_user, remove_user)


def _group_routes(ids: IdSource, clock: Clock) -> tuple[Route, ...]:
    @route("GET", "/v1/groups", READ_GROUPS)
    async def list_groups(call: Call, query: Pages) -> Page[Group]:
        """Groups of the organization."""
        return query.page(await call.reads.all(groups.GROUPS_PAGE, **query.asked))

    @route("POST", "/v1/groups", MANAGE_GROUPS, status=201)
    async def add_group(call: Call, body: Naming) -> Group:
        """Begin a group."""
        group = ids.new("group")
        async with call.begin() as w:
            groups.add(w, group, body.name, clock.now_ms())
        return await call.reads.one(groups.GROUP, id=group)

    @route("GET", "/v1/groups/{group_id}", READ_GROUPS)
    async def get_group(call: Call, group_id: GroupId) -> Group:
        """One group."""
        return await call.reads.one(groups.GROUP, id=group_id)

    @route("PATCH", "/v1/groups/{group_id}", MANAGE_GROUPS)
    async def rename_group(call: Call, group_id: GroupId, body: Naming) -> Group:
        """Give a group another name."""
        await call.run(groups.rename, group_id, body.name)
        return await call.reads.one(groups.GROUP, id=group_id)

    @route("DELETE", "/v1/groups/{group_id}", MANAGE_GROUPS, status=204)
    async def remove_group(call: Call, group_id: GroupId) -> None:
        """Remove a group."""
        await call.run(groups.remove, group_id)

    @route("GET", "/v1/groups/{group_id}/members", READ_GROUPS)
    async def list_members(call: Call, group_id: GroupId, query: Pages) -> Page[Member]:
        """Members of a group."""
        await call.reads.one(groups.GROUP, id=group_id)
        return query.page(await call.reads.all(groups.MEMBERS_PAGE, group_id=group_id, **query.asked))

    @route("PUT", "/v1/groups/{group_id}/members/{member_id}", MANAGE_GROUPS, status=204)
    async def add_member(call: Call, group_id: GroupId, member_id: AnyId) -> None:
        """Make a user, agent or service a member of a group."""
        async with call.begin() as w:
            roles.refuse_to_rise(w, call.principal, group_id)
            groups.add_member(w, group_id, member_id, clock.now_ms())

    @route("DELETE", "/v1/groups/{group_id}/members/{member_id}", MANAGE_GROUPS, status=204)
    async def remove_member(call: Call, group_id: GroupId, member_id: AnyId) -> None:
        """Take a member out of a group."""
        async with call.begin() as w:
            groups.remove_member(w, group_id, member_id)

    return (
        *(list_groups, add_group, get_group, rename_group, remove_group),
        *(list_members, add_member, remove_member),
    )


def _role_routes() -> tuple[Route, ...]:
    @route("GET", "/v1/roles/{role}/holders", READ_ROLES)
    async def list_holders(call: Call, role: Role, query: HolderPages) -> Holders:
        """Who has a role in the organization."""
        found = await roles.holders(call.reads, role, query.after, query.limit + 1)
        return Holders(found[: query.limit], found[query.limit - 1] if len(found) > query.limit else None)

    @route("PUT", "/v1/roles/{role}/holders/{holder_id}", MANAGE_ROLES, status=204)
    async def give_role(call: Call, role: Role, holder_id: AnyId) -> None:
        """Give a role in the organization to a principal, or to the members of a group."""
        async with call.begin() as w:
            roles.give(w, role, holder_id)

    @route("DELETE", "/v1/roles/{role}/holders/{holder_id}", MANAGE_ROLES, status=204)
    async def take_role(call: Call, role: Role, holder_id: AnyId) -> None:
        """Take a role in the organization."""
        await call.run(roles.take, role, holder_id)

    return (list_holders, give_role, take_role)


INVITING = Limits(rate=Rate(burst=100, every_ms=5_000))
"""Each is a mail to somebody."""


def _invitation_routes(ids: IdSource, clock: Clock) -> tuple[Route, ...]:
    async def invited(call: Call, body: NewInvitation, role: str) -> Invited:
        invitation, now = ids.new("invitation"), clock.now_ms()
        async with call.begin() as w:
            secret = invitations.invite(
                w, invitation, call.principal.id, body.email, role, now_ms=now, ends_at_ms=body.ends_at_ms
            )
        return Invited(await call.reads.one(invitations.INVITATION, id=invitation), secret.reveal())

    @route("GET", "/v1/invitations", READ_USERS)
    async def list_invitations(call: Call, query: Pages) -> Page[Invitation]:
        """Invitations to the organization."""
        return query.page(await call.reads.all(invitations.INVITATIONS_PAGE, **query.asked))

    @route("POST", "/v1/invitations", INVITE, status=201, limits=INVITING)
    async def invite(call: Call, body: NewInvitation) -> Invited:
        """Invite somebody, without a role."""
        return await invited(call, body, "")

    @route("POST", "/v1/roles/{role}/invitations", MANAGE_ROLES, status=201, limits=INVITING)
    async def invite_with_role(call: Call, role: Role, body: NewInvitation) -> Invited:
        """Invite somebody to a role: whoever may give it may do so."""
        return await invited(call, body, role)

    @route("POST", "/v1/invitations/{invitation_id}/withdraw", INVITE)
    async def withdraw_invitation(call: Call, invitation_id: InvitationId) -> Invitation:
        """Take an invitation back."""
        await call.run(invitations.withdraw, invitation_id)
        return await call.reads.one(invitations.INVITATION, id=invitation_id)

    return (list_invitations, invite, invite_with_role, withdraw_invitation)
