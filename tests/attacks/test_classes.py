"""One class of identity's credential is refused wherever another's is asked for."""

import msgspec
import pytest

from tests.oauth.keys import KeyPair
from tests.stand.assembled import Headers, Home, House, proved
from tests.stand.living import PATH, Credential, living

CLIENTS = {"service": "service_id", "agent": "agent_id", "mcp server": "server_id", "job": "job_id"}
KEYS = {"service": "key_id", "agent": "agent_key_id", "mcp server": "server_key_id", "job": "job_key_id"}
OF_CLASS = {"service": "service by key", "agent": "agent", "mcp server": "mcp server", "job": "job"}
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Acme(msgspec.Struct, frozen=True, eq=False):
    """An organization with a live credential of each class."""

    home: Home
    credentials: dict[str, Credential]

    @property
    def house(self) -> House:
        """The server."""
        return self.home.house

    def pair(self, named: str) -> KeyPair:
        """The key that a client of a class has registered."""
        pair = self.credentials[OF_CLASS[named]].pair
        assert pair is not None
        return pair

    async def token(self, form: dict[str, str], headers: Headers | None = None) -> int:
        """How the token endpoint answers."""
        full = {"grant_type": "client_credentials", "resource": self.house.issuer, **form}
        return (await self.house.client.post("/oauth/token", data=full, headers=headers)).status_code


@pytest.fixture
async def living_acme(acme: Home) -> Acme:
    """Acme, with all of them."""
    return Acme(acme, await living(acme))


async def test_a_key_proves_a_client_of_its_own_class_alone(living_acme: Acme) -> None:
    home, house = living_acme.home, living_acme.house
    nonce = ""
    for asked in CLIENTS:
        for shown in CLIENTS:
            pair, now_ms = living_acme.pair(shown), house.node.clock.now_ms()
            answers: list[int] = []
            for _ in range(2):  # the first proof has no nonce of the server's
                assertion = pair.assertion(home.have[CLIENTS[asked]], home.have[KEYS[shown]], now_ms)
                form = {"grant_type": "client_credentials", "resource": house.issuer}
                form |= {"client_assertion_type": ASSERTION, "client_assertion": assertion}
                headers = {"DPoP": pair.proof(now_ms, nonce=nonce or None)}
                answer = await house.client.post("/oauth/token", data=form, headers=headers)
                nonce = answer.headers.get("DPoP-Nonce", nonce)
                answers.append(answer.status_code)
            assert (200 in answers) == (asked == shown), (asked, shown, answers)


async def test_a_bound_token_is_of_no_use_to_another_classes_key(living_acme: Acme) -> None:
    house = living_acme.house
    for asked in OF_CLASS:
        token = living_acme.credentials[OF_CLASS[asked]].token
        for shown in OF_CLASS:
            headers = proved(house, token, living_acme.pair(shown), "GET", PATH)
            answer = await house.client.get(PATH, headers=headers)
            assert answer.status_code == (200 if asked == shown else 401), (asked, shown, answer.text)
        bare = await house.client.get(PATH, headers={"Authorization": f"Bearer {token}"})
        assert bare.status_code == 401, asked


async def test_a_secret_proves_the_service_that_it_was_made_for_alone(living_acme: Acme) -> None:
    have = living_acme.home.have
    secret = have["admin_secret"]
    assert await living_acme.token({"client_id": have["admin_id"], "client_secret": secret}) == 200
    for other in (*CLIENTS.values(), "user_id", "visitor_id", "application_id", "blueprint_id", "entry_id"):
        assert await living_acme.token({"client_id": have[other], "client_secret": secret}) == 401, other
    for name, credential in living_acme.credentials.items():
        form = {"client_id": have["admin_id"], "client_secret": credential.token}
        assert await living_acme.token(form) in (400, 401), name
        form = {"client_assertion_type": ASSERTION, "client_assertion": credential.token}
        assert await living_acme.token(form) in (400, 401), name


async def test_an_agent_an_mcp_server_and_a_job_never_have_a_secret(living_acme: Acme) -> None:
    have = living_acme.home.have
    for holder in ("agent_id", "server_id", "job_id", "user_id"):
        answer = await living_acme.home.ask("POST", f"/v1/workloads/{have[holder]}/secrets", {})
        assert answer.status_code in (400, 403, 404), (holder, answer.text)


async def test_what_is_no_access_token_is_not_taken_for_one(living_acme: Acme) -> None:
    home, house = living_acme.home, living_acme.house
    now_ms, pair = house.node.clock.now_ms(), living_acme.pair("service")
    invited = await home.made("POST", "/v1/invitations", {"email": "x@acme.example", "ends_at_ms": now_ms + 60_000})
    for given in (
        home.have["admin_secret"],
        invited["secret"],
        pair.assertion(home.have["service_id"], home.have["key_id"], now_ms),
        pair.proof(now_ms),
        home.have["entry_id"],
        "console",
    ):
        for scheme in ("Bearer", "DPoP"):
            headers = {"Authorization": f"{scheme} {given}", "DPoP": pair.proof(now_ms)}
            assert (await house.client.get(PATH, headers=headers)).status_code == 401, given


async def test_nobody_but_the_console_is_the_console_or_uses_its_entry(living_acme: Acme) -> None:
    home, house = living_acme.home, living_acme.house
    entry = {"Tenantry-Entry": f"{home.org}/{home.have['entry_id']}"}
    assert (await house.console.get("/v1/organizations")).status_code == 200
    assert (await house.console.get(PATH, headers=entry)).status_code == 200
    assert (await house.client.get("/v1/organizations")).status_code == 401
    assert (await house.client.get(PATH, headers=entry)).status_code == 401
    for name, credential in living_acme.credentials.items():
        for client in (house.client, house.console):
            for path, more in (("/v1/organizations", {}), (PATH, entry)):
                headers = credential.headers(house, path) | more
                answer = await client.get(path, headers=headers)
                assert answer.status_code in (403, 404), (name, path, answer.text)
