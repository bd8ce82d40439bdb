"""A guarded application answers whoever proves itself, and says to everybody else what is wanted."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator

import httpx2
import msgspec
import pytest
from joserfc import jws
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import tenantry_sdk as sdk
from tenantry.app.config import Config
from tenantry.core.limits import LEASE_MS
from tenantry.sessions.claims import Confirmation
from tests.stand.clock import ManualClock
from tests.stand.credentials import holders, minted
from tests.stand.organizations import Organization, open_organization
from tests.stand.verifiers import Place, place

ORIGIN = "https://api.example.com"


async def who(request: Request) -> JSONResponse:
    """Says who calls."""
    caller = sdk.caller(request)
    return JSONResponse({"chain": caller.chain, "organization": caller.organization})


async def write(request: Request) -> JSONResponse:
    """Needs a scope that the tests' tokens lack."""
    sdk.caller(request).require("docs:erase")
    return JSONResponse({})


async def hidden(request: Request) -> JSONResponse:
    """Is denied whoever asks."""
    raise sdk.Denied("user:x has not can_view to document:1.")


async def health(request: Request) -> JSONResponse:
    """Anybody may ask this; nobody is known here."""
    try:
        sdk.caller(request)
    except sdk.Unauthenticated:
        return JSONResponse({"known": False})
    return JSONResponse({"known": True})


def client_of(verifier: sdk.Verifier, origin: str = ORIGIN) -> httpx2.AsyncClient:
    """A client of an application that a guard stands around."""
    routes = [Route("/who", who), Route("/write", write, methods=["POST"]), Route("/hidden", hidden)]
    guard = Middleware(sdk.Guard, verifier=verifier, public=("/healthz",), origin=origin)
    app = Starlette(routes=[*routes, Route("/healthz", health)], middleware=[guard])
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://internal:8080")


@pytest.fixture
async def app(verifier: sdk.Verifier) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a guarded application."""
    async with client_of(verifier) as client:
        yield client


@pytest.fixture
async def acme(here: Place) -> Organization:
    """An organization."""
    return await open_organization(here.woods.node)


def bearer(token: str) -> dict[str, str]:
    """The header of a bearer token."""
    return {"Authorization": f"Bearer {token}"}


async def test_a_route_knows_who_calls(here: Place, acme: Organization, app: httpx2.AsyncClient) -> None:
    holder = holders(acme.node, acme.id)["service"]
    token = (await minted(here.tokens, acme.id, holder)).token
    answer = await app.get("/who", headers=bearer(token))
    assert answer.status_code == 200
    assert answer.json() == {"chain": [holder.subject], "organization": acme.id}


async def test_whoever_proves_nothing_is_told_what_is_wanted(app: httpx2.AsyncClient) -> None:
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}, {"Cookie": "session=1"}):
        answer = await app.get("/who", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert answer.headers.get_list("www-authenticate")[0] == "Bearer"
        assert answer.headers["cache-control"] == "no-store"
    answer = await app.get("/who", headers=bearer("a.b.c"))
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert (await app.get("/healthz")).json() == {"known": False}
    assert (await app.get("/healthz/")).status_code == 401


async def test_a_cut_is_a_401_at_the_guarded_route_within_a_second(
    here: Place, acme: Organization, app: httpx2.AsyncClient
) -> None:
    holder = holders(acme.node, acme.id)["service"]
    token = (await minted(here.tokens, acme.id, holder)).token
    assert (await app.get("/who", headers=bearer(token))).status_code == 200
    await acme.cut(holder.subject)
    async with asyncio.timeout(1):
        while (answer := await app.get("/who", headers=bearer(token))).status_code == 200:
            await acme.node.engine.changed(0.02)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")


async def test_what_the_application_refuses_becomes_the_answer_that_it_means(
    here: Place, acme: Organization, app: httpx2.AsyncClient
) -> None:
    token = (await minted(here.tokens, acme.id, holders(acme.node, acme.id)["service"])).token
    answer = await app.post("/write", headers=bearer(token))
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    assert 'scope="docs:erase"' in answer.headers["www-authenticate"]
    answer = await app.get("/hidden", headers=bearer(token))
    assert (answer.status_code, answer.json()["code"]) == (403, "denied")


async def test_nothing_heard_is_a_503_and_never_a_yes(fresh: Config, clock: ManualClock) -> None:
    async with place(fresh, clock) as here, here.verifier(clock=clock) as verifier, client_of(verifier) as app:
        acme = await open_organization(here.woods.node)
        token = (await minted(here.tokens, acme.id, holders(acme.node, acme.id)["service"])).token
        await verifier.feed.ready()
        assert (await app.get("/who", headers=bearer(token))).status_code == 200
        here.towards.lost = "/v1/feed/ping"
        clock.advance(LEASE_MS + 1)
        answer = await app.get("/who", headers=bearer(token))
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "stale", "1")


async def test_oauth_21_a_bound_token_needs_a_proof_of_its_key_for_this_request(
    here: Place, acme: Organization, app: httpx2.AsyncClient
) -> None:
    """OAUTH-21: a bound token sent as `Bearer`, without a proof, with another key's, with one that came before."""
    key, other = ECKey.generate_key("P-256"), ECKey.generate_key("P-256")
    holder = holders(acme.node, acme.id)["agent"]
    holder = msgspec.structs.replace(holder, confirmation=Confirmation(jkt=key.thumbprint()))
    made = await minted(here.tokens, acme.id, holder)

    def proof(by: ECKey, number: int, url: str = f"{ORIGIN}/who") -> str:
        digest = base64.urlsafe_b64encode(hashlib.sha256(made.token.encode()).digest()).rstrip(b"=").decode()
        now = acme.node.clock.now_ms() // 1000
        claims = {"jti": str(number), "htm": "GET", "htu": url, "iat": now, "ath": digest}
        head = {"typ": "dpop+jwt", "alg": "ES256", "jwk": by.as_dict(private=False)}
        return jws.serialize_compact(head, json.dumps(claims), by)

    async def status(*headers: tuple[str, str]) -> int:
        return (await app.get("/who", headers=list(headers))).status_code

    bearing, dpop = ("Authorization", f"Bearer {made.token}"), ("Authorization", f"DPoP {made.token}")
    good = proof(key, 1)
    assert await status(dpop, ("DPoP", good)) == 200
    assert await status(dpop, ("DPoP", good)) == 401
    assert await status(dpop, ("DPoP", proof(key, 2))) == 200
    assert await status(bearing) == 401
    assert await status(bearing, ("DPoP", proof(key, 3))) == 401
    assert await status(dpop) == 401
    assert await status(dpop, ("DPoP", proof(other, 4))) == 401
    assert await status(dpop, ("DPoP", proof(key, 5, "http://internal:8080/who"))) == 401
    assert await status(dpop, ("DPoP", proof(key, 6)), ("DPoP", proof(key, 7))) == 401
    assert await status(dpop, dpop, ("DPoP", proof(key, 8))) == 401
