"""The line between a node and PostgreSQL, which a test can silence, heal and tear. It proxies the cluster's Unix socket.

A silenced line delivers nothing and refuses nothing, as where packets are dropped. What was under way when it fell silent stays so for
ever, as behind a firewall that forgot the connection; new connections work again once it has healed.
"""

import asyncio
import itertools
import re
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec

from tenantry.app.config import Config

_ROLES = ("app", "follower", "worker")
_SOCKET = ".s.PGSQL.5432"


class Wire:
    """A line to the cluster whose socket lies in `upstream`; nodes connect with `host=folder`."""

    def __init__(self, upstream: Path, folder: Path) -> None:
        self.folder = folder
        self._upstream = upstream / _SOCKET
        self._requests_pass = self._answers_pass = True
        self._last_bytes = 0
        self._deaf = False
        self._numbers = itertools.count()
        self._listening: set[int] = set()
        self._ends: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._server = await asyncio.start_unix_server(self._accept, self.folder / _SOCKET)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.tear()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def through(self, config: Config) -> Config:
        """The configuration of a node that reaches its database by this line."""
        given = config.database
        roles = {name: re.sub(r"host=\S+", f"host={self.folder}", getattr(given, name)) for name in _ROLES}
        return msgspec.structs.replace(config, database=msgspec.structs.replace(given, **roles))

    def silence(self) -> None:
        """Deliver nothing more, in either direction."""
        self._requests_pass = self._answers_pass = False

    def lose_requests(self, *, after_bytes: int = 0) -> None:
        """Nothing of what is asked from now on reaches the database, on each connection but for its next `after_bytes`."""
        self._requests_pass = False
        self._last_bytes = after_bytes

    def lose_answers(self) -> None:
        """What is asked from now on is done, and nobody hears of it."""
        self._answers_pass = False

    def deafen(self) -> None:
        """Deliver nothing more to or from a connection that listens for notifications; it stays open."""
        self._deaf = True

    def heal(self) -> None:
        """Deliver again, on connections that lost nothing and on new ones."""
        self._requests_pass = self._answers_pass = True
        self._deaf = False

    def lead_to(self, upstream: Path) -> None:
        """From now on the line ends at another cluster, as an address does after a fail-over."""
        self._upstream = upstream / _SOCKET
        self.tear()

    def tear(self) -> None:
        """Reset every connection."""
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(self._upstream)
        except OSError:
            writer.transport.abort()
            return
        self._ends |= {writer, up_writer}
        number = next(self._numbers)
        for source, sink, asks in ((reader, up_writer, True), (up_reader, writer, False)):
            pump = asyncio.create_task(self._pump(source, sink, number, asks=asks))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, number: int, *, asks: bool) -> None:
        lost = False
        with suppress(ConnectionError):
            while data := await source.read(1 << 16):
                if lost:
                    continue
                if asks and b"LISTEN " in data:
                    self._listening.add(number)
                lost = not (self._requests_pass if asks else self._answers_pass)
                lost = lost or (self._deaf and number in self._listening)
                sink.write(data[: self._last_bytes if asks else 0] if lost else data)
                await sink.drain()
        if not lost:
            sink.close()
