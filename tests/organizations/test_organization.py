"""An organization: how it begins, is suspended, keeps an owner, and ends."""

import asyncio
from pathlib import Path

import pytest

from tenantry.access.system import LastOwner
from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.audit.verify import verify_export
from tenantry.core import scopes
from tenantry.core.errors import Conflict, Invalid, NoOrganization, NotFound
from tenantry.core.principal import SYSTEM
from tenantry.journal import Destruction
from tenantry.journal.schema import LEAF_ROWS
from tenantry.keys.keyring import KeysDestroyed
from tenantry.organizations import (
    domains,
    doors,
    entries,
    groups,
    lifecycle,
    organization,
    parties,
    roles,
    services,
    users,
)
from tenantry.organizations.doors import DoorKind
from tenantry.organizations.organization import OrganizationGone
from tenantry.organizations.parties import PartyKind
from tests.organizations.stock import OPERATOR
from tests.organizations.tenants import HOUR_MS, Tenant, begun
from tests.stand.deadlocks import deadlocks
from tests.stand.nodes import node_of


async def platform_told(node: Node) -> list[str]:
    return await Tenant(node, scopes.of_platform(), "").told()


async def delete(tenant: Tenant) -> None:
    async with tenant.begin(with_platform=True) as w:
        await lifecycle.kill(w, tenant.reads, tenant.node.keyring, "They left.")
    await lifecycle.erase(tenant.node.journal, tenant.scope, SYSTEM)


async def personal(tenant: Tenant) -> list[bytes]:
    rows = await tenant.reads.all(LEAF_ROWS, first=0, most=10_000)
    return [row.personal for row in rows if row.personal is not None]


async def test_an_organization_begins_with_its_log_a_key_and_an_owner(acme: Tenant) -> None:
    known = await organization.organization(acme.reads)
    assert (known.name, known.status) == ("acme", "active")
    assert await roles.holders(acme.reads, "owner", "", 10) == [f"user:{acme.owner}"]
    assert await acme.told() == ["organization.created", "key.data_key_made", "user.added", "access.role_given"]
    assert "organization.created" in await platform_told(acme.node)


async def test_a_name_that_cannot_be_seen_begins_nothing(node: Node) -> None:
    scope = scopes.of_job(node.ids.new("org"))
    with pytest.raises(Invalid):
        async with node.journal.begin(scope, SYSTEM, with_platform=True) as w:
            organization.create(w, "acme\u202e", node.clock.now_ms())
    with pytest.raises(NoOrganization):
        await organization.organization(node.journal.reads(scope))


async def test_a_renamed_organization_has_its_new_name(acme: Tenant) -> None:
    await acme.run(organization.rename, "Acme, Inc.")
    assert (await organization.organization(acme.reads)).name == "Acme, Inc."


async def test_suspending_cuts_the_organization_once_and_resuming_makes_it_active(acme: Tenant) -> None:
    await acme.run(organization.suspend, "Unpaid.")
    await acme.run(organization.suspend, "Unpaid.")
    assert (await organization.organization(acme.reads)).status == "suspended"
    assert await acme.cuts() == {acme.id}
    assert (await acme.told()).count("organization.suspended") == 1
    await acme.run(organization.resume)
    assert (await organization.organization(acme.reads)).status == "active"


async def test_ten_16_a_deleted_organization_dies_shreds_forgets_and_its_log_still_verifies(
    acme: Tenant, globex: Tenant, tmp_path: Path
) -> None:
    """TEN-16: everything of a deleted organization dies, its key and its people's data are gone, a new owner of its domain
    inherits nothing, and its log can still be verified."""
    domain, again = acme.new("domain"), globex.new("domain")
    async with acme.begin() as w:
        domains.claim(w, domain, "acme.example", acme.now)
    async with acme.begin(with_platform=True) as w:
        await domains.prove(w, acme.reads, domain, "Seen by phone.", acme.now)
    await acme.user()
    assert await personal(acme)
    await delete(acme)
    assert acme.id in await acme.cuts()
    assert await personal(acme) == []
    assert await acme.reads.all(users.USERS_PAGE, after="", most=10) == []
    with pytest.raises(KeysDestroyed):
        await acme.node.keyring.data_key(acme.id)
    async with globex.begin() as w:
        domains.claim(w, again, "acme.example", globex.now)
    async with globex.begin(with_platform=True) as w:
        await domains.prove(w, globex.reads, again, "Seen by phone.", globex.now)
    assert (await doors.behind(acme.node.engine, DoorKind.DOMAIN, "acme.example")).org == globex.id
    async with globex.begin() as w:
        await domains.remove(w, globex.reads, again)
    await acme.ledger.checkpointed()
    await acme.ledger.export(tmp_path / "log")
    assert verify_export(tmp_path / "log").size == len(await acme.told()) - 1  # the export is told of after it


async def test_a_deleted_organization_is_deleted_once_and_never_resumed(acme: Tenant) -> None:
    await delete(acme)
    for refused in (
        acme.run(organization.resume),
        acme.run(organization.suspend, "Unpaid."),
        acme.run(organization.rename, "Acme again"),
        delete(acme),
    ):
        with pytest.raises(OrganizationGone):
            await refused


async def test_erasing_goes_on_where_a_crash_left_it(acme: Tenant) -> None:
    await acme.user()
    async with acme.begin(with_platform=True) as w:
        await lifecycle.kill(w, acme.reads, acme.node.keyring, "They left.")
    assert await personal(acme)
    await lifecycle.erase(acme.node.journal, acme.scope, SYSTEM)
    await lifecycle.erase(acme.node.journal, acme.scope, SYSTEM)
    assert await personal(acme) == []


async def test_what_a_backup_brings_back_of_a_deleted_organization_dies_again(acme: Tenant) -> None:
    await acme.user()
    await lifecycle.destroy_again(acme.node.journal, acme.node.keyring, Destruction(acme.id, acme.id))
    await lifecycle.destroy_again(acme.node.journal, acme.node.keyring, Destruction(acme.id, acme.id))
    assert (await organization.organization(acme.reads)).status == "deleted"
    assert await personal(acme) == []
    assert await acme.reads.all(users.USERS_PAGE, after="", most=10) == []


async def test_what_a_backup_brings_back_of_an_erased_person_goes_again(acme: Tenant) -> None:
    anne = await acme.user()
    await acme.group("everyone", anne)
    await lifecycle.destroy_again(acme.node.journal, acme.node.keyring, Destruction(acme.id, anne))
    assert await acme.reads.all(users.USER, id=anne) == []
    assert anne in await acme.cuts()
    assert not any(b"anne@" in data for data in await personal(acme))


async def test_a_user_is_erased_from_record_and_log_and_the_log_still_verifies(acme: Tenant, tmp_path: Path) -> None:
    anne = await acme.user()
    await acme.run(users.change, anne, None, "Anne B.")
    assert any(b"anne@" in data for data in await personal(acme))
    with pytest.raises(Conflict):
        await lifecycle.erase_user(acme.node.journal, acme.scope, SYSTEM, anne)
    await acme.run(users.remove, anne)
    for _ in range(2):
        await lifecycle.erase_user(acme.node.journal, acme.scope, SYSTEM, anne)
    assert not any(b"anne@" in data or b"Anne B." in data for data in await personal(acme))
    assert await acme.reads.all(users.USER, id=anne) == []
    with pytest.raises(NotFound):
        await lifecycle.erase_user(acme.node.journal, acme.scope, SYSTEM, acme.new("user"))
    await acme.ledger.checkpointed()
    await acme.ledger.export(tmp_path / "log")
    assert verify_export(tmp_path / "log").size > 0


async def test_ten_05_an_id_never_comes_back(acme: Tenant, globex: Tenant) -> None:
    """TEN-05: an id that was removed is nobody's ever after, here and in another organization; the same person is another."""
    anne = await acme.user()
    await acme.run(users.remove, anne)
    with pytest.raises(Conflict):
        async with acme.begin() as w:
            users.add(w, anne, users.Profile("anne@acme.example", "Anne"), acme.now)
    assert await acme.user() != anne
    assert await globex.reads.all(users.USER, id=anne) == []


async def test_the_last_owner_is_neither_deactivated_nor_removed_nor_deprived(acme: Tenant) -> None:
    for refused in (
        acme.run(users.deactivate, acme.owner),
        acme.run(users.remove, acme.owner),
        take(acme, acme.owner),
    ):
        with pytest.raises(LastOwner):
            await refused
    second = await acme.user()
    async with acme.begin() as w:
        roles.give(w, "owner", second)
    await acme.run(users.deactivate, acme.owner)
    with pytest.raises(LastOwner):
        await acme.run(users.deactivate, second)


async def test_two_owners_who_deactivate_each_other_leave_one(acme: Tenant, rounds: int) -> None:
    owner = acme.owner
    for _ in range(rounds):
        second = await acme.user()
        async with acme.begin() as w:
            roles.give(w, "owner", second)
        outcomes = await asyncio.gather(
            *(acme.run(users.deactivate, one) for one in (owner, second)), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes if outcome] == [LastOwner]
        owner = next(one for one, outcome in zip((owner, second), outcomes, strict=True) if outcome)


async def test_sets_of_a_tenant_and_the_platform_never_wait_for_each_other_in_a_circle(fresh: Config) -> None:
    async with node_of(fresh) as node:
        for _ in range(3):
            tenant = await begun(node, "acme")
            owner, another = tenant.owner, await tenant.user()
            async with tenant.begin() as w:
                roles.give(w, "owner", another)
            group = await tenant.group("team", another)
            outcomes = await asyncio.gather(
                *(enter(tenant) for _ in range(4)),
                *(tenant.run(users.change, another, None, f"Name {number}") for number in range(2)),
                *(tenant.run(groups.rename, group, f"team {number}") for number in range(2)),
                tenant.run(users.remove, another),
                tenant.run(users.deactivate, owner),
                delete(tenant),
                return_exceptions=True,
            )
            refused = {type(outcome) for outcome in outcomes if outcome}
            assert refused <= {Conflict, LastOwner, NotFound, OrganizationGone}
    assert deadlocks(fresh) == 0


async def enter(tenant: Tenant) -> None:
    async with tenant.begin(OPERATOR, with_platform=True) as w:
        now = tenant.now
        entries.enter(w, tenant.new("entry"), OPERATOR, "A ticket.", now_ms=now, ends_at_ms=now + 60_000)


async def test_an_owner_that_expires_is_not_enough(acme: Tenant) -> None:
    lasting, passing = acme.new("service"), acme.new("service")
    async with acme.begin() as w:
        services.add(w, passing, "for an hour", acme.now, acme.now + HOUR_MS)
        roles.give(w, "owner", passing)
    with pytest.raises(LastOwner):
        await take(acme, acme.owner)
    async with acme.begin() as w:
        services.add(w, lasting, "for ever", acme.now)
        roles.give(w, "owner", lasting)
    await take(acme, acme.owner)


async def test_an_owner_who_lost_access_does_not_count(acme: Tenant) -> None:
    second = await acme.user()
    async with acme.begin() as w:
        roles.give(w, "owner", second)
    await acme.run(users.deactivate, second)
    with pytest.raises(LastOwner):
        await take(acme, acme.owner)
    await acme.run(parties.reactivate, PartyKind.USER, second)
    await take(acme, acme.owner)


async def take(tenant: Tenant, owner: str) -> None:
    await tenant.run(roles.take, "owner", owner)


async def test_an_organization_that_was_never_begun_is_not_there(node: Node, acme: Tenant) -> None:
    assert await organization.organization(acme.reads)
    with pytest.raises(NoOrganization):
        await organization.organization(node.journal.reads(scopes.of_job(node.ids.new("org"))))


async def test_the_platform_lists_organizations_in_the_order_of_their_ids(node: Node, acme: Tenant) -> None:
    later = await begun(node, "later")
    rows = await organization.listed(node.engine, acme.id, 1)
    assert [row.id for row in rows] == [later.id]
