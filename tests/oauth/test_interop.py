"""Another people's client (Authlib) gets tokens by each method, from nothing but the metadata and what it was registered with."""

import asyncio
from typing import Any

import pytest
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT

from tests.oauth.keys import ISSUER, KeyPair
from tests.oauth.stand import API, Server, claims_of, client, with_secret
from tests.stand.organizations import Organization


@pytest.fixture(autouse=True)
def _loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Authlib talks http to a server of a test."""
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")


async def fetched(server: Server, session: OAuth2Session) -> dict[str, Any]:
    """What the client gets from the endpoint that the metadata names, reached where the test serves it."""
    about = (await server.served.client.get("/.well-known/oauth-authorization-server")).json()
    url = str(server.served.client.base_url.join(about["token_endpoint"].removeprefix(ISSUER)))
    more = {"grant_type": "client_credentials", "resource": API, "scope": "docs:read"}
    return await asyncio.to_thread(session.fetch_token, url, **more)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_authlib_gets_a_token_with_a_secret(server: Server, acme: Organization, method: str) -> None:
    bearer = await with_secret(acme)
    assert bearer.secret is not None
    session = OAuth2Session(bearer.id, bearer.secret.reveal(), token_endpoint_auth_method=method)
    token = await fetched(server, session)
    assert (token["token_type"], token["scope"]) == ("Bearer", "docs:read")
    assert (await claims_of(server, token["access_token"]))["sub"] == bearer.id


async def test_authlib_gets_a_token_with_a_key(server: Server, acme: Organization) -> None:
    bearer = await client(acme, "service", KeyPair.generate("RS256"))
    private = bearer.pair.key.as_pem(private=True).decode()
    session = OAuth2Session(bearer.id, private, token_endpoint_auth_method="private_key_jwt")
    claims = {"aud": ISSUER, "exp": server.now_ms // 1000 + 60}
    session.register_client_auth_method(
        PrivateKeyJWT(claims=claims, headers={"kid": bearer.key}, alg=bearer.pair.algorithm)
    )
    token = await fetched(server, session)
    assert (await claims_of(server, token["access_token"]))["client_id"] == bearer.id
