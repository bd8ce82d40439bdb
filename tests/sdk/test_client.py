"""The client asks in the words of OpenFGA and AuthZEN, proves itself, and takes nothing but a yes for a yes."""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import ECKey

import tenantry_sdk as sdk
from tests.stand.clock import ManualClock
from tests.stand.verifiers import SdkClock

ISSUER = "https://id.example.com/acme"
STORE = "01JDNQ3W4RZ0H6V8XK5T2C7M9E"


class Answers:
    """The server at the other end of the network: what it was asked, and what it answers."""

    def __init__(self) -> None:
        self.asked: list[httpx2.Request] = []
        self.answers: dict[str, Callable[[], httpx2.Response]] = {}
        self.says("/.well-known/oauth-authorization-server/acme", issuer=ISSUER, token_endpoint=f"{ISSUER}/token")
        self.says("/acme/token", access_token="t1", token_type="Bearer", expires_in=300)

    def says(self, path: str, status: int = 200, **body: Any) -> None:
        """Answer this from now on."""
        self.answers[path] = lambda: httpx2.Response(status, json=body)

    def paths(self) -> list[str]:
        """The paths asked for."""
        return [request.url.path for request in self.asked]

    def http(self) -> httpx2.AsyncClient:
        """The way to it."""

        def handle(request: httpx2.Request) -> httpx2.Response:
            self.asked.append(request)
            return self.answers[request.url.path]()

        return httpx2.AsyncClient(transport=httpx2.MockTransport(handle))


@pytest.fixture
def answers() -> Answers:
    """A server."""
    return Answers()


def client(answers: Answers, credential: Any = None, clock: ManualClock | None = None) -> sdk.Client:
    """A client of it."""
    known = SdkClock(clock) if clock else None
    return sdk.Client(ISSUER, credential=credential or sdk.Token("t0"), store=STORE, http=answers.http(), clock=known)


async def test_a_check_is_asked_as_openfga_does(answers: Answers) -> None:
    answers.says(f"/acme/stores/{STORE}/check", allowed=True)
    context, more = {"ip": "10.0.0.1"}, [sdk.Tuple("user:anne", "member", "group:eng")]
    assert await client(answers).check("user:anne", "editor", "doc:1", context=context, contextual=more, fresh=True)
    (request,) = answers.asked
    assert request.headers["authorization"] == "Bearer t0"
    assert json.loads(request.content) == {
        "tuple_key": {"user": "user:anne", "relation": "editor", "object": "doc:1"},
        "context": context,
        "contextual_tuples": {"tuple_keys": [{"user": "user:anne", "relation": "member", "object": "group:eng"}]},
        "consistency": "HIGHER_CONSISTENCY",
    }


async def test_a_decision_is_asked_as_authzen_does(answers: Answers) -> None:
    answers.says("/acme/access/v1/evaluation", decision=False)
    assert not await client(answers).decide(("user", "anne"), "edit", ("doc", "1"))
    assert json.loads(answers.asked[0].content) == {
        "subject": {"type": "user", "id": "anne"},
        "action": {"name": "edit"},
        "resource": {"type": "doc", "id": "1"},
    }
    assert answers.asked[0].headers["Tenantry-Store"] == STORE


async def test_what_is_required_and_not_held_is_denied(answers: Answers) -> None:
    path = f"/acme/stores/{STORE}/check"
    answers.says(path, allowed=True)
    await client(answers).require("user:anne", "editor", "doc:1")
    answers.says(path, allowed=False)
    with pytest.raises(sdk.Denied):
        await client(answers).require("user:anne", "editor", "doc:1")


@pytest.mark.parametrize("answer", [{}, {"allowed": "true"}, {"allowed": 1}, {"allowed": None}, {"decision": True}])
async def test_an_answer_that_is_no_yes_or_no_is_none(answers: Answers, answer: dict[str, Any]) -> None:
    answers.says(f"/acme/stores/{STORE}/check", **answer)
    with pytest.raises(sdk.Refused):
        await client(answers).check("user:anne", "editor", "doc:1")


@pytest.mark.parametrize(
    ("status", "error"), [(400, sdk.Refused), (401, sdk.Refused), (404, sdk.Refused), (500, sdk.Unreachable)]
)
async def test_no_answer_is_no_yes(answers: Answers, status: int, error: type[sdk.TenantryError]) -> None:
    answers.says(f"/acme/stores/{STORE}/check", status, allowed=True)
    with pytest.raises(error):
        await client(answers).check("user:anne", "editor", "doc:1")


async def test_a_network_that_fails_is_no_yes(answers: Answers) -> None:
    def fail() -> httpx2.Response:
        raise httpx2.ConnectError("down")

    answers.answers[f"/acme/stores/{STORE}/check"] = fail
    with pytest.raises(sdk.Unreachable):
        await client(answers).check("user:anne", "editor", "doc:1")


async def test_a_key_proves_the_client_for_the_issuer_alone_and_a_token_is_kept_until_it_ends(
    answers: Answers, clock: ManualClock
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    asking = client(answers, sdk.ClientKey("service_1", pem, "kid_1"), clock)
    answers.says("/acme/access/v1/evaluation", decision=True)
    for _ in range(2):
        assert await asking.decide(("user", "anne"), "edit", ("doc", "1"))
    assert answers.paths().count("/acme/token") == 1
    form = dict(parse_qsl(answers.asked[1].content.decode()))
    read = jwt.decode(form.pop("client_assertion"), ECKey.import_key(pem), algorithms=["ES256"])
    assert read.header == {"alg": "ES256", "kid": "kid_1", "typ": "client-authentication+jwt"}
    now = clock.now_ms() // 1000
    jti = read.claims.pop("jti")
    assert read.claims == {"iss": "service_1", "sub": "service_1", "aud": ISSUER, "iat": now, "exp": now + 60}
    assert len(jti) >= 16
    assert form == {
        "grant_type": "client_credentials",
        "resource": ISSUER,
        "client_id": "service_1",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }
    assert answers.asked[-1].headers["authorization"] == "Bearer t1"
    clock.advance(271_000)
    answers.says("/acme/token", access_token="t2", token_type="bearer", expires_in=300)
    await asking.decide(("user", "anne"), "edit", ("doc", "1"))
    assert answers.asked[-1].headers["authorization"] == "Bearer t2"


async def test_many_who_need_a_token_at_once_ask_for_one(answers: Answers) -> None:
    answers.says("/acme/access/v1/evaluation", decision=True)
    asking = client(answers, sdk.ClientSecret("service_1", "s"))
    decided = await asyncio.gather(*(asking.decide(("user", "anne"), "edit", ("doc", str(n))) for n in range(20)))
    assert decided == [True] * 20
    assert answers.paths().count("/acme/token") == 1


async def test_a_secret_proves_the_client_in_the_body_and_is_never_shown(answers: Answers) -> None:
    secret = sdk.ClientSecret("service_1", "tnk_secret")
    answers.says("/acme/access/v1/evaluation", decision=True)
    await client(answers, secret).decide(("user", "anne"), "edit", ("doc", "1"))
    form = dict(parse_qsl(answers.asked[1].content.decode()))
    assert (form["client_id"], form["client_secret"]) == ("service_1", "tnk_secret")
    assert "tnk_secret" not in repr(secret)


async def test_metadata_of_another_issuer_are_refused(answers: Answers) -> None:
    path = "/.well-known/oauth-authorization-server/acme"
    for other in (ISSUER + "/", "https://evil.example", None):
        answers.says(path, issuer=other, token_endpoint="https://evil.example/token")
        with pytest.raises(sdk.Refused):
            await client(answers, sdk.ClientSecret("service_1", "s")).check("user:anne", "editor", "doc:1")
    assert set(answers.paths()) == {path}


@pytest.mark.parametrize(
    "answer",
    [{}, {"access_token": "t"}, {"access_token": "t", "token_type": "DPoP", "expires_in": 5}, {"error": "invalid"}],
)
async def test_an_answer_without_a_usable_token_is_refused(answers: Answers, answer: dict[str, Any]) -> None:
    answers.says("/acme/token", **answer)
    with pytest.raises(sdk.Refused):
        await client(answers, sdk.ClientSecret("service_1", "s")).check("user:anne", "editor", "doc:1")
