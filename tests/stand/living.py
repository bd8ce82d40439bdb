"""An organization's live credentials, one of each class and way to get one; each is asked for at the server's own interface."""

import httpx2
import msgspec

from tenantry.sessions.claims import Ask, Confirmation
from tests.oauth.keys import KeyPair
from tests.organizations.stock import body_of
from tests.stand.assembled import Headers, Home, House, bound_token, proved, secret_token
from tests.stand.tree import made

PATH = "/v1/organization"
"""What every member may read."""


class Credential(msgspec.Struct, frozen=True, eq=False):
    """A token, and the key that it is bound to if it is."""

    token: str
    pair: KeyPair | None = None

    def headers(self, house: House, path: str = PATH) -> Headers:
        """The headers of one request to a node."""
        if self.pair is None:
            return {"Authorization": f"Bearer {self.token}"}
        return proved(house, self.token, self.pair, "GET", path)


async def asked(house: House, credential: Credential) -> httpx2.Response:
    """What the node answers to a credential."""
    return await house.client.get(PATH, headers=credential.headers(house))


async def signed_in(home: Home, user: str) -> Credential:
    """A user's token as a sign-in makes one: below a session of its own."""
    session = await made(home.ledger, "session", user)
    tokens = home.house.rooms.tokens
    at = await tokens.read_at(home.org)
    ask = Ask(
        subject=user,
        client_id=home.have["application_id"],
        client_profile="application",
        audience=home.house.issuer,
        path=(home.org, user, session.id),
    )
    return Credential((await tokens.mint(ask, at)).token)


async def delegated(home: Home, user: str, pair: KeyPair) -> Credential:
    """An agent's token to act for a user, below a grant of the user's and a run of the agent's."""
    grant = await made(home.ledger, "grant", user)
    blueprint, agent = home.have["blueprint_id"], home.have["agent_id"]
    above = (user, grant.id, blueprint, agent)
    run = await made(home.ledger, "run", *above, parent=grant.id, principal=agent)
    tokens = home.house.rooms.tokens
    at = await tokens.read_at(home.org)
    ask = Ask(
        subject=user,
        client_id=agent,
        client_profile="ai_agent",
        audience=home.house.issuer,
        path=(home.org, *above, run.id),
        actors=(agent,),
        confirmation=Confirmation(jkt=pair.thumbprint),
    )
    return Credential((await tokens.mint(ask, at)).token, pair)


async def keyed(home: Home, principal: str) -> tuple[str, Credential]:
    """A key that is registered for a principal, and the token that it gets by it."""
    pair = KeyPair.generate()
    kind = "agents" if principal.startswith("agent_") else "workloads"
    jwk = {name: pair.public[name] for name in ("kty", "crv", "x", "y")}
    key = (await home.made("POST", f"/v1/{kind}/{principal}/keys", {"jwk": jwk}))["id"]
    return key, Credential(await bound_token(home.house, principal, key, pair), pair)


async def living(home: Home) -> dict[str, Credential]:
    """One of each, of whoever the organization has; all may read it. The keys and the user's group are named in `have`."""
    have, house = home.have, home.house
    await _make_agent(home)
    for holder in ("user_id", "service_id", "agent_id", "server_id", "job_id"):
        await home.made("PUT", f"/v1/roles/member/holders/{have[holder]}")
    secret = await home.made("POST", f"/v1/workloads/{have['service_id']}/secrets", {})
    have["secret_key_id"] = secret["key"]["id"]
    found = {
        "user": await signed_in(home, have["user_id"]),
        "service by secret": Credential(await secret_token(house, have["service_id"], secret["secret"])),
    }
    have["key_id"], found["service by key"] = await keyed(home, have["service_id"])
    have["agent_key_id"], found["agent"] = await keyed(home, have["agent_id"])
    have["server_key_id"], found["mcp server"] = await keyed(home, have["server_id"])
    have["job_key_id"], found["job"] = await keyed(home, have["job_id"])
    found["agent for user"] = await delegated(home, have["user_id"], KeyPair.generate())
    other = await home.made("POST", "/v1/users", body_of("add_user", home.tenant, have))
    have["colleague_id"] = other["id"]
    group = await home.made("POST", "/v1/groups", {"name": "Readers"})
    have["readers_id"] = group["id"]
    await home.made("PUT", f"/v1/groups/{group['id']}/members/{other['id']}")
    await home.made("PUT", f"/v1/roles/auditor/holders/{group['id']}")
    found["user by group"] = await signed_in(home, other["id"])
    return found


async def _make_agent(home: Home) -> None:
    """An agent whose ceiling holds what the credentials are asked for."""
    ceiling = {"allow": [{"type": "organization", "relation": "can_read_organization"}]}
    blueprint = body_of("add_blueprint", home.tenant, home.have) or {}
    blueprint["declaration"] = {**blueprint["declaration"], "ceiling": ceiling}
    home.have["blueprint_id"] = (await home.made("POST", "/v1/blueprints", blueprint))["id"]
    agent = body_of("add_agent", home.tenant, home.have) or {}
    agent["sponsors"] = [home.owner]
    home.have["agent_id"] = (await home.made("POST", "/v1/agents", {**agent, "ceiling": ceiling}))["id"]
