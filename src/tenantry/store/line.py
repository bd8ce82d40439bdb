"""The connection by which a node hears from PostgreSQL, and how a silent one is told from a slow one.

A network that drops packets refuses nothing: whoever waits on such a connection waits for hours. So every wait here ends, by hanging up,
which the driver sees as a broken connection. The lease is 700 ms, and a node whose line has healed should hear again within a second,
so patience begins short. It grows only while the database can be reached and still has not answered in time, which is a heavy look and
no silence; else a node that has much to catch up on would hang up for ever.
"""

import asyncio
import os
import socket
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import AsyncConnection, AsyncRawCursor

from tenantry.core.errors import Unavailable
from tenantry.store.program import Row
from tenantry.store.sqlstate import refusal

SHORT_S = 0.5
LONG_S = 16.0
CONNECT_S = 5.0


def hang_up(connection: AsyncConnection) -> None:
    """End a connection from outside: whoever waits on it is told at once that it broke. (Cancelling would first ask the server.)"""
    with suppress(OSError, psycopg.OperationalError), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


class Line:
    """One connection, taken up again when it broke. Whoever asks at the same time waits in turn."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._turn = asyncio.Lock()
        self._connection: AsyncConnection | None = None
        self._patience_s = SHORT_S

    async def connection(self) -> AsyncConnection:
        """The connection, made if there is none.

        Raises:
            Unavailable: the database cannot be reached, or has not answered for `CONNECT_S`.
        """
        if self._connection is None or self._connection.closed:
            try:
                self._connection = await self._fastest()
            except (psycopg.OperationalError, TimeoutError) as error:
                raise Unavailable("The database cannot be reached.", hint="Try again in a second.") from error
            finally:
                self._patience_s = SHORT_S
        return self._connection

    async def _fastest(self) -> AsyncConnection:
        """Try again every `SHORT_S` without giving up what was tried: a busy server answers late, a healed network the next try."""
        trying: set[asyncio.Task[AsyncConnection]] = set()
        try:
            async with asyncio.timeout(CONNECT_S):
                while True:
                    trying.add(asyncio.create_task(self._connect()))
                    done, _ = await asyncio.wait(trying, timeout=SHORT_S, return_when=asyncio.FIRST_COMPLETED)
                    if done:
                        fastest = next(iter(done))
                        trying.discard(fastest)
                        return fastest.result()
        finally:
            for late in trying:
                late.cancel()
            for tried in await asyncio.gather(*trying, return_exceptions=True):
                if isinstance(tried, AsyncConnection):
                    await tried.close()

    async def _connect(self) -> AsyncConnection:
        return await AsyncConnection.connect(
            self._url, autocommit=True, prepare_threshold=0, cursor_factory=AsyncRawCursor
        )

    async def rows(self, text: str, values: Any) -> list[Row]:
        """What a read gives.

        Raises:
            Unavailable: the connection broke or fell silent.
        """
        async with self._turn:
            connection = await self.connection()
            silent = asyncio.get_running_loop().call_later(self._patience_s, hang_up, connection)
            try:
                rows = await (await connection.execute(text.encode(), values, prepare=True)).fetchall()
            except psycopg.Error as error:
                if error.sqlstate:
                    raise refusal(error) from error
                await connection.close()
                self._patience_s = min(2 * self._patience_s, LONG_S)
                raise Unavailable("The connection to the database broke.", hint="Try again in a second.") from error
            finally:
                silent.cancel()
            self._patience_s = SHORT_S
            return rows

    async def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            await self._connection.close()
