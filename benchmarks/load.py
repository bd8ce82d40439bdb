"""A load generator in a process of its own: connections that are kept alive, each with one request under way.

python -m benchmarks.load reads a `Load` a line, answers with a `Done` a line, ends with its input
"""

import asyncio
import functools
import itertools
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import msgspec
import uvloop

CONNECTIONS = 16
COME_BACK_S = 0.1
"""When a question is asked again that a server was too busy for."""

ANSWER_S = 120
"""How long the last answers, among them the first question's of a store that is being read, may take."""


class Load(msgspec.Struct, frozen=True):
    """What to send where, for how long, over how many connections."""

    port: int
    path: str
    headers: dict[str, str]
    bodies: list[str]
    seconds: float
    connections: int = CONNECTIONS
    once: bool = False
    """Whether each body is sent once, instead of round and round."""


class Done(msgspec.Struct, frozen=True):
    """What came of it: answers of status 200, how many decisions in them were a yes, how often the server said 503."""

    answers: int
    allowed: int
    busy: int
    seconds: float


class Refused(Exception):
    """An answer that is neither 200 nor 503."""


class _Connection(asyncio.Protocol):
    """One connection, from its first request on; `left` is what a server that closed it was too busy for."""

    def __init__(self, first: bytes, requests: Iterator[bytes], until: float, counts: Counter[str]) -> None:
        self._request = first
        self._requests = requests
        self._until = until
        self._counts = counts
        self._buffer = b""
        self._transport: Any = None
        self.ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:  # uvloop's are of no class of asyncio's
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer = buffer = self._buffer + data
        head = buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        place = buffer[:head].lower().find(b"content-length:") + 15
        size = head + 4 + int(buffer[place : buffer.index(b"\r\n", place)])
        if len(buffer) < size:
            return
        self._buffer = buffer[size:]
        if buffer.startswith(b"HTTP/1.1 200"):
            self._counts["answers"] += 1
            self._counts["allowed"] += buffer.count(b'"allowed":true', head)
            self._next()
        elif buffer.startswith(b"HTTP/1.1 503"):
            self._counts["busy"] += 1
            self._end(self._request)
        else:
            self._end(Refused(buffer[:2_000].decode("latin-1")))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or Refused("The connection was closed."))

    def _next(self) -> None:
        self._request = next(self._requests, b"") if perf_counter() < self._until else b""
        if self._request:
            self._transport.write(self._request)
        else:
            self._end(b"")

    def _end(self, left: bytes | Exception) -> None:
        if not self.ended.done():
            self.ended.set_exception(left) if isinstance(left, Exception) else self.ended.set_result(left)
            self._transport.close()


async def _client(port: int, requests: Iterator[bytes], until: float, counts: Counter[str]) -> None:
    """Ask over one connection, and over another one after the server was too busy."""
    request, loop = next(requests, b""), asyncio.get_running_loop()
    while request:
        connecting = loop.create_connection(
            functools.partial(_Connection, request, requests, until, counts), "127.0.0.1", port
        )
        _, connection = await connecting
        request = await connection.ended
        if request:
            await asyncio.sleep(COME_BACK_S)


async def _run(load: Load) -> Done:
    head = "".join(f"{name}: {value}\r\n" for name, value in load.headers.items())
    requests = [
        f"POST {load.path} HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        for body in load.bodies
    ]
    turns, counts = iter(requests) if load.once else itertools.cycle(requests), Counter[str]()
    began = perf_counter()
    until = began + load.seconds
    await asyncio.gather(*(_client(load.port, turns, until, counts) for _ in range(load.connections)))
    return Done(counts["answers"], counts["allowed"], counts["busy"], perf_counter() - began)


class Generator:
    """The generator's process, as who measures sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, load: Load) -> Done:
        """Send that, and wait.

        Raises:
            Refused: an answer was no 200, or the generator ended; it has said why on stderr.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(load) + b"\n")
        async with asyncio.timeout(load.seconds + ANSWER_S):
            line = await self._process.stdout.readline()
        if not line:
            raise Refused("The generator ended.")
        return msgspec.json.decode(line, type=Done)


@asynccontextmanager
async def generator() -> AsyncIterator[Generator]:
    """Start one for the block."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "benchmarks.load", stdin=pipe, stdout=pipe)
    try:
        yield Generator(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


def main() -> None:
    """Take what comes."""
    for line in sys.stdin.buffer:
        done = uvloop.run(_run(msgspec.json.decode(line, type=Load)))
        sys.stdout.buffer.write(msgspec.json.encode(done) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
