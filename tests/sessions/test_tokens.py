"""An access token says what it descends from, is used only by whom and where it was made for, and dies with any of its ancestors."""

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from tenantry.core.errors import Ended
from tenantry.core.ids import PLATFORM
from tenantry.keys.signing import Algorithm, Purpose, Use
from tenantry.sessions.claims import Confirmation, IdentityClass, Verified
from tenantry.sessions.tokens import AccessTokens, WrongSender
from tests.stand.credentials import ISSUER, KEY, RESOURCE, Holder, holders, minted
from tests.stand.organizations import Organization

CLASSES = ("user", "agent", "agent for a user", "service", "mcp server", "job", "entry")


async def used(tokens: AccessTokens, token: str, holder: Holder) -> Verified:
    """The token, used where and by whom it was made for."""
    return await tokens.verify(token, audience=RESOURCE, sender=holder.confirmation)


@pytest.mark.parametrize("named", CLASSES)
async def test_a_token_of_each_class_gives_back_who_acts_for_whom(
    tokens: AccessTokens, acme: Organization, named: str
) -> None:
    holder = holders(acme.node, acme.id)[named]
    verified = await used(tokens, (await minted(tokens, acme.id, holder)).token, holder)
    assert verified.identity == IdentityClass(named.removesuffix(" for a user").replace(" ", "_"))
    assert verified.principal.chain() == (*holder.actors, holder.subject)
    assert verified.principal.org == acme.id
    assert verified.principal.lineage is not None
    assert verified.principal.lineage.path == holder.path
    assert verified.scope == {"docs:read", "docs:write"}


@pytest.mark.parametrize("named", CLASSES)
async def test_the_cut_of_anything_that_a_token_descends_from_ends_it_although_it_was_verified_before(
    tokens: AccessTokens, acme: Organization, named: str
) -> None:
    for place in range(len(holders(acme.node, acme.id)[named].path)):
        holder = holders(acme.node, acme.id)[named]
        token = (await minted(tokens, acme.id, holder)).token
        await used(tokens, token, holder)
        revision = await acme.cut(holder.path[place])
        await acme.node.cuts.lineage(acme.id, (), revision)
        with pytest.raises(Ended):
            await used(tokens, token, holder)


@pytest.mark.parametrize("named", CLASSES)
async def test_another_library_reads_a_token_with_the_published_key_alone(
    tokens: AccessTokens, acme: Organization, named: str
) -> None:
    holder = holders(acme.node, acme.id)[named]
    token = (await minted(tokens, acme.id, holder)).token
    (key,) = await acme.node.published_keys.of(Use(Purpose.ACCESS_TOKEN, ISSUER, PLATFORM))
    jwk = key.jwk()
    peer = ECKey.import_key({"kty": jwk.kty, "crv": jwk.crv, "x": jwk.x, "y": jwk.y})
    read = jwt.decode(token, peer, algorithms=[Algorithm.ES256.value])
    assert read.header == {"alg": "ES256", "typ": "at+jwt", "kid": key.kid()}
    assert read.claims["org_id"] == acme.id
    assert len(token) <= 2_048


async def test_a_bound_token_is_refused_from_whoever_proves_no_key_or_another(
    tokens: AccessTokens, acme: Organization
) -> None:
    holder = holders(acme.node, acme.id)["agent"]
    token = (await minted(tokens, acme.id, holder)).token
    await tokens.verify(token, audience=RESOURCE, sender=KEY)
    for sender in (Confirmation(), Confirmation(jkt="x" * 43), Confirmation(x5t=KEY.jkt)):
        with pytest.raises(WrongSender):
            await tokens.verify(token, audience=RESOURCE, sender=sender)
