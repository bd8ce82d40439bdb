"""Registered keys and secrets: which are taken, by whom, for how long, and what their end cuts."""

import msgspec
import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey

from tenantry.core.errors import Invalid, NotFound
from tenantry.core.secrets import Secret
from tenantry.organizations import keys
from tenantry.organizations.keys import KEY, KEYS_MAX, KeyGone, KeyTaken, PublicJwk, TooManyKeys
from tests.organizations.stock import a_jwk, stocked
from tests.organizations.tenants import HOUR_MS, Tenant

P256 = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}


def public(key: ECKey | OKPKey | RSAKey) -> PublicJwk:
    return PublicJwk(**{name: str(value) for name, value in key.as_dict(private=False).items() if name != "kid"})


async def register(tenant: Tenant, principal: str, key: PublicJwk, ends_at_ms: int | None = None) -> str:
    made = tenant.new("key")
    async with tenant.begin() as w:
        keys.register(w, made, principal, key, now_ms=tenant.now, ends_at_ms=ends_at_ms)
    return made


async def issue(tenant: Tenant, principal: str) -> Secret:
    async with tenant.begin() as w:
        return keys.issue_secret(w, tenant.new("key"), principal, now_ms=tenant.now)


@pytest.mark.parametrize(
    "key",
    [
        ECKey.generate_key("P-256"),
        OKPKey.generate_key("Ed25519"),
        RSAKey.generate_key(2048),
    ],
    ids=["P-256", "Ed25519", "RSA"],
)
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_key_that_we_take_is_found_by_its_thumbprint(acme: Tenant, key: ECKey | OKPKey | RSAKey) -> None:
    service = await acme.service()
    made = await register(acme, service, public(key))
    (found,) = await keys.usable_keys(acme.reads, service, acme.now)
    assert (found.id, found.thumbprint) == (made, key.thumbprint())


@pytest.mark.parametrize(
    "key",
    [
        P256 | {"y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a1"},
        msgspec.to_builtins(public(ECKey.generate_key("P-384"))),
        P256 | {"crv": "P-521"},
        P256 | {"crv": "secp256k1"},
        P256 | {"x": "!"},
        {"kty": "oct"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "OKP", "crv": "X25519", "x": "AA"},
        {"kty": ""},
    ],
)
def test_what_is_no_key_that_we_take_is_refused(key: dict[str, str]) -> None:
    assert keys.thumbprint(PublicJwk(**P256))
    with pytest.raises(Invalid):
        keys.thumbprint(PublicJwk(**key))


@pytest.mark.parametrize("bits", [1024, 8192])
def test_an_rsa_key_of_another_size_is_refused(bits: int) -> None:
    modulus = RSAKey.generate_key(2048).as_dict(private=False)["n"]
    short = {1024: str(modulus)[:171], 8192: str(modulus) * 4}[bits]
    with pytest.raises(Invalid):
        keys.thumbprint(PublicJwk(kty="RSA", n=short, e="AQAB"))


async def test_nobody_but_a_service_holds_a_secret(acme: Tenant) -> None:
    have = await stocked(acme)
    secret = await issue(acme, have["service_id"])
    assert (await keys.of_secret(acme.reads, secret, acme.now)).principal_id == have["service_id"]
    for principal in (have["agent_id"], have["job_id"], have["server_id"], have["user_id"], have["application_id"]):
        with pytest.raises(NotFound):
            await issue(acme, principal)


async def test_a_user_and_a_visiting_agent_have_no_key_here(acme: Tenant) -> None:
    have = await stocked(acme)
    for principal in (have["agent_id"], have["job_id"], have["server_id"]):
        await register(acme, principal, a_jwk())
    for principal in (have["user_id"], have["visitor_id"], have["group_id"]):
        with pytest.raises(NotFound):
            await register(acme, principal, a_jwk())


async def test_a_key_speaks_for_one_principal_of_an_organization(acme: Tenant, globex: Tenant) -> None:
    key = a_jwk()
    await register(acme, await acme.service(), key)
    with pytest.raises(KeyTaken):
        await register(acme, await acme.service("other"), key)
    await register(globex, await globex.service(), key)


async def test_a_rotation_overlaps_and_then_the_old_key_is_of_no_use(acme: Tenant) -> None:
    service = await acme.service()
    old, new = await register(acme, service, a_jwk()), await register(acme, service, a_jwk())
    now = acme.now
    await acme.run(keys.retire, service, old, now_ms=now, overlap_ms=HOUR_MS)
    for at, expected in ((now + HOUR_MS - 1, [old, new]), (now + HOUR_MS, [new])):
        assert [key.id for key in await keys.usable_keys(acme.reads, service, at)] == expected
    assert old not in await acme.cuts()
    with pytest.raises(KeyGone):
        await acme.run(keys.retire, service, old, now_ms=now, overlap_ms=HOUR_MS)


async def test_a_revoked_key_is_of_no_use_and_cut(acme: Tenant) -> None:
    service = await acme.service()
    revoked, kept = await register(acme, service, a_jwk()), await register(acme, service, a_jwk())
    await acme.run(keys.revoke, service, revoked, "Leaked.")
    await acme.run(keys.revoke, service, revoked, "Leaked.")
    assert revoked in await acme.cuts()
    assert [key.id for key in await keys.usable_keys(acme.reads, service, acme.now)] == [kept]
    assert (await acme.told()).count("principal.key_revoked") == 1


async def test_a_revoked_or_expired_secret_is_unknown(acme: Tenant) -> None:
    service = await acme.service()
    secret = await issue(acme, service)
    found = await keys.of_secret(acme.reads, secret, acme.now)
    assert secret.reveal() not in repr(found)
    await acme.run(keys.retire, service, found.id, now_ms=acme.now, overlap_ms=HOUR_MS)
    ends = (await acme.reads.one(KEY, principal_id=service, id=found.id)).ends_at_ms
    assert ends is not None
    await keys.of_secret(acme.reads, secret, ends - 1)
    with pytest.raises(NotFound):
        await keys.of_secret(acme.reads, secret, ends)
    await acme.run(keys.revoke, service, found.id)
    with pytest.raises(NotFound):
        await keys.of_secret(acme.reads, secret, acme.now)


async def test_a_secret_of_another_organization_is_unknown(acme: Tenant, globex: Tenant) -> None:
    secret = await issue(acme, await acme.service())
    assert await keys.of_secret(acme.reads, secret, acme.now)
    with pytest.raises(NotFound):
        await keys.of_secret(globex.reads, secret, globex.now)


async def test_a_principal_has_few_keys_in_use(acme: Tenant) -> None:
    service = await acme.service()
    made = [await register(acme, service, a_jwk()) for _ in range(KEYS_MAX)]
    with pytest.raises(TooManyKeys):
        await register(acme, service, a_jwk())
    await acme.run(keys.revoke, service, made[0])
    await register(acme, service, a_jwk())


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_a_key_ends_in_the_future_and_within_two_years(acme: Tenant) -> None:
    service = await acme.service()
    await register(acme, service, a_jwk(), acme.now + HOUR_MS)
    for ends in (acme.now - 1, acme.now + keys.KEY_LIFE_MAX_MS + HOUR_MS):
        with pytest.raises(Invalid):
            await register(acme, service, a_jwk(), ends)
