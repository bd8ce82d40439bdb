"""What the tests of this room stand on: the access tokens of the run's node."""

import asyncio
from pathlib import Path

import pytest

from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.sessions.tokens import AccessTokens
from tests.stand.credentials import access_tokens
from tests.stand.databases import sqlite_database
from tests.stand.nodes import deployed


@pytest.fixture
def tokens(node: Node) -> AccessTokens:
    """What mints and verifies on the run's node."""
    return access_tokens(node)


@pytest.fixture
def alone(tmp_path: Path) -> Config:
    """A deployment on SQLite: a database with a clock of its own finds a node whose clock jumps by minutes not ready."""
    return asyncio.run(deployed(sqlite_database(tmp_path), tmp_path / "state"))
