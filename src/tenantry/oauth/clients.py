"""Clients that prove themselves: who they are by our records, and that the key or secret they used is theirs and in force now.

Only a service may have a secret. Whatever is wrong (no such client, another's key, an ended key, a suspended organization) is one answer.
"""

import hmac

import msgspec

from tenantry.core import scopes
from tenantry.core.clock import Clock
from tenantry.core.errors import Ended, NotFound, ProofFailed
from tenantry.core.principal import Principal
from tenantry.core.scopes import TenantScope
from tenantry.journal import Cuts, Journal, Reads
from tenantry.keys.jwk import BadKey, foreign_key
from tenantry.oauth import assertion
from tenantry.oauth.once import Once, once
from tenantry.oauth.presented import ByAssertion, BySecret, InvalidClient, Method
from tenantry.organizations import doors, organization, parties
from tenantry.organizations.doors import DoorKind
from tenantry.sessions.claims import IdentityClass, ReadAt, profiled
from tenantry.sessions.tokens import AccessTokens
from tenantry.store import Engine


class Client(msgspec.Struct, frozen=True):
    """A client that has proved itself."""

    id: str
    org: str
    identity: IdentityClass
    path: tuple[str, ...]
    """What its tokens descend from, the key that it used last."""

    at: ReadAt
    """When what is said here was read: a cut after it counts."""

    method: Method
    key: str
    ends_at_ms: int | None
    """Its own end or its key's, whichever comes first."""


class Clients:
    """Authenticates the clients of one issuer on one node."""

    def __init__(
        self, engine: Engine, journal: Journal, cuts: Cuts, clock: Clock, tokens: AccessTokens, issuer: str
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._cuts = cuts
        self._clock = clock
        self._tokens = tokens
        self._issuer = issuer

    async def authenticate(self, given: BySecret | ByAssertion) -> Client:
        """Whoever proves itself by what was presented; an assertion counts once.

        Raises:
            InvalidClient: nobody does.
            Stale: this node cannot know what was cut.
        """
        try:
            client, replayable = await self._found(given)
            await self._admit(client, replayable)
        except (NotFound, ProofFailed, BadKey, Ended) as error:
            raise InvalidClient from error
        return client
