"""Accounts belong to the platform."""

import pytest

from tenantry.app.node import Node
from tenantry.core import scopes
from tenantry.core.errors import Invalid, Misuse, NotFound
from tenantry.organizations import accounts
from tenantry.organizations.accounts import ACCOUNT_OF_EMAIL, AddressTaken
from tests.organizations.tenants import Tenant


@pytest.fixture
def platform(node: Node) -> Tenant:
    """The platform's own organization."""
    return Tenant(node, scopes.of_platform(), "")


async def opened(tenant: Tenant, email: str) -> str:
    account = tenant.new("account")
    async with tenant.begin() as w:
        accounts.open_account(w, account, email, tenant.now)
    return account


async def test_an_address_has_one_account_in_any_spelling(platform: Tenant) -> None:
    name = platform.new("account")[8:].lower()
    account = await opened(platform, f"{name}@Example.com")
    with pytest.raises(AddressTaken):
        await opened(platform, f"{name.upper()}@example.COM")
    assert (await platform.reads.one(ACCOUNT_OF_EMAIL, email=f"{name}@example.com")).id == account


async def test_a_closed_account_is_cut_and_its_address_free(platform: Tenant) -> None:
    email = f"{platform.new('account')[8:].lower()}@example.com"
    account = await opened(platform, email)
    await platform.run(accounts.close_account, account, "Asked for.")
    assert account in await platform.cuts()
    with pytest.raises(NotFound):
        await platform.run(accounts.close_account, account)
    assert await opened(platform, email) != account


async def test_an_organization_has_no_accounts(platform: Tenant, acme: Tenant) -> None:
    assert await opened(platform, f"{platform.new('account')[8:].lower()}@example.com")
    with pytest.raises(Misuse):
        await opened(acme, "anne@example.com")


@pytest.mark.parametrize("email", ["", "anne", "anne@"])
def test_an_account_has_an_address(email: str) -> None:
    assert accounts.address("Anne@Example.com") == "anne@example.com"
    with pytest.raises(Invalid):
        accounts.address(email)
