"""A load generator in a process of its own: connections that are kept alive, each with one request under way.

    python -m benchmarks.load    reads a `Load` a line, answers with a `Done` a line, ends with its input
"""

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import msgspec
import uvloop

CONNECTIONS = 16
ANSWER_S = 20
"""How long the last answers, among them the first question's of a store that is being read, may take."""


class Load(msgspec.Struct, frozen=True):
    """What to send where, for how long, over how many connections."""

    port: int
    path: str
    headers: dict[str, str]
    bodies: list[str]
    seconds: float
    connections: int = CONNECTIONS


class Done(msgspec.Struct, frozen=True):
    """What came of it: answers of status 200, and how many held each of `"allowed":true` and nothing of the kind."""

    answers: int
    allowed: int
    seconds: float


class Refused(Exception):
    """An answer that is no 200."""


class _Connection(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], until: float) -> None:
        self._requests = requests
        self._until = until
        self._buffer = b""
        self._transport: Any = None
        self.answers = 0
        self.allowed = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:  # uvloop's are of no class of asyncio's
        self._transport = transport
        transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._buffer = buffer = self._buffer + data
        head = buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        place = buffer[:head].lower().find(b"content-length:") + 15
        size = head + 4 + int(buffer[place : buffer.index(b"\r\n", place)])
        if len(buffer) < size:
            return
        if not buffer.startswith(b"HTTP/1.1 200"):
            self._end(Refused(buffer[:2_000].decode("latin-1")))
            return
        self.answers += 1
        self.allowed += buffer.count(b'"allowed":true', head)
        self._buffer = buffer[size:]
        if perf_counter() < self._until:
            self._transport.write(next(self._requests))
        else:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or Refused("The connection was closed."))

    def _end(self, error: Exception | None) -> None:
        if self._transport is not None:
            self._transport.close()
        if not self.ended.done():
            self.ended.set_exception(error) if error else self.ended.set_result(None)


async def _run(load: Load) -> Done:
    head = "".join(f"{name}: {value}\r\n" for name, value in load.headers.items())
    requests = [
        f"POST {load.path} HTTP/1.1\r\nHost: localhost\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        for body in load.bodies
    ]
    turns, loop, began = itertools.cycle(requests), asyncio.get_running_loop(), perf_counter()
    made: list[_Connection] = []
    for _ in range(load.connections):
        _, one = await loop.create_connection(
            lambda: _Connection(turns, began + load.seconds), "127.0.0.1", load.port
        )
        made.append(one)
    await asyncio.gather(*(one.ended for one in made))
    took = perf_counter() - began
    return Done(sum(one.answers for one in made), sum(one.allowed for one in made), took)


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
