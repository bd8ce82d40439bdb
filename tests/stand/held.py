"""Somebody else's transaction in the way of write sets."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import psycopg

from tenantry.app.config import Config
from tests.stand.organizations import Organization


@asynccontextmanager
async def writes_held(config: Config, organization: Organization) -> AsyncIterator[None]:
    """Somebody else holds what every write set of the organization needs."""
    if config.database.file:
        with closing(sqlite3.connect(config.database.file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
    else:
        async with await psycopg.AsyncConnection.connect(config.database.app) as other:
            await other.execute("SELECT set_config('tenantry.org', %s, true)", (organization.id,))
            await other.execute("SELECT 1 FROM heads WHERE org = %s FOR NO KEY UPDATE", (organization.id,))
            yield
