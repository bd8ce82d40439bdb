"""Migrations: plain SQL of the rooms, run in order by one migrator, each in a transaction of its own, resumable.

`expand` steps keep the previous server working and run first; `contract` steps run when asked for, a release later, and never before
all expand steps. On PostgreSQL no step holds traffic up for more than `STEP_MS`. A server
refuses a database that lacks a step it knows, and one that was contracted by a version it does not know.
"""

import sqlite3
import time
from collections.abc import Iterable

import psycopg
from psycopg import AsyncConnection

from tenantry.core.errors import Unavailable, Unsafe
from tenantry.store import fence
from tenantry.store.schema import Migration, Schema

_VERSIONS = """CREATE TABLE IF NOT EXISTS schema_versions (
    room text NOT NULL, number {int} NOT NULL, phase text NOT NULL, PRIMARY KEY (room, number))"""
_ADVISORY = 7_356_428_311
"""The number of the lock that lets one migrator in; any constant will do."""

STEP_MS = 2_000
"""How long one step may take, waiting for its locks included: whoever needs the table waits behind it."""

Done = set[tuple[str, int, str]]


def migrate_sqlite(connection: sqlite3.Connection, schemas: Iterable[Schema], phase: str = "expand") -> list[str]:
    """Bring a database file to the declared schema; returns the titles of what was run.

    Raises:
        Unsafe: to contract was asked for, and an expand step is missing.
    """
    schemas = list(schemas)
    connection.execute(_VERSIONS.replace("{int}", "INTEGER"))
    ran: list[str] = []
    done: Done = set(connection.execute("SELECT room, number, phase FROM schema_versions"))
    for room, migration in _missing(schemas, done, phase):
        connection.execute("BEGIN IMMEDIATE")
        for statement in migration.statements("sqlite"):
            connection.execute(statement)
        connection.execute("INSERT INTO schema_versions VALUES (?, ?, ?)", (room, migration.number, migration.phase))
        connection.execute("COMMIT")
        ran.append(f"{room} {migration.number}: {migration.title}")
    return ran


async def migrate_postgres(
    connection: AsyncConnection,
    schemas: Iterable[Schema],
    *,
    app: str,
    follower: str,
    worker: str,
    phase: str = "expand",
) -> list[str]:
    """Bring a database to the declared schema, grants and policies, as the migrator, on an autocommit connection.

    Traffic goes on: a step that does not get its locks and end within `STEP_MS` is undone, and tried again by the next run.

    Raises:
        Unsafe: to contract was asked for, and an expand step is missing.
        Unavailable: another migrates, or a step was not done in time; the steps before it stand.
    """
    schemas = list(schemas)
    await connection.execute(f"SET lock_timeout = {STEP_MS}".encode())
    await _alone(connection)
    try:
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {fence.SCHEMA}")
        await connection.execute(f"SET search_path = {fence.SCHEMA}")
        await connection.execute(_VERSIONS.replace("{int}", "bigint").encode())
        ran: list[str] = []
        done = await _done(connection)
        for room, migration in _missing(schemas, done, phase):
            async with connection.transaction():
                until = time.monotonic() + STEP_MS / 1000
                for statement in migration.statements("postgres"):
                    left_ms = max(1, round((until - time.monotonic()) * 1000))
                    await connection.execute(f"SET LOCAL statement_timeout = {left_ms}".encode())
                    await connection.execute(statement.encode())
                await connection.execute(
                    "INSERT INTO schema_versions VALUES (%s, %s, %s)", (room, migration.number, migration.phase)
                )
            ran.append(f"{room} {migration.number}: {migration.title}")
        async with connection.transaction():
            for statement in fence.statements(schemas, app, follower, worker):
                await connection.execute(statement.encode())
    except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
        raise Unavailable(
            f"A migration did not get its locks and end within {STEP_MS // 1000} s.",
            hint="Run it again when there is less traffic; what was done stands.",
        ) from error
    finally:
        await connection.execute("SELECT pg_advisory_unlock(%s)", (_ADVISORY,))
    return ran


async def _alone(connection: AsyncConnection) -> None:
    try:
        await connection.execute("SELECT pg_advisory_lock(%s)", (_ADVISORY,))
    except psycopg.errors.LockNotAvailable as error:
        raise Unavailable(
            "Another session is migrating, or holds the lock for it.",
            hint="Run it again. If it stays so: SELECT pid FROM pg_locks WHERE locktype = 'advisory' tells whose it is.",
        ) from error


def refuse_other_version(schemas: Iterable[Schema], done: Done) -> None:
    """Refuse a database that this version of the server cannot serve.

    Raises:
        Unsafe: an expand step is missing, or a contract step ran that this version does not know.
    """
    schemas = list(schemas)
    known = {(s.room, m.number, m.phase) for s in schemas for m in s.migrations}
    if missing := _unexpanded(schemas, done):
        raise Unsafe(
            f"The database is older than this server: it lacks {', '.join(missing)}.",
            hint="Run `tenantry init` to bring it up.",
        )
    beyond = sorted(f"{room} {number}" for room, number, phase in done - known if phase == "contract")
    if beyond:
        raise Unsafe(
            f"The database was contracted by a newer server ({', '.join(beyond)}).",
            hint="Start that version or a newer one.",
        )


async def _done(connection: AsyncConnection) -> Done:
    return set(await (await connection.execute("SELECT room, number, phase FROM schema_versions")).fetchall())


def _missing(schemas: Iterable[Schema], done: Done, phase: str) -> list[tuple[str, Migration]]:
    """The steps of a phase that have not run, in order.

    Raises:
        Unsafe: it is to contract, and not everything is expanded.
    """
    schemas = list(schemas)
    if phase == "contract" and (unexpanded := _unexpanded(schemas, done)):
        raise Unsafe(
            f"Contracting comes after expanding, and {', '.join(unexpanded)} did not run yet.",
            hint="Run `tenantry init`, replace every server, then contract.",
        )
    return [
        (s.room, m)
        for s in schemas
        for m in s.migrations
        if m.phase == phase and (s.room, m.number, m.phase) not in done
    ]


def _unexpanded(schemas: Iterable[Schema], done: Done) -> list[str]:
    return sorted(
        f"{s.room} {m.number}"
        for s in schemas
        for m in s.migrations
        if m.phase == "expand" and (s.room, m.number, m.phase) not in done
    )
