"""A server: a node, its routes, and the sockets it listens on, until it is told to end.

On SIGTERM the node says first that it is not ready, listens on for `DRAIN_S` so that whoever balances load can hear it, then takes no new
connection and finishes what is under way; the node closes last. SIGINT, from a person, skips the wait, and so does a second signal.
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager

import uvicorn
from structlog.typing import FilteringBoundLogger

from tenantry.app.config import Config
from tenantry.app.edge import Admit, Admitted, Edge, admit_nobody, security_headers
from tenantry.app.listening import listening
from tenantry.app.logs import Libraries, Sink
from tenantry.app.metrics import Metrics
from tenantry.app.node import Node
from tenantry.app.openapi import document
from tenantry.app.probes import probes
from tenantry.app.protocol import LimitedProtocol
from tenantry.core.errors import TenantryError, Unavailable
from tenantry.protection.sources import networks
from tenantry.web import Route, Table

DRAIN_S = 3.0
"""How long the node goes on listening after it said that it is stopping."""

FINISH_S = 30
"""How long what is under way may take to end."""

KEEP_ALIVE_S = 75
"""How long an idle connection is kept: longer than the 60 s of common proxies, which then never reuse one that is being closed."""


class Ending:
    """Whether the server is to end. Set by signals, and by a node that must."""

    def __init__(self) -> None:
        self.told = asyncio.Event()
        self.at_once = asyncio.Event()

    def tell(self, number: int) -> None:
        """A signal came."""
        if self.told.is_set() or number == signal.SIGINT:
            self.at_once.set()
        self.told.set()

    async def wait(self) -> None:
        """Until the server may stop listening."""
        await self.told.wait()
        try:
            async with asyncio.timeout(DRAIN_S):
                await self.at_once.wait()
        except TimeoutError:
            return


class _Server(uvicorn.Server):
    """uvicorn without its own signals, which would end the process by the signal after a graceful end."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See uvicorn."""
        yield


async def serve(
    node: Node,
    config: Config,
    sink: Sink,
    log: FilteringBoundLogger,
    ending: Ending,
    *,
    routes: tuple[Route, ...] = (),
    admit: Admit = admit_nobody,
    refused: Callable[[Admitted, TenantryError], None] = lambda *_: None,
    on_listening: Callable[[list[str]], None],
) -> None:
    """Serve until it is told to end; what is under way has then ended.

    `routes` are the rooms' own; `refused` hears what somebody who was admitted was refused; `on_listening` hears the addresses once
    they can be connected to.

    Raises:
        Invalid: it cannot listen where it is told to.
        Unavailable: the node had to end.
    """
    with listening(config) as at, _libraries(log):
        edge = assemble(node, config, sink, log, ending, routes, admit, refused, at.inside)
        server = _Server(
            uvicorn.Config(
                edge.application(),
                http=_protocol(config.issuer),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=FINISH_S,
            )
        )
        on_listening(at.names)  # whoever connects waits for the next lines
        async with asyncio.TaskGroup() as running:
            running.create_task(server.serve(at.sockets))
            broken = running.create_task(node.ended.wait())
            told = running.create_task(ending.wait())
            await asyncio.wait({broken, told}, return_when=asyncio.FIRST_COMPLETED)
            ending.told.set()
            server.should_exit = True
            told.cancel()
            broken.cancel()
    if node.ended.is_set():
        raise Unavailable(
            "The node had to end: storage failed, or the database lives another life.", hint="Restart it."
        )


def assemble(
    node: Node,
    config: Config,
    sink: Sink,
    log: FilteringBoundLogger,
    ending: Ending,
    routes: tuple[Route, ...],
    admit: Admit,
    refused: Callable[[Admitted, TenantryError], None],
    inside: Container[int | None],
) -> Edge:
    """The edge of a node, with the routes that every server has and those of its rooms."""
    metrics = Metrics(node, sink, lambda: edge.under_way)
    own = probes(node.health, ending.told.is_set, metrics.exposition, lambda: interface)
    table = Table((*own, *routes))
    interface = document(table, config.issuer)
    edge = Edge(
        table,
        node.journal,
        node.clock,
        node.ids,
        issuer=config.issuer,
        admit=admit,
        log=log,
        answered=metrics.answered,
        inside=inside,
        proxies=networks(config.http.proxies),
        refused=refused,
        stopping=ending.told,
    )
    return edge


def _protocol(issuer: str) -> type[LimitedProtocol]:
    """Connections whose own answers carry what every answer carries."""
    return type("Connection", (LimitedProtocol,), {"answer_headers": security_headers(issuer)})


@contextmanager
def signals() -> Iterator[Ending]:
    """What SIGTERM and SIGINT tell, for the block."""
    ending, loop = Ending(), asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, ending.tell, number)
    try:
        yield ending
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


@contextmanager
def _libraries(log: FilteringBoundLogger) -> Iterator[None]:
    """What libraries log goes where the server logs."""
    handler = Libraries(log)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
