"""Requests to the token endpoint that are wrong in one thing: refused by the name of that thing, with nothing given or recorded."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantry.core import scopes
from tenantry.organizations import parties
from tenantry.organizations.parties import PartyKind
from tests.oauth.keys import ISSUER, KINDS, KeyPair
from tests.oauth.stand import (
    API,
    CLASSES,
    Server,
    basic,
    claims_of,
    client,
    posted,
    refused,
    resource,
    with_secret,
)
from tests.stand.organizations import Organization

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


# The form


@pytest.mark.parametrize(
    "more",
    [
        "grant_type=client_credentials",
        "scope=docs:read",
        "client_id=x",
        "Scope=docs:write",
        "scope[]=docs:write",
        "SCOPE[]=docs:write",
        "Resource=https://other.example/",
        "resource[]=https://other.example/",
        "unknown=1&unknown=1",
        "a=1&A=2",
    ],
)
async def test_oauth_16_a_parameter_given_twice_in_any_spelling_is_refused(
    server: Server, acme: Organization, more: str
) -> None:
    """OAUTH-16: in the form, or one in the address and one in the form; no side is taken. (Authorization and PAR are not served yet.)"""
    bearer = await with_secret(acme)
    body = f"grant_type=client_credentials&scope=docs:read&client_id={bearer.id}&resource={API}"
    headers = {**FORM, **basic(bearer)}
    assert (await server.served.client.post("/oauth/token", content=body, headers=headers)).status_code == 200
    before = await acme.holdings()
    twice = await server.served.client.post("/oauth/token", content=f"{body}&{more}", headers=headers)
    refused(twice, "invalid_request")
    split = await server.served.client.post(f"/oauth/token?{more}", content=body, headers=headers)
    refused(split, "invalid_request")
    assert await acme.holdings() == before


async def test_what_is_unknown_is_ignored_and_what_is_empty_is_absent(server: Server, acme: Organization) -> None:
    bearer = await with_secret(acme)
    form = server.form(unknown="x", client_id="", client_secret="", client_assertion="", client_assertion_type="")
    assert (await server.post(form, basic(bearer))).status_code == 200
    refused(await server.post(server.form(scope=""), basic(bearer)), "invalid_scope")
    refused(await server.post(server.form(resource=""), basic(bearer)), "invalid_target")


@pytest.mark.parametrize("grant", ["authorization_code", "password", "refresh_token", "CLIENT_CREDENTIALS", " "])
async def test_a_grant_that_is_not_served_is_refused(server: Server, acme: Organization, grant: str) -> None:
    bearer = await with_secret(acme)
    assert (await server.post(server.form(), basic(bearer))).status_code == 200
    refused(await server.post(server.form(grant_type=grant), basic(bearer)), "unsupported_grant_type")
    refused(await server.post(server.form(grant_type=None), basic(bearer)), "invalid_request")


async def test_only_a_post_of_a_form_within_bounds_is_a_request(server: Server) -> None:
    http = server.served.client
    assert (await http.get("/oauth/token")).status_code == 405
    refused(await http.post("/oauth/token", json=server.form()), "invalid_request", 415)
    refused(await server.post(server.form(scope="x" * 20_000)), "invalid_request", 413)
    refused(await server.post({f"p{number}": "" for number in range(40)}), "invalid_request", 413)
    refused(await http.post("/oauth/token?client_secret=x", content="a=b", headers=FORM), "invalid_request")


async def test_oauth_28_no_answer_that_bears_a_token_or_refuses_one_is_kept_by_a_cache(
    server: Server, acme: Organization
) -> None:
    """OAUTH-28: tokens and refusals are `no-store`. (Codes and sessions are not served yet.)"""
    bearer = await with_secret(acme)
    given, wrong, missing = (
        await server.post(server.form(), basic(bearer)),
        await server.post(server.form(), basic(bearer, server.node.ids.new("service"))),
        await server.post(server.form(grant_type=None)),
    )
    assert [answer.status_code for answer in (given, wrong, missing)] == [200, 401, 400]
    assert {answer.headers["Cache-Control"] for answer in (given, wrong, missing)} == {"no-store"}


# Resource and scope


@pytest.mark.parametrize(
    "named",
    [
        None,
        [API, "https://other.example.com/"],
        "https://unknown.example.com/",
        API.removesuffix("/"),
        API.upper(),
        f"{API}#fragment",
        "api",
        "urn:x",
        "https://api.example.com/\0",
        "https://api.example.com/\u00e9",
    ],
)
async def test_exactly_one_registered_resource_is_named(server: Server, acme: Organization, named: Any) -> None:
    bearer = await with_secret(acme)
    await resource(acme, "https://other.example.com/")
    for one in (API, "https://other.example.com/"):
        assert (await server.post(server.form(resource=one), basic(bearer))).status_code == 200
    refused(await server.post(server.form(resource=named), basic(bearer)), "invalid_target")


async def test_a_resource_of_another_organization_or_an_ended_one_is_as_if_it_never_existed(
    server: Server, acme: Organization, globex: Organization
) -> None:
    bearer = await with_secret(acme)
    theirs, ended = "https://theirs.example.com/", "https://ended.example.com/"
    await resource(globex, theirs)
    mine = await resource(acme, ended)
    assert (await server.post(server.form(resource=ended), basic(bearer))).status_code == 200
    async with acme.begin() as w:
        await parties.deactivate(w, acme.reads, PartyKind.RESOURCE, mine)
    never = await server.post(server.form(resource="https://never.example.com/"), basic(bearer))
    for gone in (theirs, ended):
        answer = await server.post(server.form(resource=gone), basic(bearer))
        refused(answer, "invalid_target")
        assert answer.content == never.content


async def test_an_organization_cannot_give_the_platforms_resource_other_scopes(
    server: Server, acme: Organization
) -> None:
    platform = Organization(server.node, scopes.of_platform())
    vendor = f"https://{server.node.ids.new('resource').lower()}.example.com/"
    await resource(platform, vendor, ("tickets:read",))
    await resource(acme, vendor, ("tickets:read", "tickets:admin"))
    bearer = await with_secret(acme)
    assert (await server.post(server.form(resource=vendor, scope="tickets:read"), basic(bearer))).status_code == 200
    refused(await server.post(server.form(resource=vendor, scope="tickets:admin"), basic(bearer)), "invalid_scope")


@pytest.mark.parametrize(
    "asked", ["/johnathan", "docs2", "DOCS", "docs ", " docs", "docs  /john", "doc", "docs\t", "*", '"docs"', ""]
)
async def test_oauth_29_a_scope_is_asked_for_by_its_whole_text(server: Server, acme: Organization, asked: str) -> None:
    """OAUTH-29: never a prefix, case or trim match."""
    at = "https://files.example.com/"
    await resource(acme, at, ("/john", "docs"))
    bearer = await with_secret(acme)
    both = await server.post(server.form(resource=at, scope="docs /john docs"), basic(bearer))
    assert both.json()["scope"] == "docs /john"
    refused(await server.post(server.form(resource=at, scope=asked), basic(bearer)), "invalid_scope")


async def test_a_resource_without_scopes_is_named_alone(server: Server, acme: Organization) -> None:
    at = "https://plain.example.com/"
    await resource(acme, at, ())
    bearer = await with_secret(acme)
    answer = await server.post(server.form(resource=at, scope=None), basic(bearer))
    assert (answer.status_code, answer.json()["scope"]) == (200, "")
    refused(await server.post(server.form(resource=at, scope="docs"), basic(bearer)), "invalid_scope")


async def test_the_servers_own_interface_is_a_resource_that_no_organization_can_take(
    server: Server, acme: Organization
) -> None:
    await resource(acme, ISSUER, ("can_delete_organizations",))
    bearer = await with_secret(acme)
    whole = await server.post(server.form(resource=ISSUER, scope=None), basic(bearer))
    narrow = await server.post(server.form(resource=ISSUER, scope="can_check"), basic(bearer))
    assert (whole.json()["scope"], narrow.json()["scope"]) == ("", "can_check")
    assert (await claims_of(server, whole.json()["access_token"]))["aud"] == ISSUER
    for other in ("can_delete_organizations", "can_check docs:read"):
        refused(await server.post(server.form(resource=ISSUER, scope=other), basic(bearer)), "invalid_scope")


# Proofs


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_of_each_kind_proves_client_and_possession(server: Server, acme: Organization, kind: str) -> None:
    bearer = await client(acme, "agent", KeyPair.generate(kind))
    token = (await server.token(bearer)).json()["access_token"]
    assert (await claims_of(server, token))["cnf"] == {"jkt": bearer.pair.thumbprint}


async def test_oauth_21_a_proof_for_another_request_time_or_without_our_nonce_is_refused(
    server: Server, acme: Organization
) -> None:
    """OAUTH-21: method, address, age, nonce and replay at the token endpoint (at the other node: `test_nodes`)."""
    bearer = await with_secret(acme)
    form, pair = server.form(**posted(bearer)), KeyPair.generate()
    good = await server.proof(pair)
    assert (await server.post(form, good)).json()["token_type"] == "DPoP"
    before = await acme.holdings()
    refused(await server.post(form, good), "invalid_dpop_proof")
    now_s = server.now_ms // 1000
    for claims in (
        {"htm": "GET"},
        {"htu": "https://id.example.org/oauth/token"},
        {"htu": "http://id.example.com/oauth/token"},
        {"htu": "https://id.example.com:8443/oauth/token"},
        {"iat": now_s - 3_600},
        {"iat": now_s + 3_600},
    ):
        refused(await server.post(form, await server.proof(pair, **claims)), "invalid_dpop_proof")
    for nonce in (None, "", "x", "\u00e9", "A" * 22):
        asked = await server.post(form, await server.proof(pair, nonce=nonce))
        refused(asked, "use_dpop_nonce")
        assert asked.headers["DPoP-Nonce"] != nonce
    assert await acme.holdings() == before


async def test_two_proofs_in_one_request_are_refused(server: Server, acme: Organization) -> None:
    bearer = await with_secret(acme)
    proofs = [("DPoP", (await server.proof(bearer.pair))["DPoP"]) for _ in range(2)]
    headers = [*basic(bearer).items(), *proofs]
    refused(await server.served.client.post("/oauth/token", data=server.form(), headers=headers), "invalid_request")


async def test_a_good_proof_brings_the_next_nonce_and_a_request_without_one_brings_none(
    server: Server, acme: Organization
) -> None:
    bearer = await with_secret(acme)
    assert "DPoP-Nonce" in (await server.post(server.form(**posted(bearer)), await server.proof(bearer.pair))).headers
    assert "DPoP-Nonce" not in (await server.post(server.form(), basic(bearer))).headers


# One thing in the place of another


@pytest.mark.parametrize("named", CLASSES)
@pytest.mark.parametrize("asked", CLASSES)
async def test_agt_09_the_key_of_one_class_is_refused_where_the_other_is_named(
    server: Server, acme: Organization, named: str, asked: str
) -> None:
    """AGT-09: service, agent, MCP server and job at the token endpoint; each pair."""
    mine, other = await client(acme, named), await client(acme, asked)
    form = server.form(**server.by_assertion(mine))
    assert (await server.post({**form, "client_id": mine.id}, await server.proof(mine.pair))).status_code == 200
    again = server.form(**server.by_assertion(mine), client_id=other.id)
    refused(await server.post(again, await server.proof(mine.pair)), "invalid_client", 401)
    claimed = server.by_assertion(mine, iss=other.id, sub=other.id)
    refused(await server.post(server.form(**claimed), await server.proof(mine.pair)), "invalid_client", 401)


async def test_a_token_a_proof_and_an_assertion_never_pass_for_one_another(server: Server, acme: Organization) -> None:
    bearer = await client(acme, "service")
    assertion = server.by_assertion(bearer)
    proof = await server.proof(bearer.pair)
    token = (await server.post(server.form(**assertion), proof)).json()["access_token"]
    fresh = server.by_assertion(bearer)
    for other in (token, proof["DPoP"]):
        refused(await server.post(server.form(**{**fresh, "client_assertion": other})), "invalid_client", 401)
    for other in (token, fresh["client_assertion"]):
        refused(await server.post(server.form(**fresh), {"DPoP": other}), "invalid_dpop_proof")
    refused(await server.post(server.form(), {"Authorization": f"DPoP {token}"}), "invalid_client", 401)
    assert (await server.post(server.form(**fresh))).status_code == 200


# Whatever comes

TEXT = st.text(max_size=60)
NAMES = st.sampled_from(
    [
        *("grant_type", "scope", "resource", "client_id", "client_secret", "client_assertion"),
        *("client_assertion_type", "x", "", "Scope"),
    ]
)
HEADERS = st.dictionaries(
    st.sampled_from(["Authorization", "DPoP"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=80)
    | st.sampled_from(["Basic Og==", "Basic YTpi", "Basic /w==", "Basic ==", "a.b.c", "e30.e30.e30", "..", "Bearer x"]),
)


@given(form=st.lists(st.tuples(NAMES, TEXT), max_size=8), headers=HEADERS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_request_makes_the_server_fail(
    server: Server, form: list[tuple[str, str]], headers: dict[str, str]
) -> None:
    full = {"grant_type": "client_credentials", **dict(form)}
    answer = await server.post(full, headers)
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"] in {
        *("invalid_request", "invalid_client", "unsupported_grant_type", "invalid_dpop_proof", "use_dpop_nonce"),
    }
