"""An attacker who has the database itself: SQL past every fence, as a superuser or on the file."""

import sqlite3

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tenantry.app.config import Config


def tamper(config: Config, *statements: str) -> None:
    """Run statements on a deployment's database as whoever holds the machine could, in one transaction."""
    if config.database.file:
        connection = sqlite3.connect(config.database.file, timeout=5)
        with connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()
        return
    given = {**conninfo_to_dict(config.database.migrator), "user": "postgres"}
    with psycopg.connect(make_conninfo("", **given)) as connection:
        connection.execute("SET search_path = tenantry")
        for statement in statements:
            connection.execute(statement.encode())
