"""How clients prove themselves at the token endpoint: by secret or key, one way at a time, and one answer for whatever is wrong."""

from typing import Any

import httpx2
import pytest

from tenantry.oauth.token import FAILURES
from tenantry.organizations import keys
from tests.oauth.keys import ISSUER, KeyPair
from tests.oauth.stand import (
    CLASSES,
    Bearer,
    Server,
    basic,
    claims_of,
    client,
    posted,
    refused,
    registered,
    with_secret,
)
from tests.stand.organizations import Organization

# Secrets


async def test_a_service_with_a_secret_proves_itself_in_the_header_or_in_the_form(
    server: Server, acme: Organization
) -> None:
    bearer = await with_secret(acme)
    for answer in (await server.post(server.form(), basic(bearer)), await server.post(server.form(**posted(bearer)))):
        assert (await claims_of(server, answer.json()["access_token"]))["sub"] == bearer.id
    bound = await server.post(server.form(**posted(bearer)), await server.proof(bearer.pair))
    assert bound.json()["token_type"] == "DPoP"


async def test_unknown_clients_wrong_secrets_and_those_of_others_are_one_answer(
    server: Server, acme: Organization, globex: Organization
) -> None:
    bearer, other, theirs = await with_secret(acme), await with_secret(acme), await with_secret(globex)
    assert (await server.post(server.form(), basic(bearer))).status_code == 200
    unknown = [
        basic(bearer, server.node.ids.new("service")),
        basic(bearer, other.id),
        basic(theirs, bearer.id),
        basic(bearer, theirs.id),
        basic(bearer, "service_x"),
        basic(bearer, bearer.id.lower()),
        basic(bearer, acme.id),
        {"Authorization": "Basic !"},
        {"Authorization": "Basic"},
        {"Authorization": ""},
        {"Authorization": "Bearer x"},
        {"Authorization": "Digest x"},
        {"Authorization": httpx2.BasicAuth(bearer.id, "tnk_short")._auth_header},
    ]
    before = [await org.holdings() for org in (acme, globex)]
    answers = [await server.post(server.form(), headers) for headers in unknown]
    answers.append(await server.post(server.form()))
    answers.append(await server.post(server.form(client_id=bearer.id)))
    for answer in answers:
        refused(answer, "invalid_client", 401)
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="tenantry"'
    assert len({answer.content for answer in answers}) == 1
    assert [await org.holdings() for org in (acme, globex)] == before


@pytest.mark.parametrize("named", ["mcp", "agent", "job"])
async def test_a_secret_proves_none_but_a_service(server: Server, acme: Organization, named: str) -> None:
    service, bearer = await with_secret(acme), await client(acme, named)
    assert (await server.post(server.form(), basic(service))).status_code == 200
    refused(await server.post(server.form(), basic(service, bearer.id)), "invalid_client", 401)


async def test_two_ways_in_one_request_are_refused_although_each_would_do(server: Server, acme: Organization) -> None:
    bearer = await with_secret(acme)
    for form, headers in ((posted(bearer), basic(bearer)), (server.by_assertion(bearer), basic(bearer))):
        refused(await server.post(server.form(**form), headers), "invalid_request")
    both = {**posted(bearer), **server.by_assertion(bearer)}
    refused(await server.post(server.form(**both)), "invalid_request")
    assert (await server.post(server.form(client_id=bearer.id), basic(bearer))).status_code == 200
    other = await with_secret(acme)
    refused(await server.post(server.form(client_id=other.id), basic(bearer)), "invalid_client", 401)


# Assertions


async def test_a_client_with_keys_is_refused_by_a_secret_and_one_with_a_secret_by_a_key(
    server: Server, acme: Organization
) -> None:
    with_key, having_secret = await client(acme, "service"), await with_secret(acme)
    assert (await server.token(with_key)).status_code == 200
    refused(await server.post(server.form(), basic(having_secret, with_key.id)), "invalid_client", 401)
    refused(await server.token(having_secret), "invalid_client", 401)


@pytest.mark.parametrize("named", CLASSES)
async def test_an_assertion_names_a_key_of_its_own_client_by_its_id_or_thumbprint(
    server: Server, acme: Organization, named: str
) -> None:
    mine, other = await client(acme, named), await client(acme, named)
    for kid in (mine.key, mine.pair.thumbprint):
        form = server.form(**server.by_assertion(mine, header={"kid": kid}))
        assert (await server.post(form, await server.proof(mine.pair))).status_code == 200
    stolen = Bearer(mine.id, other.key, other.pair)
    for bearer, kid in ((stolen, other.key), (mine, other.key), (stolen, mine.key), (mine, "x"), (mine, "../" * 99)):
        form = server.form(**server.by_assertion(bearer, header={"kid": kid}))
        refused(await server.post(form, await server.proof(bearer.pair)), "invalid_client", 401)


async def test_a_name_that_a_key_was_registered_with_is_its_kid_unless_another_has_it_too(
    server: Server, acme: Organization
) -> None:
    first, pair = await client(acme, "service"), KeyPair.generate()
    key = await registered(acme, first.id, pair, kid="2026-11")
    named = Bearer(first.id, "2026-11", pair)
    assert (await server.token(named)).status_code == 200
    await registered(acme, first.id, KeyPair.generate(), kid="2026-11")
    refused(await server.token(named), "invalid_client", 401)
    assert (await server.token(Bearer(first.id, key, pair))).status_code == 200


async def test_oauth_13_an_assertion_for_another_server_or_tenant_proves_nothing_here(
    server: Server, acme: Organization, globex: Organization
) -> None:
    """OAUTH-13: only our issuer as sole value of `aud`; `sub` is the client; its replay is refused (the other node: `test_nodes`)."""
    bearer, theirs = await client(acme, "service"), await client(globex, "service")
    wrong: list[dict[str, Any]] = [
        {"aud": f"{ISSUER}/oauth/token"},
        {"aud": [ISSUER, "https://other.example"]},
        {"aud": "https://other.example"},
        {"sub": theirs.id},
        {"iss": theirs.id},
        {"exp": server.now_ms // 1000 + 31_536_000},
    ]
    for claims in wrong:
        refused(await server.post(server.form(**server.by_assertion(bearer, **claims))), "invalid_client", 401)
    form = server.form(**server.by_assertion(bearer))
    assert (await server.post(form)).status_code == 200
    refused(await server.post(form), "invalid_client", 401)


async def test_an_assertion_stays_presented_although_the_request_was_refused(
    server: Server, acme: Organization
) -> None:
    bearer = await client(acme, "service")
    form = server.form(**server.by_assertion(bearer), scope="docs:none")
    refused(await server.post(form), "invalid_scope")
    refused(await server.post({**form, "scope": "docs:read"}), "invalid_client", 401)


async def test_an_assertion_is_not_spent_by_a_proof_that_lacks_the_nonce(server: Server, acme: Organization) -> None:
    bearer = await client(acme, "agent")
    form = server.form(**server.by_assertion(bearer))
    asked = await server.post(form, {"DPoP": bearer.pair.proof(server.now_ms)})
    refused(asked, "use_dpop_nonce")
    again = bearer.pair.proof(server.now_ms, nonce=asked.headers["DPoP-Nonce"])
    assert (await server.post(form, {"DPoP": again})).status_code == 200


async def test_oauth_14_a_key_or_secret_that_ended_proves_nothing_and_its_successor_does(
    server: Server, acme: Organization
) -> None:
    """OAUTH-14: K1 ended by its overlap or revoked, K2 in force; S1 after its overlap, S2 in force. As a grant: not served here."""
    retired, revoked = await client(acme, "service"), await client(acme, "service")
    seconds = KeyPair.generate(), KeyPair.generate()
    later = [
        Bearer(first.id, await registered(acme, first.id, pair), pair)
        for first, pair in zip((retired, revoked), seconds, strict=True)
    ]
    for bearer in (retired, revoked, *later):
        assert (await server.token(bearer)).status_code == 200
    async with acme.begin() as w:
        await keys.retire(w, acme.reads, retired.id, retired.key, now_ms=server.now_ms, overlap_ms=0)
        await keys.revoke(w, acme.reads, revoked.id, revoked.key)
    for bearer in (retired, revoked):
        refused(await server.token(bearer), "invalid_client", 401)
    for bearer in later:
        assert (await server.token(bearer)).status_code == 200
    old = await with_secret(acme)
    new = await with_secret(acme, old.id)
    async with acme.begin() as w:
        await keys.retire(w, acme.reads, old.id, old.key, now_ms=server.now_ms, overlap_ms=0)
    refused(await server.post(server.form(), basic(old)), "invalid_client", 401)
    assert (await server.post(server.form(), basic(new))).status_code == 200


async def test_who_fails_too_often_waits_and_takes_no_other_client_along(server: Server, acme: Organization) -> None:
    mine, other = await with_secret(acme), await with_secret(acme)
    for _ in range(FAILURES.burst):
        refused(await server.post(server.form(), basic(other, mine.id)), "invalid_client", 401)
    waits = await server.post(server.form(), basic(mine))
    refused(waits, "temporarily_unavailable", 429)
    assert int(waits.headers["Retry-After"]) >= 1
    assert (await server.post(server.form(), basic(other))).status_code == 200
