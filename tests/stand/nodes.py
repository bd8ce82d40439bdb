"""Deployments for tests: a configuration with everything set up, nodes in this process, and nodes in processes of their own."""

import base64
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from tenantry.app.config import Config, DatabaseConfig, RootKeyConfig
from tenantry.app.node import ROOMS, Node, open_node
from tenantry.app.setup import set_up
from tenantry.cli.demo import ledger
from tenantry.cli.demo.driver import NodeProcess, node_process
from tenantry.core.clock import Clock
from tenantry.keys.root import RootKey
from tenantry.store import Database

__all__ = ["ALL_ROOMS", "NodeProcess", "configured", "deployed", "looked", "node_of", "node_process"]

os.environ.setdefault("TENANTRY_ROOT_KEY", base64.urlsafe_b64encode(bytes(range(32))).decode().rstrip("="))

ALL_ROOMS = (*ROOMS, ledger.SCHEMA)


def configured(
    database: Database, state: Path, *, issuer: str = "https://id.example.com", development: bool = True
) -> Config:
    """A configuration for a database; nothing is made yet. All nodes of a run share one root key, in the environment."""
    given = DatabaseConfig(file=str(database.file)) if database.file else DatabaseConfig()
    if database.urls is not None:
        urls = database.urls
        given = DatabaseConfig(app=urls.app, follower=urls.follower, worker=urls.worker, migrator=database.migrator_url)
    return Config(
        issuer=issuer,
        state=str(state),
        database=given,
        root_key=RootKeyConfig(environment=True),
        development=development,
    )


async def deployed(database: Database, state: Path, **options: Any) -> Config:
    """A configuration whose database is set up and whose state directory has joined it."""
    config = configured(database, state, **options)
    await set_up(config, rooms=ALL_ROOMS)
    return config


def node_of(
    config: Config,
    *,
    clock: Clock | None = None,
    root: RootKey | None = None,
    on_open: Callable[[Node], None] | None = None,
) -> AbstractAsyncContextManager[Node]:
    """A node in this process, with the ledger and its deriver."""
    return open_node(
        config, rooms=ALL_ROOMS, derivers=lambda *_: (ledger.Balances(),), clock=clock, root=root, on_open=on_open
    )


async def looked(node: Node) -> None:
    """Wait until the node has read the changelog at the time that its clock shows now."""
    looks = node.following.looks
    while node.following.looks < looks + 2:
        await node.engine.changed(0.02)
