"""The line between a node and PostgreSQL, which a test can silence, heal and tear. It proxies the cluster's Unix socket.

A silenced line delivers nothing and refuses nothing, as where packets are dropped. What was under way when it fell silent stays so for
ever, as behind a firewall that forgot the connection; new connections work again once it has healed.
"""

import asyncio
from pathlib import Path
from typing import Self

_SOCKET = ".s.PGSQL.5432"


class _Side:
    """One connection through the line."""

    __slots__ = ("dead", "writers")

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self.writers = writers
        self.dead = False


class Wire:
    """A line to the cluster whose socket lies in `upstream`; nodes connect with `host=folder`."""

    def __init__(self, upstream: Path, folder: Path) -> None:
        self.folder = folder
        self._upstream = upstream / _SOCKET
        self._requests_pass = self._answers_pass = True
        self._sides: set[_Side] = set()
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

    def silence(self) -> None:
        """Deliver nothing more, in either direction."""
        self._requests_pass = self._answers_pass = False

    def lose_requests(self) -> None:
        """Nothing of what is asked from now on reaches the database."""
        self._requests_pass = False

    def lose_answers(self) -> None:
        """What is asked from now on is done, and nobody hears of it."""
        self._answers_pass = False

    def heal(self) -> None:
        """Deliver again, on connections that lost nothing and on new ones."""
        self._requests_pass = self._answers_pass = True

    def tear(self) -> None:
        """Reset every connection."""
        for side in self._sides:
            for writer in side.writers:
                writer.transport.abort()
        self._sides.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(self._upstream)
        except OSError:
            writer.transport.abort()
            return
        side = _Side(writer, up_writer)
        self._sides.add(side)
        for source, sink, asks in ((reader, up_writer, True), (up_reader, writer, False)):
            pump = asyncio.create_task(self._pump(side, source, sink, asks=asks))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(
        self, side: _Side, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, asks: bool
    ) -> None:
        try:
            while data := await source.read(1 << 16):
                passes = self._requests_pass if asks else self._answers_pass
                side.dead = side.dead or not passes
                if passes and not side.dead:
                    sink.write(data)
                    await sink.drain()
        except ConnectionError:
            pass
        if not side.dead:
            sink.close()
