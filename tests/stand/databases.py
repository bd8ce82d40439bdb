"""Databases for tests and benchmarks: a file, or one of a throwaway PostgreSQL cluster with the four roles as `init` makes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from tenantry.cli.demo.cluster import Cluster
from tenantry.store import Database, PostgresUrls

ROLES = ("migrator", "app", "follower", "worker")


def sqlite_database(folder: Path) -> Database:
    """A file that `prepare` will make."""
    return Database(file=folder / "tenantry.db")


def postgres_database(cluster: Cluster, name: str, template: str = "template1") -> Database:
    """A fresh database of the cluster, owned by the migrator; the server's roles own nothing and bypass nothing."""
    database, copied = sql.Identifier(name), sql.Identifier(template)
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        known = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles").fetchall()}
        for role in ROLES:
            if f"tenantry_{role}" not in known:
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(f"tenantry_{role}")))
                connection.execute(
                    sql.SQL("ALTER ROLE {} SET search_path = tenantry, pg_temp").format(
                        sql.Identifier(f"tenantry_{role}")
                    )
                )
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER tenantry_migrator").format(database, copied))
        connection.execute(sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(database))
    urls = {role: cluster.conninfo(database=name, user=f"tenantry_{role}") for role in ROLES}
    return Database(
        urls=PostgresUrls(app=urls["app"], follower=urls["follower"], worker=urls["worker"]),
        migrator_url=urls["migrator"],
    )


@contextmanager
def as_superuser(cluster: Cluster, name: str) -> Iterator[psycopg.Connection]:
    """Whoever owns the cluster, in a deployment's schema."""
    with psycopg.connect(cluster.conninfo(name), autocommit=True) as connection:
        connection.execute("SET search_path = tenantry")
        yield connection
