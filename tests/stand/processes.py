"""Servers in processes of their own, as `tenantry serve` runs them."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import msgspec

from tenantry.app.config import Config, HttpConfig, to_toml


class ServerProcess(msgspec.Struct, frozen=True, eq=False):
    """A server that answers, and a client of it."""

    process: asyncio.subprocess.Process
    client: httpx2.AsyncClient

    def stop(self) -> None:
        """SIGSTOP."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def server_process(config: Config, folder: Path) -> AsyncIterator[ServerProcess]:
    """A server for the block; `folder` holds its configuration and what it logs."""
    path = folder / "tenantry.toml"
    path.write_text(to_toml(msgspec.structs.replace(config, http=HttpConfig(listen="127.0.0.1:0"))), encoding="utf-8")
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tenantry.cli", "serve", "--config", str(path), "--json"),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)},
        )
    assert process.stdout is not None
    try:
        said = msgspec.json.decode(await process.stdout.readline(), type=dict[str, object])
        address = msgspec.convert(said["listening"], list[str])[0]
        async with httpx2.AsyncClient(base_url=address, timeout=10) as client:
            yield ServerProcess(process, client)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
