"""PostgreSQL's four roles: named after the database, made once by whoever may make roles, each with a password of its own.

    plan = await plan_roles("postgresql://postgres@db.example/tenantry")   # refuses a database that has them already
    await make_roles(url, plan)                                            # makes what is missing; again changes nothing

The server itself needs neither: `fence` holds the roles to what they may do.
"""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tenantry.core.errors import AlreadyDone, Denied, Invalid, Unavailable
from tenantry.store.fence import SCHEMA
from tenantry.store.postgres import PostgresUrls

NAMES = ("app", "follower", "worker", "migrator")
NAME_MAX_BYTES = 63
"""PostgreSQL cuts longer names, with no more than a notice."""


class RolesExist(AlreadyDone):
    """The cluster has roles of these names, whose passwords nobody here knows."""

    code = "roles_exist"


class Roles(msgspec.Struct, frozen=True):
    """The connection strings of all four roles. Its `repr` is a mask: they hold passwords."""

    urls: PostgresUrls
    migrator_url: str

    def __repr__(self) -> str:
        return "Roles('…')"

    def each(self) -> tuple[str, ...]:
        """Every connection string."""
        return (self.urls.app, self.urls.follower, self.urls.worker, self.migrator_url)


async def plan_roles(url: str) -> Roles:
    """Names and fresh passwords for the roles of the database that `url` leads to. Makes nothing.

    Raises:
        Invalid: the database's name leaves no room for a role's.
        RolesExist: there are roles of these names, so another deployment uses this database.
        Unavailable: it cannot be reached.
    """
    async with _as_maker(url) as connection:
        database = connection.info.dbname
        planned = {name: f"{database}_{name}" for name in NAMES}
        taken = sorted(await _known(connection) & set(planned.values()))
    if any(len(user.encode()) > NAME_MAX_BYTES for user in planned.values()):
        raise Invalid(
            "The roles are named after the database, whose name is too long for that.",
            hint=f"At most {NAME_MAX_BYTES - max(len(f'_{name}') for name in NAMES)} bytes.",
        )
    if taken:
        raise RolesExist(
            f"The cluster has the roles {', '.join(taken)} already.",
            hint="Name that deployment's configuration with --config, or use a database of another name.",
        )
    made = {
        name: make_conninfo(url, dbname=database, user=user, password=secrets.token_urlsafe(32))
        for name, user in planned.items()
    }
    return Roles(PostgresUrls(made["app"], made["follower"], made["worker"]), made["migrator"])


async def make_roles(url: str, roles: Roles) -> list[str]:
    """Make the roles that are missing, as the role of `url`; returns their names. What they need of the database is set anew.

    Raises:
        AlreadyDone: `url` leads to another database than theirs.
        Denied: this role may not make roles, or not let one create a schema in the database.
        Unavailable: the database cannot be reached.
    """
    async with _as_maker(url) as connection:
        given = conninfo_to_dict(roles.migrator_url)
        theirs = str(given.get("dbname", given["user"]))  # libpq's rule
        if connection.info.dbname != theirs:
            raise AlreadyDone(
                f"The roles are of the database {theirs}, not of {connection.info.dbname}.",
                hint="Give the connection string of that one, or name another configuration.",
            )
        known = await _known(connection)
        database, made = sql.Identifier(connection.info.dbname), list[str]()
        try:
            async with connection.transaction():
                for given in map(conninfo_to_dict, roles.each()):
                    user = str(given["user"])
                    role = sql.Identifier(user)
                    if user not in known:
                        verifier = _verifier(connection, user, str(given["password"]))
                        await connection.execute(
                            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(verifier))
                        )
                        made.append(user)
                    # A session's temporary tables come last: one called `cuts` must not be taken for the deployment's.
                    await connection.execute(
                        sql.SQL("ALTER ROLE {} IN DATABASE {} SET search_path = {}, pg_temp").format(
                            role, database, sql.Identifier(SCHEMA)
                        )
                    )
                await connection.execute(sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(database))
                migrator = sql.Identifier(str(conninfo_to_dict(roles.migrator_url)["user"]))
                await connection.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(database, migrator))
        except psycopg.errors.InsufficientPrivilege as error:
            raise Denied(
                f"{connection.info.user} may not make roles in this database.",
                hint="Connect as a superuser, or as a role with CREATEROLE that owns the database.",
            ) from error
    return made


def _verifier(connection: AsyncConnection, user: str, password: str) -> str:
    """What the server keeps of a password (SCRAM, RFC 5803), made here: a statement may end in the server's log, the password must not."""
    return connection.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256").decode()


@asynccontextmanager
async def _as_maker(url: str) -> AsyncIterator[AsyncConnection]:
    try:
        connection = await AsyncConnection.connect(url, autocommit=True, connect_timeout=10)
    except psycopg.ProgrammingError:  # it may quote the password
        raise Invalid("This is no connection string of PostgreSQL.", hint="postgresql://USER@HOST/DATABASE") from None
    except psycopg.OperationalError as error:
        raise Unavailable(
            "The database cannot be reached.",
            hint="Check address, role and password, and that the database exists (CREATE DATABASE tenantry).",
        ) from error
    async with connection:
        yield connection


async def _known(connection: AsyncConnection) -> set[str]:
    return {row[0] for row in await (await connection.execute("SELECT rolname::text FROM pg_roles")).fetchall()}
