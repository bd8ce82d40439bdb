"""Clients that prove themselves: who they are by our records, and that the key or secret they used is theirs and in force now.

Only a service may have a secret. Whatever is wrong (no such client, another's key, an ended one, a suspended organization) is one answer.
"""

import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from tenantry.core import scopes
from tenantry.core.clock import Clock
from tenantry.core.errors import Ended, NotFound, ProofFailed
from tenantry.core.ids import PLATFORM
from tenantry.core.principal import Principal
from tenantry.core.scopes import ClaimScope
from tenantry.journal import Cuts, Journal, Reads
from tenantry.keys.jwk import BadKey, foreign_key
from tenantry.oauth import assertion
from tenantry.oauth.once import Once, once
from tenantry.oauth.presented import ByAssertion, BySecret, InvalidClient, Method
from tenantry.organizations import agents, doors, jobs, keys, mcp_servers, organization, parties, services
from tenantry.organizations.doors import DoorKind
from tenantry.organizations.keys import PrincipalKey
from tenantry.sessions.claims import IdentityClass, ReadAt, profiled
from tenantry.sessions.schema import CUTS_AMONG
from tenantry.sessions.tokens import AccessTokens
from tenantry.store import Engine


class Client(msgspec.Struct, frozen=True):
    """A client that has proved itself."""

    principal: Principal
    identity: IdentityClass
    path: tuple[str, ...]
    """What it descends from, the key that it used last."""

    at: ReadAt
    """When what is said here was read: a cut after it counts."""

    method: Method
    key: str
    ends_at_ms: int | None
    """The first end of whatever it descends from."""


class _Record(Protocol):
    """What the record of every principal says."""

    @property
    def id(self) -> str: ...

    @property
    def status(self) -> str: ...

    def path(self) -> tuple[str, ...]: ...


_RECORDS: dict[IdentityClass, Callable[[Reads, str], Awaitable[_Record]]] = {
    IdentityClass.SERVICE: lambda reads, client: reads.one(services.SERVICE, id=client),
    IdentityClass.AGENT: agents.agent,
    IdentityClass.MCP_SERVER: lambda reads, client: reads.one(mcp_servers.MCP_SERVER, id=client),
    IdentityClass.JOB: lambda reads, client: reads.one(jobs.JOB, id=client),
}
"""The classes that can be clients for themselves. A visiting agent is none: it has no key, and somebody behind it or no token."""

DOORS_KEPT = 50_000
"""Clients whose organization a node remembers, about 200 bytes each."""

_WITH_SECRETS = (IdentityClass.SERVICE,)


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
        # A client never moves to another organization, and one that is gone is not found there.
        self._doors: OrderedDict[str, str] = OrderedDict()

    async def authenticate(self, given: BySecret | ByAssertion) -> Client:
        """Whoever proves itself by what was presented; an assertion counts once.

        Raises:
            InvalidClient: nobody does.
            Stale: this node cannot know what was cut.
        """
        try:
            claim = await self._claim(given)
            at = await self._tokens.read_at(claim.org)  # before anything is read that a token will rest on
            reads = self._journal.reads(scopes.to_verify(claim))
            key, presented_once = await self._proved(given, reads)
            client = await self._client(given, reads, at, key)
            if presented_once is not None:
                await self._count(client, presented_once)
        except (NotFound, ProofFailed, BadKey, Ended) as error:
            raise InvalidClient from error
        return client

    async def _claim(self, given: BySecret | ByAssertion) -> ClaimScope:
        """The organization that is claimed: a secret names it in its text, a client id is a door to it."""
        if isinstance(given, BySecret):
            return scopes.of_claim(given.secret.organization())
        org = self._doors.get(given.client_id)
        if org is None:
            org = (await doors.behind(self._engine, DoorKind.CLIENT, given.client_id)).org
            self._doors[given.client_id] = org
        self._doors.move_to_end(given.client_id)
        while len(self._doors) > DOORS_KEPT:
            self._doors.popitem(last=False)
        return scopes.of_claim(org)

    async def _proved(self, given: BySecret | ByAssertion, reads: Reads) -> tuple[PrincipalKey, Once | None]:
        """The registered key or secret, once it is found to be the client's and in force."""
        now_ms = self._clock.now_ms()
        if isinstance(given, ByAssertion):
            key = _named(given.claim.kid, await keys.usable_keys(reads, given.client_id, now_ms))
            foreign = foreign_key(msgspec.json.decode(key.material, type=dict[str, str]))
            return key, assertion.verify(given.claim, foreign, issuer=self._issuer, now_ms=now_ms)
        key = await keys.of_secret(reads, given.secret, now_ms)
        mine = hmac.compare_digest(key.material, given.secret.digest().hex())
        if not mine or key.principal_id != given.client_id:
            raise NotFound
        return key, None

    async def _client(self, given: BySecret | ByAssertion, reads: Reads, at: ReadAt, key: PrincipalKey) -> Client:
        """The client by its records, each of which must be active."""
        identity = IdentityClass(profiled(given.client_id))
        if isinstance(given, BySecret) and identity not in _WITH_SECRETS:
            raise NotFound
        record = await _RECORDS[identity](reads, given.client_id)
        if record.status != parties.ACTIVE or not await _is_open(reads):
            raise NotFound
        path = tuple(dict.fromkeys((*record.path(), record.id)))
        ends = [key.ends_at_ms, *[await self._end(reads, branch) for branch in path[1:]]]
        lineage = await self._cuts.lineage(at.org, (*path, key.id), at.rev)
        return Client(
            principal=Principal(record.id, at.org, lineage),
            identity=identity,
            path=lineage.path,
            at=at,
            method=given.method,
            key=key.id,
            ends_at_ms=min((end for end in ends if end is not None), default=None),
        )

    async def _end(self, reads: Reads, branch: str) -> int | None:
        """When a party or run that the client descends from ends.

        Raises:
            NotFound: it has ended, or is not active.
        """
        if branch.startswith("run_"):  # no party: what stops it is a cut, and that is for good
            if await reads.all(CUTS_AMONG, ids=[branch]):
                raise NotFound
            return None
        party = await reads.one(parties.PARTY, id=branch)
        ends_at_ms = party.ends_at_ms
        if party.status != parties.ACTIVE or (ends_at_ms is not None and ends_at_ms <= self._clock.now_ms()):
            raise NotFound
        return ends_at_ms

    async def _count(self, client: Client, presented_once: Once) -> None:
        """Refuse an assertion that some node has seen, in a set of its own: it stays seen whatever becomes of the request."""
        async with self._journal.begin(scopes.of_principal(client.principal), client.principal) as w:
            once(w, presented_once, InvalidClient)


async def _is_open(reads: Reads) -> bool:
    """Whether the client's organization may be used. The platform is never suspended, and has no record of itself.

    Raises:
        NotFound: there is no such organization.
    """
    return reads.org == PLATFORM or (await organization.organization(reads)).status == organization.ACTIVE


def _named(kid: str, usable: list[PrincipalKey]) -> PrincipalKey:
    """The one key of a client that a `kid` names: by our id, its thumbprint, or the name that it was registered with.

    Raises:
        NotFound: it names none, or more than one.
    """
    named = [key for key in usable if kid in (key.id, key.thumbprint, msgspec.json.decode(key.material).get("kid"))]
    if len(named) != 1:
        raise NotFound
    return named[0]
