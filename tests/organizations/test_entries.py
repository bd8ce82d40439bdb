"""Operators in an organization, and the domains they vouch for."""

import pytest

from tenantry.core import scopes
from tenantry.core.errors import Denied, Invalid, NotFound
from tenantry.core.ids import PLATFORM
from tenantry.core.principal import Principal
from tenantry.organizations import domains, doors, entries
from tenantry.organizations.domains import AlreadyClaimed, AlreadyProved
from tenantry.organizations.doors import DoorKind, DoorTaken
from tenantry.organizations.entries import ENTRY, ENTRY_MAX_MS, EntryOver
from tests.organizations.stock import OPERATOR
from tests.organizations.tenants import Tenant

OTHER = Principal("user_00000000000000000000000002", PLATFORM, None)


async def enter(tenant: Tenant, operator: Principal = OPERATOR, reason: str = "A ticket.", for_ms: int = 60_000) -> str:
    entry, now = tenant.new("entry"), tenant.now
    async with tenant.begin(operator, with_platform=True) as w:
        entries.enter(w, entry, operator, reason, now_ms=now, ends_at_ms=now + for_ms)
    return entry


async def end(tenant: Tenant, entry: str, *, vetoed: bool) -> None:
    known = await tenant.reads.one(ENTRY, id=entry)
    async with tenant.begin(with_platform=True) as w:
        entries.end(w, known, tenant.now, vetoed=vetoed)


async def platform_events(tenant: Tenant) -> list[tuple[str, list[str]]]:
    platform = Tenant(tenant.node, scopes.of_platform(), "")
    return [(event["type"], event["targets"]) for event in await platform.events()]


async def test_ten_15_an_operator_enters_for_a_reason_and_a_time_and_both_logs_say_so(acme: Tenant) -> None:
    """TEN-15: an entry is told in the tenant's log before there is a scope to read by, ends by itself, and by the tenant's veto."""
    entry = await enter(acme)
    last = (await acme.events())[-1]
    assert (last["type"], last["actor"], last["data"]["reason"]) == ("operator.entered", [OPERATOR.id], "A ticket.")
    assert last["counterpart"] == PLATFORM
    assert ("operator.entered", [entry, acme.id, OPERATOR.id]) in await platform_events(acme)
    known = await acme.reads.one(ENTRY, id=entry)
    assert known.path() == (acme.id, entry)
    assert (await entries.scope_of(acme.reads, entry, OPERATOR, known.ends_at_ms - 1)).org == acme.id
    with pytest.raises(EntryOver):
        await entries.scope_of(acme.reads, entry, OPERATOR, known.ends_at_ms)
    await end(acme, entry, vetoed=True)
    assert entry in await acme.cuts()
    with pytest.raises(EntryOver):
        await entries.scope_of(acme.reads, entry, OPERATOR, acme.now)
    assert (await acme.events())[-1]["data"] == {
        "entry": entry,
        "operator": OPERATOR.id,
        "organization": acme.id,
        "vetoed": True,
    }


async def test_an_entry_ends_once(acme: Tenant) -> None:
    entry = await enter(acme)
    await end(acme, entry, vetoed=False)
    with pytest.raises(EntryOver):
        await end(acme, entry, vetoed=True)


async def test_an_entry_has_a_reason_and_at_most_thirty_minutes(acme: Tenant) -> None:
    await enter(acme, for_ms=ENTRY_MAX_MS)
    for reason, for_ms in ((" ", 60_000), ("A ticket.", ENTRY_MAX_MS + 1), ("A ticket.", 0)):
        with pytest.raises(Invalid):
            await enter(acme, reason=reason, for_ms=for_ms)


async def test_only_an_operator_of_the_platform_enters_and_only_by_an_entry_of_its_own(
    acme: Tenant, globex: Tenant
) -> None:
    entry = await enter(acme)
    assert await entries.scope_of(acme.reads, entry, OPERATOR, acme.now)
    with pytest.raises(Denied):
        await entries.scope_of(acme.reads, entry, OTHER, acme.now)
    with pytest.raises(NotFound):
        await entries.scope_of(globex.reads, entry, OPERATOR, globex.now)
    with pytest.raises(Denied):
        await enter(acme, Principal(globex.owner, globex.id, None))


async def test_nobody_enters_the_platform(acme: Tenant) -> None:
    await enter(acme)
    with pytest.raises(Denied):
        await enter(Tenant(acme.node, scopes.of_platform(), ""))


async def claim(tenant: Tenant, name: str) -> str:
    domain = tenant.new("domain")
    async with tenant.begin() as w:
        domains.claim(w, domain, name, tenant.now)
    return domain


async def prove(tenant: Tenant, domain: str) -> None:
    async with tenant.begin(OPERATOR, with_platform=True) as w:
        await domains.prove(w, tenant.reads, domain, "Seen by phone.", tenant.now)


async def test_a_proved_domain_leads_to_one_organization_and_a_claim_to_none(acme: Tenant, globex: Tenant) -> None:
    name = f"{acme.id[4:].lower()}.example"
    ours, theirs = await claim(acme, name.upper()), await claim(globex, name)
    with pytest.raises(NotFound):
        await doors.behind(acme.node.engine, DoorKind.DOMAIN, name)
    await prove(acme, ours)
    assert (await doors.behind(acme.node.engine, DoorKind.DOMAIN, name)).org == acme.id
    with pytest.raises(DoorTaken):
        await prove(globex, theirs)
    assert (await globex.reads.one(domains.DOMAIN, id=theirs)).status == "claimed"
    with pytest.raises(AlreadyProved):
        await prove(acme, ours)
    await acme.run(domains.remove, ours)
    await prove(globex, theirs)
    assert (await doors.behind(acme.node.engine, DoorKind.DOMAIN, name)).org == globex.id
    assert ("domain.proved", [theirs]) in await platform_events(globex)


async def test_a_domain_is_claimed_once_by_an_organization(acme: Tenant) -> None:
    await claim(acme, "acme.example")
    with pytest.raises(AlreadyClaimed):
        await claim(acme, "Acme.Example")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "acme",
        "acme.example.",
        ".example",
        "-a.example",
        "a..b",
        "a b.example",
        "ä.example",
        "a.example\n",
        "*.a.example",
    ],
)
def test_what_is_no_domain_is_refused(name: str) -> None:
    assert domains.domain_name("xn--4ca.Example") == "xn--4ca.example"
    with pytest.raises(Invalid):
        domains.domain_name(name)
