"""The rooms of a node, put together: what each needs of the others, what follows the journal, and the routes of all."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import msgspec

from tenantry.access.continuation import Continuation
from tenantry.access.decision_log import DecisionLog
from tenantry.access.decisions import Decisions
from tenantry.access.graphs import Graphs
from tenantry.access.models import Models
from tenantry.access.routes import routes as access_routes
from tenantry.access.service import Service
from tenantry.app.callers import Callers
from tenantry.app.config import Config
from tenantry.app.credentials import credential_kinds
from tenantry.app.node import ROOMS, Node, open_node
from tenantry.core.clock import Clock
from tenantry.core.ids import PLATFORM
from tenantry.journal import Journal
from tenantry.keys.keyring import Keyring
from tenantry.keys.root import RootKey
from tenantry.keys.signing import Purpose, Use
from tenantry.oauth.client_credentials import grant
from tenantry.oauth.clients import Clients
from tenantry.oauth.nonces import Nonces
from tenantry.oauth.routes import routes as oauth_routes
from tenantry.oauth.token import TokenEndpoint
from tenantry.organizations.ceilings import KeptCeilings
from tenantry.organizations.membership import Memberships
from tenantry.organizations.routes import routes as organization_routes
from tenantry.organizations.standing import Standings
from tenantry.protection.routes import routes as protection_routes
from tenantry.protection.signals import Signals
from tenantry.sessions.feed import Feed
from tenantry.sessions.kinds import Kinds
from tenantry.sessions.receipts import Receipts, Verifiers
from tenantry.sessions.routes import routes as session_routes
from tenantry.sessions.tokens import AccessTokens
from tenantry.store import Schema
from tenantry.web import PUBLIC, Route


class Rooms(msgspec.Struct, frozen=True, eq=False):
    """What the rooms are on one node."""

    node: Node
    issuer: str
    standing: Standings
    kinds: Kinds
    receipts: Receipts
    models: Models
    graphs: Graphs
    log: DecisionLog
    decisions: Decisions
    tokens: AccessTokens
    feed: Feed
    signals: Signals
    callers: Callers

    def routes(self) -> tuple[Route, ...]:
        """The routes of every room."""
        node = self.node
        places = Continuation(node.keyring, node.incarnation.number)
        rooms = (
            *organization_routes(node.ids, node.clock, node.engine, node.keyring),
            *access_routes(Service(self.decisions, self.models, places, node.ids, node.clock, self.issuer)),
            *protection_routes(),
            *session_routes(self.kinds, self.receipts, self.feed, node.clock),
        )
        return (*rooms, *self._oauth(sorted({route.permission.name for route in rooms} - {PUBLIC.name})))

    def _oauth(self, permissions: list[str]) -> tuple[Route, ...]:
        """The authorization server, of which this interface is a resource: its scopes are the permissions."""
        node = self.node
        clients = Clients(node.engine, node.journal, node.cuts, node.clock, self.tokens, self.issuer)
        nonces = Nonces(node.keyring, node.clock)
        granted = (grant(self.issuer, tuple(permissions)),)
        endpoint = TokenEndpoint(node.journal, node.clock, self.tokens, clients, nonces, self.issuer, granted)
        return oauth_routes(
            endpoint, node.keyring, node.published_keys, Use(Purpose.ACCESS_TOKEN, self.issuer, PLATFORM)
        )


@asynccontextmanager
async def open_rooms(
    config: Config,
    *,
    schemas: Iterable[Schema] = ROOMS,
    clock: Clock | None = None,
    root: RootKey | None = None,
) -> AsyncIterator[Rooms]:
    """Open a node with all its rooms for the block; see `open_node`."""
    made: list[Rooms] = []
    told: list[_Told] = []

    def derivers(journal: Journal, keyring: Keyring, clock: Clock) -> tuple[Receipts]:
        told.append(_Told.of(journal, keyring, clock, config.issuer))
        return (told[0].receipts,)

    def on_open(node: Node) -> None:
        rooms = _rooms(node, told[0], config.issuer)
        for follower in (rooms.standing, rooms.graphs, rooms.feed):
            node.following.add(follower)
        made.append(rooms)

    async with open_node(config, rooms=schemas, derivers=derivers, clock=clock, root=root, on_open=on_open):
        (rooms,) = made
        rooms.feed.start()
        rooms.log.start()
        rooms.signals.start()
        try:
            yield rooms
        finally:
            await rooms.graphs.close()
            rooms.decisions.close()
            await rooms.log.close()
            await rooms.signals.close()


class _Told(msgspec.Struct, frozen=True, eq=False):
    """Who is active, which credentials there are, and what is told of their end."""

    standing: Standings
    kinds: Kinds
    receipts: Receipts

    @classmethod
    def of(cls, journal: Journal, keyring: Keyring, clock: Clock, issuer: str) -> "_Told":
        standing = Standings(journal, clock)
        kinds = credential_kinds(standing)
        return cls(standing, kinds, Receipts(kinds, (Verifiers(),), keyring, clock, issuer))


def _rooms(node: Node, told: _Told, issuer: str) -> Rooms:
    models = Models(node.journal)
    graphs = Graphs(node.journal, models, node.lease, node.clock, (Memberships(),))
    log = DecisionLog(node.journal, node.clock, node.ids)
    decisions = Decisions(graphs, models, log, told.standing, KeptCeilings(node.journal))
    tokens = AccessTokens(node.journal, node.cuts, node.keyring, node.published_keys, node.clock, node.ids, issuer)
    feed = Feed(
        node.id,
        node.engine,
        node.journal,
        node.cuts,
        node.lease,
        node.clock,
        incarnation=node.incarnation.number,
        issuer=issuer,
    )
    signals = Signals(node.journal, node.clock, node.ids)
    callers = Callers(node, tokens, decisions, told.standing, signals, issuer)
    return Rooms(
        node,
        issuer,
        told.standing,
        told.kinds,
        told.receipts,
        models,
        graphs,
        log,
        decisions,
        tokens,
        feed,
        signals,
        callers,
    )
