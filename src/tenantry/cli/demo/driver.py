"""Drives nodes that are processes of their own; see `tenantry.cli.demo.process` for what they can be told."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from tenantry.app.config import Config, to_toml


class NodeProcess:
    """A node in a process of its own. The reading task owns the answers that are waited for."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._next = 0
        self._reading = asyncio.create_task(self._read())
        self.ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[0] = self.ready

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    async def do(self, what: str, **args: Any) -> dict[str, Any]:
        """Tell it to do something and wait for the answer.

        Raises:
            ConnectionError: the process ended before it answered; what it was doing is unknown.
        """
        if self._reading.done():
            raise ConnectionError("the process ended")
        self._next += 1
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[self._next] = future
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode({"n": self._next, "do": what, **args}) + b"\n")
        return await future

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal: SIGSTOP, SIGCONT, SIGKILL."""
        os.kill(self.pid, number)

    async def ended(self) -> int:
        """Wait for its end; the exit status."""
        return await self._process.wait()

    async def close(self) -> int:
        """Let it finish what it was told, then end."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        status = await self._process.wait()
        await self._reading
        return status

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            answer = msgspec.json.decode(line, type=dict[str, Any])
            future = self._waiting.pop(answer["n"])
            if not future.done():
                future.set_result(answer)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionError("the process ended"))
                future.exception()


@asynccontextmanager
async def node_process(
    config: Config, folder: Path, *, env: Mapping[str, str] | None = None
) -> AsyncIterator[NodeProcess]:
    """A node in a process of its own, killed at the end of the block if it still runs. `folder` holds its configuration."""
    path = folder / "tenantry.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tenantry.cli.demo.process",
        str(path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
        start_new_session=True,  # Ctrl-C at the terminal is for whoever made it; at the end of its input it ends by itself
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **(env or {})},
    )
    node = NodeProcess(process)
    try:
        yield node
    finally:
        if process.returncode is None:
            process.kill()
        await node.close()
