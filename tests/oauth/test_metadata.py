"""What the server says of itself is what it does, and its keys are those of access tokens alone."""

import msgspec

from tenantry.app.config import Config
from tenantry.core import scopes
from tenantry.core.ids import PLATFORM
from tenantry.core.principal import SYSTEM
from tenantry.keys.signing import Algorithm, Purpose, Use
from tenantry.oauth.metadata import metadata, metadata_path
from tests.oauth.keys import ISSUER, KINDS, KeyPair
from tests.oauth.stand import (
    Server,
    basic,
    claims_of,
    client,
    founded,
    oauth_routes,
    posted,
    refused,
    resource,
    serving,
    with_secret,
)
from tests.stand.nodes import node_of
from tests.stand.organizations import Organization

TOKENS = Use(Purpose.ACCESS_TOKEN, ISSUER, PLATFORM)


async def test_the_metadata_is_the_issuers_and_may_be_kept_and_read_from_anywhere(server: Server) -> None:
    answer = await server.served.client.get("/.well-known/oauth-authorization-server")
    said = answer.json()
    assert said["issuer"] == ISSUER
    assert answer.headers["Cache-Control"] == "public, max-age=3600"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    paths = {route.path for route in oauth_routes(server.node)}
    assert {said["token_endpoint"], said["jwks_uri"]} == {
        f"{ISSUER}{path}" for path in paths if path.startswith("/oauth")
    }


def test_the_well_known_part_goes_before_the_path_of_the_issuer() -> None:
    assert metadata_path("https://id.example/acme") == "/.well-known/oauth-authorization-server/acme"


async def test_every_grant_and_method_of_the_metadata_works_and_nothing_else_is_said(
    server: Server, acme: Organization
) -> None:
    said = (await server.served.client.get("/.well-known/oauth-authorization-server")).json()
    service, keyed = await with_secret(acme), await client(acme, "service")
    ways = {
        "client_secret_basic": lambda: server.post(server.form(), basic(service)),
        "client_secret_post": lambda: server.post(server.form(**posted(service))),
        "private_key_jwt": lambda: server.post(server.form(**server.by_assertion(keyed))),
    }
    assert sorted(ways) == sorted(said["token_endpoint_auth_methods_supported"])
    for way in ways.values():
        assert (await way()).status_code == 200
    assert said["grant_types_supported"] == ["client_credentials"]
    assert said["response_types_supported"] == []
    assert set(said) == {field.encode_name for field in msgspec.structs.fields(type(metadata(ISSUER, ())))}
    for grant in ("authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:token-exchange"):
        refused(await server.post(server.form(grant_type=grant), basic(service)), "unsupported_grant_type")


async def test_every_algorithm_of_the_metadata_works_for_client_and_proof(server: Server, acme: Organization) -> None:
    said = (await server.served.client.get("/.well-known/oauth-authorization-server")).json()
    used: set[str] = set()
    for kind in KINDS:
        bearer = await client(acme, "agent", KeyPair.generate(kind))
        assert (await server.token(bearer)).status_code == 200
        used.add(bearer.pair.algorithm)
    older = {"EdDSA"}  # the name of Ed25519 before RFC 9864
    for name in ("token_endpoint_auth_signing_alg_values_supported", "dpop_signing_alg_values_supported"):
        assert set(said[name]) == used | older


async def test_oauth_26_the_published_keys_are_those_that_sign_access_tokens_and_no_others(
    server: Server, acme: Organization
) -> None:
    """OAUTH-26: keys of checkpoints, of receipts, and of an organization are in no JWKS of access tokens. (Misuse of a key: `sessions`.)"""
    node = server.node
    own = await node.keyring.signing(TOKENS, Algorithm.ES256)
    others: list[str] = []
    for use, algorithm in (
        (Use(Purpose.RECEIPT, ISSUER, PLATFORM), Algorithm.ES256),
        (Use(Purpose.ACCESS_TOKEN, ISSUER, acme.id), Algorithm.ES256),
        (Use(Purpose.AUDIT_CHECKPOINT, ISSUER, PLATFORM), Algorithm.EDDSA),
    ):
        others.append((await node.keyring.signing(use, algorithm)).public.kid())
    answer = await server.served.client.get("/oauth/jwks")
    keys = answer.json()["keys"]
    assert msgspec.to_builtins(own.public.jwk()) in keys
    assert not {key["kid"] for key in keys} & set(others)
    assert not any({"d", "p", "q", "k"} & set(key) for key in keys)
    assert answer.headers["Cache-Control"] == "public, max-age=3600"


async def test_a_fresh_deployment_publishes_a_key_before_it_signs_anything(fresh: Config) -> None:
    async with node_of(fresh) as node, serving(node, fresh) as server:
        first = (await server.served.client.get("/oauth/jwks")).json()["keys"]
        assert [key["kid"] for key in first] == [(await node.keyring.signing(TOKENS, Algorithm.ES256)).public.kid()]


async def test_the_next_key_is_published_while_the_present_one_signs(fresh: Config) -> None:
    async with node_of(fresh) as node, serving(node, fresh) as server:
        acme = await founded(node)
        await resource(acme)
        bearer = await client(acme, "service")
        signs = await node.keyring.signing(TOKENS, Algorithm.ES256)
        await node.keyring.rotate(TOKENS, Algorithm.ES256, SYSTEM)
        await node.cuts.lineage(PLATFORM, (), (await node.journal.head(scopes.of_platform())).rev)
        kids = [key["kid"] for key in (await server.served.client.get("/oauth/jwks")).json()["keys"]]
        assert len(kids) == 2
        assert signs.public.kid() in kids
        token = (await server.token(bearer)).json()["access_token"]
        assert (await claims_of(server, token))["sub"] == bearer.id
