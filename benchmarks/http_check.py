"""A decision over HTTP: against a bare handler that walks plain sets, in a batch against one by one, a list against one check.

Ours is `tenantry serve` over SQLite in a process of its own: it verifies the caller's access token, asks its own model whether
the service may check in this store, decides, records the decision and logs the request. Theirs is `benchmarks.bare`. Both are
asked the same questions, with the same headers, by one load generator in a third process.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx2
import msgspec

from benchmarks.corpus import ALLOWED_ONE_IN, Corpus, Fact
from benchmarks.ground import Ground
from benchmarks.house import furnished, serving
from benchmarks.load import CONNECTIONS, Done, Generator, Load, generator
from benchmarks.measure import Row, Side, in_turns

QUESTIONS = 5_000
BATCH = 50


async def rows(ground: Ground) -> list[Row]:
    """Single checks against the ceiling, then batches against single checks."""
    corpus = Corpus(ground.pace.tuples)
    house = await furnished(ground.folder / "http-check", corpus)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(house.config))
        load = await stack.enter_async_context(generator())
        headers = await house.headers(server)
        port = await stack.enter_async_context(bare(corpus, headers["Authorization"]))
        asked = corpus.questions(QUESTIONS)
        path = f"/stores/{house.store}/check"
        single = Load(server.port, path, headers, [check_body(one) for one in asked], 0)
        batches = [asked[first : first + BATCH] for first in range(0, QUESTIONS, BATCH)]
        several = msgspec.structs.replace(
            single, path=f"/stores/{house.store}/batch-check", bodies=[batch_body(one) for one in batches]
        )
        beside = f"{len(asked):,} questions over {corpus.tuples:,} tuples, depth 4, one in {ALLOWED_ONE_IN} allowed"
        machine = ground.machine.beside(1, f"loopback, {CONNECTIONS} connections")
        return [
            await in_turns(
                "HTTP: check",
                answered(load, single),
                answered(load, msgspec.structs.replace(single, port=port)),
                ground.pace,
                goal=0.5,
                note="answers/s, caller's token verified and admitted, decision recorded, against a bare ASGI handler under "
                "uvicorn that reads the same JSON, finds the caller in a dictionary and walks plain sets; "
                f"{beside}; {machine}",
            ),
            await in_turns(
                f"HTTP: batch of {BATCH}",
                answered(load, several, BATCH),
                answered(load, single),
                ground.pace,
                goal=4,
                note=f"decisions/s against single checks; {beside}; {machine}",
            ),
        ]


def check_body(one: Fact) -> str:
    """The body of a check."""
    return msgspec.json.encode({"tuple_key": one}).decode()


def batch_body(some: list[Fact]) -> str:
    """The body of a batch."""
    checks = [{"tuple_key": one, "correlation_id": str(number)} for number, one in enumerate(some)]
    return msgspec.json.encode({"checks": checks}).decode()


def answered(load: Generator, what: Load, decisions: int = 1) -> Side:
    """Decisions a second. The answers are those that the corpus promises."""

    async def side(seconds: float) -> float:
        done = await load.run(msgspec.structs.replace(what, seconds=seconds))
        _expect(done, decisions)
        return done.answers * decisions / done.seconds

    return side


def _expect(done: Done, decisions: int) -> None:
    """Questions go round in their order, so that the share of those allowed is off by no more than what is under way."""
    wanted = done.answers * decisions / ALLOWED_ONE_IN
    if abs(done.allowed - wanted) > CONNECTIONS * decisions:
        raise AssertionError(f"{done.allowed} of {done.answers * decisions} were allowed")


@asynccontextmanager
async def bare(corpus: Corpus, authorization: str) -> AsyncIterator[int]:
    """The ceiling's process, for the block; its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.bare", str(port), str(corpus.tuples)), stdin=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdin is not None
        process.stdin.write(f"{authorization}\n".encode())
        await until(lambda: httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}"), "/")
        yield port
    finally:
        process.terminate()
        await process.wait()


async def until(client: Callable[[], httpx2.AsyncClient], path: str) -> None:
    """Wait until somebody answers there, whatever they say."""
    async with client() as asking, asyncio.timeout(60):
        while True:
            try:
                await asking.post(path, content=b"{}")
            except httpx2.ConnectError:
                await asyncio.sleep(0.05)
            else:
                return
