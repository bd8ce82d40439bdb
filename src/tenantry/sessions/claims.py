"""What an access token says: the classes of identity and their lifetimes, what is asked for one, the claims on the wire, and what
verification gives.
"""

import enum
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from tenantry.core.principal import Principal
from tenantry.sessions.lineage import Tny
from tenantry.sessions.tree import NoBranch, kind_of

ROLES_MAX = 20
"""Roles that a token shows. They are for display: decisions are asked."""


class IdentityClass(enum.StrEnum):
    """Who bears a token. One class's credential is never accepted where another's is asked for."""

    USER = "user"
    AGENT = "agent"
    SERVICE = "service"
    MCP_SERVER = "mcp_server"
    JOB = "job"
    ENTRY = "entry"
    """An operator inside an organization."""


class Rule(msgspec.Struct, frozen=True):
    """How long an access token of a class lives, and whether it must be bound to a key of its bearer's."""

    lifetime_ms: int
    bound: bool


_MINUTE_MS = 60_000
RULES: Mapping[IdentityClass, Rule] = {
    IdentityClass.USER: Rule(5 * _MINUTE_MS, bound=False),
    IdentityClass.AGENT: Rule(5 * _MINUTE_MS, bound=True),
    IdentityClass.SERVICE: Rule(10 * _MINUTE_MS, bound=False),
    IdentityClass.MCP_SERVER: Rule(5 * _MINUTE_MS, bound=True),
    IdentityClass.JOB: Rule(5 * _MINUTE_MS, bound=True),
    IdentityClass.ENTRY: Rule(5 * _MINUTE_MS, bound=False),
}
FOLLOWED_LIFETIME_MS = 60 * _MINUTE_MS
"""A service's token, where its resource follows the feed of cuts."""

_LONG = frozenset({"organization", "service", "key", "grant", "run", "application", "signing_key", "unknown"})
"""Kinds of branch that a service's token can descend from."""

PROFILES: Mapping[str, str] = {
    "user": "user",
    "agent": "ai_agent",
    "service": "service",
    "mcp_server": "mcp_server",
    "job": "job",
}
"""The `sub_profile` of each kind of principal."""


class Confirmation(msgspec.Struct, frozen=True, omit_defaults=True, rename={"x5t": "x5t#S256"}):
    """The key that a token is bound to (RFC 7800): a JWK's thumbprint (RFC 9449, 6.1) or a certificate's (RFC 8705, 3.1)."""

    jkt: str | UnsetType = UNSET
    x5t: str | UnsetType = UNSET


UNBOUND = Confirmation()
"""A bearer token; and a sender that has proved no key."""


class Act(msgspec.Struct, frozen=True, omit_defaults=True):
    """An actor (RFC 8693, 4.1). Only the outermost counts; inner ones are history."""

    sub: str
    iss: str
    sub_profile: str
    act: "Act | UnsetType" = UNSET


class Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    """The claims on the wire (RFC 9068, 2.2), times in seconds since 1970. Ones that a later version adds are ignored."""

    iss: str
    aud: str
    exp: int
    iat: int
    jti: str
    client_id: str
    sub: str
    sub_profile: str
    client_profile: str
    org_id: str
    tny: Tny
    scope: str = ""
    act: Act | UnsetType = UNSET
    cnf: Confirmation | UnsetType = UNSET
    roles: list[str] | UnsetType = UNSET
    authorization_details: list[dict[str, Any]] | UnsetType = UNSET
    auth_time: int | UnsetType = UNSET
    acr: str | UnsetType = UNSET
    amr: list[str] | UnsetType = UNSET


class Authentication(msgspec.Struct, frozen=True):
    """How the user of a token signed in (RFC 9068, 2.2.1). An exchange hands it on; nothing raises it."""

    time_s: int
    acr: str = ""
    amr: tuple[str, ...] = ()


class Verified(msgspec.Struct, frozen=True):
    """What a token said when it was verified. It holds for that moment: whoever keeps it asks `AccessTokens.verify` again at every use."""

    principal: Principal
    """Whoever acts, its organization and lineage; in `acts_for` those it acts for, the subject last."""

    identity: IdentityClass
    claims: Claims
    scope: frozenset[str]
    confirmation: Confirmation

    @property
    def expires_at_ms(self) -> int:
        """From this moment on it is refused."""
        return self.claims.exp * 1000


class ReadAt(msgspec.Struct, frozen=True):
    """The revisions at which the reads began that a token rests on. Any cut after them ends the token."""

    org: str
    rev: int
    platform_rev: int


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a token is asked to say. The class of its bearer, and with it lifetime and binding, follow from who acts.

    `path` and `platform_path` are the ids on both sides as `tree` wants them, the subject and every actor among them; the signing key is
    added. `actors` are those who act for the subject, the one that bears the token first. `parent` is the token it was exchanged for:
    nothing becomes more than that. `ends_at_ms` is the end of what it descends from (a session, grant or run).
    """

    subject: str
    client_id: str
    client_profile: str
    audience: str
    path: tuple[str, ...]
    platform_path: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    confirmation: Confirmation = UNBOUND
    parent: Verified | None = None
    ends_at_ms: int | None = None
    lifetime_ms: int | None = None
    """Shorter than the class allows."""

    followed: bool = False
    """Whether the resource is known to follow the feed."""

    roles: tuple[str, ...] = ()
    authorization_details: tuple[dict[str, Any], ...] = ()
    authentication: Authentication | None = None


class Minted(msgspec.Struct, frozen=True):
    """A token for its bearer alone; `repr` does not show it."""

    token: str
    jti: str
    expires_in_s: int
    verified: Verified

    def __repr__(self) -> str:
        return f"Minted({self.jti!r}, '…')"


def identity_of(subject: str, actors: tuple[str, ...], path: tuple[str, ...]) -> IdentityClass:
    """The class of whoever bears a token.

    Raises:
        NoBranch: it is no principal.
    """
    if any(branch.startswith("entry_") for branch in path):
        return IdentityClass.ENTRY
    return IdentityClass(profiled(actors[0] if actors else subject))


def profiled(principal: str) -> str:
    """The kind of a principal.

    Raises:
        NoBranch: it is none.
    """
    name = kind_of(principal).name
    if name not in PROFILES:
        raise NoBranch(f"A {name} is no principal.")
    return name


def longest_lifetime_ms(kind: str) -> int:
    """How long an access token may live that descends from a branch of this kind."""
    return FOLLOWED_LIFETIME_MS if kind in _LONG else max(rule.lifetime_ms for rule in RULES.values())
