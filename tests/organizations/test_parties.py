"""Users, groups, services, MCP servers, jobs, applications and resources: their lives, and what they may name."""

import asyncio
import sqlite3
from contextlib import closing

import psycopg
import pytest

from tenantry.app.config import Config
from tenantry.core.errors import Conflict, Invalid, NotFound
from tenantry.core.secrets import Secret
from tenantry.organizations import (
    applications,
    directory,
    doors,
    groups,
    invitations,
    jobs,
    keys,
    mcp_servers,
    parties,
    resources,
    roles,
    services,
    users,
)
from tenantry.organizations.applications import ApplicationKind, NewApplication
from tenantry.organizations.doors import DoorKind
from tenantry.organizations.groups import NameTaken, NoMember
from tenantry.organizations.invitations import LIFE_MAX_MS, NotOpen
from tenantry.organizations.parties import NotActive, PartyKind
from tenantry.organizations.resources import IndicatorTaken, NewResource
from tenantry.organizations.users import AlreadyUser, Known, Profile
from tests.organizations.stock import stocked
from tests.organizations.tenants import HOUR_MS, Tenant

LIVES = {
    PartyKind.USER: "user_id",
    PartyKind.BLUEPRINT: "blueprint_id",
    PartyKind.AGENT: "agent_id",
    PartyKind.VISITING_AGENT: "visitor_id",
    PartyKind.SERVICE: "service_id",
    PartyKind.APPLICATION: "application_id",
    PartyKind.RESOURCE: "resource_id",
}


async def test_whoever_is_deactivated_is_cut_once_and_may_be_let_in_again(acme: Tenant) -> None:
    have = await stocked(acme)
    for kind, name in LIVES.items():
        one = have[name]
        await acme.run(parties.deactivate, kind, one, "Because.")
        await acme.run(parties.deactivate, kind, one, "Because.")
        assert (await parties.party(acme.reads, kind, one)).status == "deactivated"
        assert one in await acme.cuts()
        await acme.run(parties.reactivate, kind, one)
        await acme.run(parties.reactivate, kind, one)
        assert (await parties.party(acme.reads, kind, one)).status == "active"
    told = await acme.told()
    assert (told.count("party.deactivated"), told.count("party.reactivated")) == (len(LIVES), len(LIVES))


async def test_two_who_deactivate_at_once_do_so_once(acme: Tenant, rounds: int) -> None:
    for _ in range(rounds):
        anne = await acme.user()
        await asyncio.gather(*(acme.run(users.deactivate, anne) for _ in range(2)))
        events = [event for event in await acme.events() if event["type"] == "party.deactivated"]
        assert [event["targets"] for event in events].count([anne]) == 1


async def test_a_removed_party_is_unknown_ever_after(acme: Tenant) -> None:
    anne = await acme.user()
    group = await acme.group("team", anne)
    async with acme.begin() as w:
        roles.give(w, "admin", anne)
    await acme.run(users.remove, anne)
    assert await acme.reads.all(groups.MEMBERS_PAGE, group_id=group, after="", most=9) == []
    assert await roles.holders(acme.reads, "admin", "", 9) == []
    for use_case in (parties.deactivate, parties.reactivate, parties.remove):
        with pytest.raises(NotFound):
            await acme.run(use_case, PartyKind.USER, anne)
    with pytest.raises(NotFound):
        async with acme.begin() as w:
            groups.add_member(w, group, anne, acme.now)


async def test_ten_10_the_same_person_key_and_name_in_two_organizations_are_two(acme: Tenant, globex: Tenant) -> None:
    """TEN-10: the same address, connection's subject, group name and indicator in two organizations are two entries."""
    known = Known(connection_id="connection_1", subject="anne")
    for tenant in (acme, globex):
        async with tenant.begin() as w:
            users.add(w, tenant.new("user"), Profile("anne@example.com", "Anne"), tenant.now, known)
            resources.add(w, tenant.new("resource"), NewResource("API", "https://api.example/"), tenant.now)
        await tenant.group("everyone")
    found = [
        await tenant.reads.one(users.USER_OF_SUBJECT, connection_id="connection_1", subject="anne")
        for tenant in (acme, globex)
    ]
    assert [user.org for user in found] == [acme.id, globex.id]


async def test_a_user_is_known_by_connection_and_subject_once_and_never_by_address(acme: Tenant) -> None:
    known = Known(connection_id="connection_1", subject="anne")
    async with acme.begin() as w:
        users.add(w, acme.new("user"), Profile("anne@acme.example", "Anne"), acme.now, known)
    with pytest.raises(AlreadyUser):
        async with acme.begin() as w:
            users.add(w, acme.new("user"), Profile("other@acme.example", "Other"), acme.now, known)
    async with acme.begin() as w:
        other = Known(connection_id="connection_2", subject="anne")
        users.add(w, acme.new("user"), Profile("anne@acme.example", "Anne"), acme.now, other)
    with pytest.raises(Invalid):
        Known(subject="anne")


async def test_a_change_of_a_user_leaves_what_it_does_not_name(acme: Tenant) -> None:
    anne = await acme.user()
    await acme.run(users.change, anne, None, "Anne B.")
    user = await acme.reads.one(users.USER, id=anne)
    assert (user.email, user.display_name, user.path()) == ("anne@acme.example", "Anne B.", (acme.id, anne))


@pytest.mark.parametrize(
    "email", ["anne", "anne@", "@acme.example", "an ne@acme.example", "a" * 250 + "@a.example", "a\u202e@b.c"]
)
def test_what_is_no_address_is_refused(email: str) -> None:
    assert Profile("anne@acme.example", "")
    with pytest.raises(Invalid):
        Profile(email, "")


async def test_fifty_adders_are_fifty_members(acme: Tenant) -> None:
    group, members = await acme.group(), [await acme.service(f"s{n}") for n in range(50)]

    async def add(member: str) -> None:
        async with acme.begin() as w:
            groups.add_member(w, group, member, acme.now)

    await asyncio.gather(*(add(member) for member in members))
    await add(members[0])
    found = await acme.reads.all(groups.MEMBERS_PAGE, group_id=group, after="", most=100)
    assert [member.id for member in found] == sorted(members)


async def test_a_group_has_one_name_and_a_name_one_group(acme: Tenant) -> None:
    one, other = await acme.group("one"), await acme.group("other")
    with pytest.raises(NameTaken):
        await acme.group("one")
    with pytest.raises(NameTaken):
        await acme.run(groups.rename, other, "one")
    await acme.run(groups.rename, one, "one")
    await acme.run(groups.rename, one, "another")
    assert (await acme.reads.one(groups.GROUP, id=one)).name == "another"


async def test_a_removed_group_has_no_members_and_no_role(acme: Tenant) -> None:
    anne = await acme.user()
    group = await acme.group("team", anne)
    async with acme.begin() as w:
        roles.give(w, "admin", group)
    assert await roles.holders(acme.reads, "admin", "", 9) == [f"group:{group}#member"]
    await acme.run(groups.remove, group)
    assert await roles.holders(acme.reads, "admin", "", 9) == []
    assert await acme.reads.all(groups.GROUPS_OF, member_id=anne, after="", most=9) == []
    with pytest.raises(NotFound):
        async with acme.begin() as w:
            groups.add_member(w, group, anne, acme.now)


async def test_taking_out_who_is_no_member_is_refused(acme: Tenant) -> None:
    anne = await acme.user()
    group = await acme.group("team", anne)
    for refused in (False, True):
        try:
            async with acme.begin() as w:
                groups.remove_member(w, group, anne)
        except NoMember:
            assert refused
        else:
            assert not refused


async def test_an_invitation_is_accepted_once_with_its_role(acme: Tenant) -> None:
    invitation, user = acme.new("invitation"), acme.new("user")
    async with acme.begin() as w:
        times = {"now_ms": acme.now, "ends_at_ms": acme.now + HOUR_MS}
        secret = invitations.invite(w, invitation, acme.owner, "bob@acme.example", "admin", **times)
    assert secret.organization() == acme.id
    found = await invitations.named_by(acme.reads, secret)
    async with acme.begin() as w:
        invitations.accept(w, found, user, "Bob", acme.now, Known(account_id="account_1"))
    assert await roles.holders(acme.reads, "admin", "", 9) == [f"user:{user}"]
    assert (await acme.reads.one(users.USER, id=user)).email == "bob@acme.example"
    again = await invitations.named_by(acme.reads, secret)
    assert (again.status, again.user_id, again.email) == ("accepted", user, "")
    with pytest.raises(NotOpen):
        async with acme.begin() as w:
            invitations.accept(w, found, acme.new("user"), "Mallory", acme.now, Known())
    with pytest.raises(NotFound):
        await invitations.named_by(acme.reads, Secret.issue(acme.id))


async def test_an_invitation_that_expired_was_withdrawn_or_lost_its_giver_is_closed(acme: Tenant) -> None:
    giver = await acme.user()

    async def invited() -> invitations.Invitation:
        invitation = acme.new("invitation")
        async with acme.begin() as w:
            times = {"now_ms": acme.now, "ends_at_ms": acme.now + HOUR_MS}
            secret = invitations.invite(w, invitation, giver, "bob@acme.example", "", **times)
        return await invitations.named_by(acme.reads, secret)

    async def accept(found: invitations.Invitation, at: int) -> None:
        async with acme.begin() as w:
            invitations.accept(w, found, acme.new("user"), "Bob", at, Known())

    found = await invited()
    with pytest.raises(NotOpen):
        await accept(found, found.ends_at_ms)
    await accept(found, found.ends_at_ms - 1)
    withdrawn, orphaned = await invited(), await invited()
    await acme.run(invitations.withdraw, withdrawn.id)
    await acme.run(users.deactivate, giver)
    for closed in (withdrawn, orphaned):
        with pytest.raises(NotOpen):
            await accept(closed, acme.now)
    with pytest.raises(NotOpen):
        await acme.run(invitations.withdraw, withdrawn.id)


async def test_an_invitation_to_a_role_is_closed_once_its_giver_may_not_give_it(acme: Tenant) -> None:
    giver = await acme.user()
    async with acme.begin() as w:
        roles.give(w, "owner", giver)
    found = []
    for role in ("admin", "admin", ""):
        async with acme.begin() as w:
            times = {"now_ms": acme.now, "ends_at_ms": acme.now + HOUR_MS}
            secret = invitations.invite(w, acme.new("invitation"), giver, "bob@acme.example", role, **times)
        found.append(await invitations.named_by(acme.reads, secret))

    async def accept(invitation: invitations.Invitation) -> None:
        async with acme.begin() as w:
            invitations.accept(w, invitation, acme.new("user"), "Bob", acme.now, Known())

    await accept(found[0])
    await acme.run(roles.take, "owner", giver)
    with pytest.raises(NotOpen):
        await accept(found[1])
    await accept(found[2])


async def test_two_who_hold_one_invitation_become_one_user(acme: Tenant, rounds: int) -> None:
    for _ in range(rounds):
        async with acme.begin() as w:
            times = {"now_ms": acme.now, "ends_at_ms": acme.now + HOUR_MS}
            secret = invitations.invite(w, acme.new("invitation"), acme.owner, "bob@acme.example", "", **times)
        found = await invitations.named_by(acme.reads, secret)

        async def accept(found: invitations.Invitation = found) -> None:
            async with acme.begin() as w:
                invitations.accept(w, found, acme.new("user"), "Bob", acme.now, Known())

        outcomes = await asyncio.gather(*(accept() for _ in range(3)), return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", "NotOpen", "NotOpen"]


async def test_an_invitation_ends_in_the_future_and_within_thirty_days(acme: Tenant) -> None:
    for ends in (acme.now, acme.now + LIFE_MAX_MS + HOUR_MS):
        with pytest.raises(Invalid):
            async with acme.begin() as w:
                invitations.invite(
                    w, acme.new("invitation"), acme.owner, "b@a.example", "", now_ms=acme.now, ends_at_ms=ends
                )


async def test_an_mcp_server_and_its_resource_live_and_end_together(acme: Tenant) -> None:
    server, resource = acme.new("mcp"), acme.new("resource")
    async with acme.begin() as w:
        mcp_servers.add(w, server, resource, NewResource("MCP", "https://mcp.example/"), acme.now)
    assert (await resources.of_indicator(acme.reads, "https://mcp.example/")).id == resource
    await acme.run(mcp_servers.deactivate, server)
    assert (await resources.resource(acme.reads, resource)).status == "deactivated"
    await acme.run(mcp_servers.reactivate, server)
    assert (await resources.resource(acme.reads, resource)).status == "active"
    with pytest.raises(Conflict):
        await acme.run(resources.remove, resource)
    await acme.run(mcp_servers.remove, server)
    assert {server, resource} <= await acme.cuts()
    for gone in (directory.record(acme.reads, server), resources.resource(acme.reads, resource)):
        with pytest.raises(NotFound):
            await gone


async def test_an_indicator_names_one_resource(acme: Tenant) -> None:
    one = acme.new("resource")
    async with acme.begin() as w:
        resources.add(w, one, NewResource("API", "https://api.example/", ("a",)), acme.now)
    with pytest.raises(IndicatorTaken):
        async with acme.begin() as w:
            resources.add(w, acme.new("resource"), NewResource("API", "https://api.example/"), acme.now)
    await acme.run(resources.change, one, "API 2", ("b", "c"), follows_feed=True)
    found = await resources.resource(acme.reads, one)
    assert (found.name, found.scopes, found.follows_feed) == ("API 2", ("b", "c"), True)


async def test_a_job_carries_its_initiator_and_ends_with_its_run(acme: Tenant) -> None:
    anne, job, run, own = await acme.user(), acme.new("job"), acme.new("run"), acme.new("job")
    times = {"now_ms": acme.now, "ends_at_ms": acme.now + HOUR_MS}
    async with acme.begin() as w:
        jobs.add(w, job, run, "Nightly", anne, **times)
        jobs.add(w, own, acme.new("run"), "Hourly", None, **times)
    found = await directory.record(acme.reads, job)
    assert found.path() == (acme.id, anne, run)
    assert len((await directory.record(acme.reads, own)).path()) == 2
    await acme.run(jobs.end, job, "Done.")
    await acme.run(jobs.end, job, "Done.")
    assert {job, run} <= await acme.cuts()
    with pytest.raises(NotFound):
        await doors.behind(acme.node.engine, DoorKind.CLIENT, job)


async def test_a_job_of_somebody_without_access_or_without_a_deadline_does_not_begin(acme: Tenant) -> None:
    anne = await acme.user()
    await acme.run(users.deactivate, anne)
    for initiator, ends, refusal in (
        (anne, acme.now + HOUR_MS, NotActive),
        (None, acme.now, Invalid),
        (None, acme.now + jobs.LIFE_MAX_MS + HOUR_MS, Invalid),
    ):
        with pytest.raises(refusal):
            async with acme.begin() as w:
                jobs.add(w, acme.new("job"), acme.new("run"), "J", initiator, now_ms=acme.now, ends_at_ms=ends)


async def test_a_client_id_leads_to_its_organization_until_it_is_removed(acme: Tenant, globex: Tenant) -> None:
    service, application = await acme.service(), globex.new("app")
    async with globex.begin() as w:
        applications.add(w, application, NewApplication("App", ApplicationKind.MCP), globex.now)
    engine = acme.node.engine
    assert (await doors.behind(engine, DoorKind.CLIENT, service)).org == acme.id
    assert (await doors.behind(engine, DoorKind.CLIENT, application)).org == globex.id
    await acme.run(services.remove, service)
    await globex.run(applications.remove, application)
    for gone in (service, application):
        with pytest.raises(NotFound):
            await doors.behind(engine, DoorKind.CLIENT, gone)


async def test_every_principal_is_found_by_its_id_with_its_path(acme: Tenant, globex: Tenant) -> None:
    have = await stocked(acme)
    for name in ("user_id", "agent_id", "visitor_id", "service_id", "server_id", "job_id"):
        found = await directory.record(acme.reads, have[name])
        assert (found.id, found.path()[0]) == (have[name], acme.id)
        with pytest.raises(NotFound):
            await directory.record(globex.reads, have[name])
    with pytest.raises(NotFound):
        await directory.record(acme.reads, have["group_id"])


async def test_ten_03_the_database_itself_refuses_a_row_that_names_another_organizations(
    acme: Tenant, globex: Tenant, deployment: Config
) -> None:
    """TEN-03: composite foreign keys refuse a reference across organizations, whatever statement makes it."""
    ours, theirs, group = await acme.user(), await globex.user(), await acme.group()
    text = f"INSERT INTO group_members (org, group_id, member_id, made_at) VALUES ('{acme.id}', '{group}', '{{}}', 1)"
    if deployment.database.file:
        with closing(sqlite3.connect(deployment.database.file)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(text.format(ours))
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(text.format(theirs))
            connection.rollback()
    else:
        with psycopg.connect(deployment.database.app) as connection:
            connection.execute("SELECT set_config('tenantry.org', %s, true)", (acme.id,))
            connection.execute(text.format(ours).encode())
            with pytest.raises(psycopg.errors.ForeignKeyViolation):
                connection.execute(text.format(theirs).encode())
            connection.rollback()


async def test_a_key_of_a_principal_is_no_other_principals(acme: Tenant) -> None:
    have = await stocked(acme)
    with pytest.raises(NotFound):
        await acme.run(keys.revoke, have["agent_id"], have["key_id"])
    await acme.run(keys.revoke, have["service_id"], have["key_id"])
