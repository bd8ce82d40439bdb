"""What the token endpoint gives over HTTP: a token for whoever proved itself, bound to its key, and recorded before it is handed out."""

import pytest

from tenantry.core import scopes
from tenantry.core.ids import PLATFORM
from tenantry.organizations import services
from tenantry.sessions.claims import RULES, Confirmation, IdentityClass
from tenantry.sessions.tokens import WrongSender
from tests.oauth.keys import ISSUER, KeyPair
from tests.oauth.stand import API, CLASSES, Server, basic, claims_of, client, refused, resource, with_secret
from tests.stand.credentials import access_tokens
from tests.stand.organizations import Organization

BOUND = ("agent", "mcp", "job")
IDENTITIES = {"mcp": IdentityClass.MCP_SERVER, **{name: IdentityClass(name) for name in ("service", "agent", "job")}}


@pytest.mark.parametrize("named", CLASSES)
async def test_a_client_of_each_class_gets_a_bound_token_for_itself(
    server: Server, acme: Organization, named: str
) -> None:
    bearer = await client(acme, named)
    said = (await server.token(bearer)).json()
    lives_s = RULES[IDENTITIES[named]].lifetime_ms // 1000
    assert (said["token_type"], said["scope"], said["expires_in"]) == ("DPoP", "docs:read", lives_s)
    claims = await claims_of(server, said["access_token"])
    assert (claims["iss"], claims["aud"], claims["org_id"]) == (ISSUER, API, acme.id)
    assert (claims["sub"], claims["client_id"]) == (bearer.id, bearer.id)
    assert claims["cnf"] == {"jkt": bearer.pair.thumbprint}
    assert claims["exp"] - claims["iat"] == lives_s


@pytest.mark.parametrize("named", CLASSES)
async def test_the_token_is_used_with_the_key_that_it_is_bound_to_and_no_other(
    server: Server, acme: Organization, named: str
) -> None:
    bearer = await client(acme, named)
    token = (await server.token(bearer)).json()["access_token"]
    tokens = access_tokens(server.node)
    verified = await tokens.verify(token, audience=API, sender=Confirmation(jkt=bearer.pair.thumbprint))
    assert (verified.identity, verified.principal.id) == (IDENTITIES[named], bearer.id)
    for other in (Confirmation(), Confirmation(jkt=KeyPair.generate().thumbprint)):
        with pytest.raises(WrongSender):
            await tokens.verify(token, audience=API, sender=other)


async def test_a_token_is_in_the_log_before_it_is_handed_out_and_makes_no_change(
    server: Server, acme: Organization
) -> None:
    bearer = await client(acme, "agent")
    before = await acme.holdings()
    token = (await server.token(bearer)).json()["access_token"]
    after = await acme.holdings()
    (event,) = after.events()[len(before.leaves) :]
    claims = await claims_of(server, token)
    assert (event["type"], event["actor"], event["targets"]) == ("token.issued", [bearer.id], [bearer.id])
    said = event["data"]
    assert (said["token"], said["key"], said["method"]) == (claims["jti"], bearer.key, "private_key_jwt")
    assert (said["resource"], said["scope"], said["bound"]) == (API, "docs:read", True)
    assert (after.changes, after.head.rev) == (before.changes, before.head.rev)
    assert token not in str(after)


async def test_a_service_may_have_a_bearer_token_and_the_others_may_not(server: Server, acme: Organization) -> None:
    service = await client(acme, "service")
    said = (await server.post(server.form(**server.by_assertion(service)))).json()
    assert said["token_type"] == "Bearer"
    assert "cnf" not in await claims_of(server, said["access_token"])
    for named in BOUND:
        bearer = await client(acme, named)
        before = await acme.holdings()
        refused(await server.post(server.form(**server.by_assertion(bearer))), "invalid_dpop_proof")
        assert (await acme.holdings()).leaves == before.leaves


async def test_a_client_of_the_platform_gets_a_token_of_the_platform(server: Server) -> None:
    platform = Organization(server.node, scopes.of_platform())
    at = f"https://{server.node.ids.new('resource').lower()}.example.com/"
    await resource(platform, at)
    keyed, secret = await client(platform, "service"), await with_secret(platform)
    for answer in (await server.token(keyed, resource=at), await server.post(server.form(resource=at), basic(secret))):
        assert (await claims_of(server, answer.json()["access_token"]))["org_id"] == PLATFORM


async def test_only_a_service_gets_an_hour_and_only_where_its_resource_follows_the_feed(
    server: Server, acme: Organization
) -> None:
    followed = "https://followed.example.com/"
    await resource(acme, followed, follows_feed=True)
    lives = {}
    for named in CLASSES:
        bearer = await client(acme, named)
        lives[named] = [(await server.token(bearer, resource=at)).json()["expires_in"] for at in (API, followed)]
    assert lives == {"service": [600, 3600], "agent": [300, 300], "mcp": [300, 300], "job": [300, 300]}


async def test_a_token_ends_no_later_than_the_key_and_the_client_it_descends_from(
    server: Server, acme: Organization
) -> None:
    soon_ms = server.now_ms + 60_000
    bearer = await with_secret(acme, ends_at_ms=soon_ms)
    answer = await server.post(server.form(), basic(bearer))
    assert answer.json()["expires_in"] <= 60
    ending = acme.node.ids.new("service")
    async with acme.begin() as w:
        services.add(w, ending, "Ending", server.now_ms, soon_ms)
    answer = await server.post(server.form(), basic(await with_secret(acme, ending)))
    assert answer.json()["expires_in"] <= 60
