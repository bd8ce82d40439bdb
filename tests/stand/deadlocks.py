"""How often PostgreSQL had to settle a deadlock. Nodes try again after one, so that nothing else would tell."""

import time

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tenantry.app.config import Config

_GONE_WITHIN_S = 10.0


def deadlocks(config: Config) -> int:
    """The deadlocks of a deployment's database. Call it when its nodes are closed: a connection tells at its end what it met."""
    if config.database.file:
        return 0  # one thread writes
    given = conninfo_to_dict(config.database.migrator)
    database = given["dbname"]
    with psycopg.connect(
        make_conninfo("", **{**given, "user": "postgres", "dbname": "postgres"}), autocommit=True
    ) as c:
        until = time.monotonic() + _GONE_WITHIN_S
        while c.execute("SELECT 1 FROM pg_stat_activity WHERE datname = %s", (database,)).fetchone():
            assert time.monotonic() < until, f"connections to {database} are left"
        row = c.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = %s", (database,)).fetchone()
    assert row is not None
    return row[0]
