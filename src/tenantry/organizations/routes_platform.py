"""Routes of the platform's operators: organizations, the proof of domains, and entries. No tenant's caller is ever admitted to one."""

from contextlib import AbstractAsyncContextManager
from typing import Annotated

import msgspec
from msgspec import Meta

from tenantry.core import scopes
from tenantry.core.clock import Clock
from tenantry.core.errors import NotFound
from tenantry.core.ids import PLATFORM, IdSource
from tenantry.core.scopes import TenantScope
from tenantry.journal import WriteSet
from tenantry.keys.keyring import Keyring
from tenantry.organizations import domains, entries, lifecycle, organization
from tenantry.organizations.domains import Domain
from tenantry.organizations.entries import ENTRY_MAX_MS, Entry
from tenantry.organizations.organization import DELETED, Organization
from tenantry.organizations.permissions import (
    CREATE_ORGANIZATIONS,
    DELETE_ORGANIZATIONS,
    ENTER_ORGANIZATIONS,
    LIST_ORGANIZATIONS,
    VERIFY_DOMAINS,
)
from tenantry.organizations.routes_people import NewUser
from tenantry.organizations.users import Profile
from tenantry.organizations.wire import Because, DomainId, EntryId, Name, OrganizationId, Page, Pages, Said
from tenantry.store import Engine
from tenantry.web import Call, Limits, Rate, Route, route

SELDOM = Limits(rate=Rate(burst=100, every_ms=2_000))
"""What begins an organization, or tells one that somebody came."""


class NewOrganization(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An organization to begin, with its first owner."""

    name: Name
    owner: NewUser


class Begun(msgspec.Struct, frozen=True):
    """An organization that began, and its first owner."""

    organization: Organization
    owner_id: str


class Word(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An operator's word that a domain is the organization's: who looked, at what."""

    word: Said


class Entering(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why an operator enters, and for how many milliseconds."""

    reason: Said
    for_ms: Annotated[int, Meta(ge=1, le=ENTRY_MAX_MS)] = ENTRY_MAX_MS


def platform_routes(ids: IdSource, clock: Clock, engine: Engine, keyring: Keyring) -> tuple[Route, ...]:
    """The routes of this file."""
    return (*_organization_routes(ids, clock, engine, keyring), *_entry_routes(ids, clock))


def _organization_routes(ids: IdSource, clock: Clock, engine: Engine, keyring: Keyring) -> tuple[Route, ...]:
    @route("GET", "/v1/organizations", LIST_ORGANIZATIONS)
    async def list_organizations(call: Call, query: Pages) -> Page[Organization]:
        """Every organization."""
        _refuse_tenants(call)
        return query.page(await organization.listed(engine, query.after, query.limit + 1))

    @route("POST", "/v1/organizations", CREATE_ORGANIZATIONS, status=201, limits=SELDOM)
    async def create_organization(call: Call, body: NewOrganization) -> Begun:
        """Begin an organization with its first owner."""
        org, owner = ids.new("org"), ids.new("user")
        profile = Profile(body.owner.email, body.owner.display_name)
        async with _begin(call, org) as w:
            await lifecycle.begin(w, keyring, body.name, owner, profile, clock.now_ms())
        return Begun(await _organization(call, org), owner)

    @route("GET", "/v1/organizations/{organization_id}", LIST_ORGANIZATIONS)
    async def get_one_organization(call: Call, organization_id: OrganizationId) -> Organization:
        """One organization."""
        return await _organization(call, organization_id)

    @route("POST", "/v1/organizations/{organization_id}/suspend", DELETE_ORGANIZATIONS)
    async def suspend_organization(call: Call, organization_id: OrganizationId, body: Because) -> Organization:
        """End all access to an organization until it is resumed."""
        await _organization(call, organization_id)
        async with _begin(call, organization_id) as w:
            await organization.suspend(w, call.journal.reads(_within(call, organization_id)), body.reason)
        return await _organization(call, organization_id)

    @route("POST", "/v1/organizations/{organization_id}/resume", DELETE_ORGANIZATIONS)
    async def resume_organization(call: Call, organization_id: OrganizationId) -> Organization:
        """Let a suspended organization be used again."""
        await _organization(call, organization_id)
        async with _begin(call, organization_id) as w:
            await organization.resume(w, call.journal.reads(_within(call, organization_id)))
        return await _organization(call, organization_id)

    @route("POST", "/v1/organizations/{organization_id}/delete", DELETE_ORGANIZATIONS)
    async def delete_organization(call: Call, organization_id: OrganizationId, body: Because) -> Organization:
        """Delete an organization: everything in it dies, its keys are destroyed, personal data is erased. Again, it erases what is left."""
        known, scope = await _organization(call, organization_id), _within(call, organization_id)
        if known.status != DELETED:
            async with _begin(call, organization_id) as w:
                await lifecycle.kill(w, call.journal.reads(scope), keyring, body.reason)
        await lifecycle.erase(call.journal, scope, call.principal)
        return await _organization(call, organization_id)

    @route("POST", "/v1/organizations/{organization_id}/domains/{domain_id}/prove", VERIFY_DOMAINS)
    async def prove_domain(call: Call, organization_id: OrganizationId, domain_id: DomainId, body: Word) -> Domain:
        """Let a claimed mail domain lead to its organization, on the operator's word."""
        reads = call.journal.reads(_within(call, organization_id))
        async with _begin(call, organization_id) as w:
            await domains.prove(w, reads, domain_id, body.word, clock.now_ms())
        return await reads.one(domains.DOMAIN, id=domain_id)

    return (
        *(list_organizations, create_organization, get_one_organization, suspend_organization),
        *(resume_organization, delete_organization, prove_domain),
    )


def _entry_routes(ids: IdSource, clock: Clock) -> tuple[Route, ...]:
    @route("POST", "/v1/organizations/{organization_id}/entries", ENTER_ORGANIZATIONS, status=201, limits=SELDOM)
    async def enter_organization(call: Call, organization_id: OrganizationId, body: Entering) -> Entry:
        """Enter an organization, for a reason and at most 30 minutes; it is told so first."""
        await _organization(call, organization_id)
        entry, now = ids.new("entry"), clock.now_ms()
        async with _begin(call, organization_id) as w:
            entries.enter(w, entry, call.principal, body.reason, now_ms=now, ends_at_ms=now + body.for_ms)
        return await call.journal.reads(_within(call, organization_id)).one(entries.ENTRY, id=entry)

    @route("POST", "/v1/organizations/{organization_id}/entries/{entry_id}/end", ENTER_ORGANIZATIONS)
    async def end_entry(call: Call, organization_id: OrganizationId, entry_id: EntryId) -> Entry:
        """Leave an organization before the time is up."""
        reads = call.journal.reads(_within(call, organization_id))
        entry = await reads.one(entries.ENTRY, id=entry_id)
        async with _begin(call, organization_id) as w:
            entries.end(w, entry, clock.now_ms(), vetoed=False)
        return await reads.one(entries.ENTRY, id=entry_id)

    return (enter_organization, end_entry)


def _refuse_tenants(call: Call) -> None:
    """The model gives these permissions to any organization's admins; only the platform's own mean anything."""
    if call.principal.org != PLATFORM or call.scope.org != PLATFORM:
        raise NotFound


def _within(call: Call, org: str) -> TenantScope:
    """The organization that an operator of the platform names; what is done there is recorded there."""
    _refuse_tenants(call)
    if org == PLATFORM:
        raise NotFound
    return scopes.of_entry(call.principal, org)


def _begin(call: Call, org: str) -> AbstractAsyncContextManager[WriteSet]:
    return call.journal.begin(_within(call, org), call.principal, origin=call.origin, with_platform=True)


async def _organization(call: Call, org: str) -> Organization:
    return await organization.organization(call.journal.reads(_within(call, org)))
