"""Access tokens of each class, made by a node's own key, and ways to change one that was made."""

import base64
from collections.abc import Callable
from typing import Any

import msgspec

from tenantry.app.node import Node
from tenantry.sessions.claims import Ask, Confirmation, Minted
from tenantry.sessions.tokens import AccessTokens

ISSUER = "https://id.example.com"
RESOURCE = "https://api.example.com/"
KEY = Confirmation(jkt="0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")
"""The key that the tests' bearers have proved."""


def access_tokens(node: Node, issuer: str = ISSUER) -> AccessTokens:
    """What mints and verifies on a node."""
    return AccessTokens(node.journal, node.cuts, node.keyring, node.published_keys, node.clock, node.ids, issuer)


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who bears a token, and the ids that it descends from."""

    subject: str
    path: tuple[str, ...]
    actors: tuple[str, ...] = ()
    confirmation: Confirmation = Confirmation()

    def ask(self, **more: Any) -> Ask:
        """The question for a token of this holder."""
        given: dict[str, Any] = {
            "client_id": "app_of_a_test",
            "client_profile": "application",
            "audience": RESOURCE,
            "scope": ("docs:read", "docs:write"),
        }
        return Ask(
            subject=self.subject,
            path=self.path,
            actors=self.actors,
            confirmation=self.confirmation,
            **(given | more),
        )


def holders(node: Node, org: str) -> dict[str, Holder]:
    """One of each class."""
    new = node.ids.new
    user, session, grant = new("user"), new("session"), new("grant")
    blueprint, agent, run = new("blueprint"), new("agent"), new("run")
    service, server, entry, operator = new("service"), new("mcp"), new("entry"), new("user")
    job, job_run = new("job"), new("run")
    for_user = (org, user, grant, blueprint, agent, run)
    return {
        "user": Holder(subject=user, path=(org, user, session)),
        "agent": Holder(subject=agent, path=(org, blueprint, agent, run), confirmation=KEY),
        "agent for a user": Holder(subject=user, path=for_user, actors=(agent,), confirmation=KEY),
        "service": Holder(subject=service, path=(org, service)),
        "mcp server": Holder(subject=server, path=(org, server), confirmation=KEY),
        "job": Holder(subject=job, path=(org, service, job_run, job), confirmation=KEY),
        "entry": Holder(subject=operator, path=(org, operator, entry)),
    }


async def minted(tokens: AccessTokens, org: str, holder: Holder, **more: Any) -> Minted:
    """A token of a holder, as things are now."""
    at = await tokens.read_at(org)
    return await tokens.mint(holder.ask(**more), at)


def opened(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Header, claims and signature, without verifying anything."""
    header, claims, signature = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))
    return msgspec.json.decode(header), msgspec.json.decode(claims), signature


def part(value: Any) -> str:
    """One part of a token."""
    data = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def resigned(header: dict[str, Any], claims: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """A token of any header and claims, signed by whoever signs."""
    signed = f"{part(header)}.{part(claims)}"
    return f"{signed}.{part(sign(signed.encode()))}"
