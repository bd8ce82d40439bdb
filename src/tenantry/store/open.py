"""Opening a database: the one place that decides which engine, checks the set-up and refuses what would void a promise."""

from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict

from tenantry.core.clock import Clock
from tenantry.core.errors import Invalid, Unavailable, Unsafe
from tenantry.core.limits import CLOCK_SKEW_MS
from tenantry.store.engine import Engine, Survey
from tenantry.store.migrate import migrate_postgres, migrate_sqlite, refuse_other_version
from tenantry.store.postgres import PostgresEngine, PostgresUrls
from tenantry.store.schema import Schema
from tenantry.store.sqlite import SqliteEngine, connect, take

_VERSIONS = "SELECT room, number, phase FROM schema_versions"
VERSIONS = Survey("versions", _VERSIONS, role="app")


class Database(msgspec.Struct, frozen=True):
    """Where the data lies: a file, or PostgreSQL by three URLs (and the migrator's, which only `prepare` uses).

    Its `repr` masks the URLs, which hold passwords. Raises `Invalid` for one that is malformed or names no role.
    """

    file: Path | None = None
    urls: PostgresUrls | None = None
    migrator_url: str = ""

    def __post_init__(self) -> None:
        if (self.file is None) == (self.urls is None):
            raise Unsafe(
                "Name exactly one database: a file, or PostgreSQL.", hint="See the reference of the configuration."
            )
        self.roles()

    def roles(self) -> dict[str, str]:
        """The name of each role that a URL is given for."""
        urls = msgspec.structs.asdict(self.urls) if self.urls is not None else {}
        if self.migrator_url:
            urls["migrator"] = self.migrator_url
        return {name: _role(name, url) for name, url in urls.items()}

    def __repr__(self) -> str:
        return f"Database({self.file!r}, {self.urls!r}, {'…' if self.migrator_url else ''!r})"


async def prepare(database: Database, schemas: Iterable[Schema], *, phase: str = "expand") -> list[str]:
    """Create or migrate the database; returns the titles of the migrations that ran.

    Raises:
        Unsafe: the file is in use by a server.
        Unavailable: PostgreSQL cannot be reached, or a lock was not to be had.
    """
    if database.file is not None:
        with take(database.file):
            database.file.touch(mode=0o600)
            connection = connect(database.file)
            try:
                return migrate_sqlite(connection, schemas, phase)
            finally:
                connection.close()
    assert database.urls is not None
    roles = database.roles()
    try:
        connection = await psycopg.AsyncConnection.connect(database.migrator_url, autocommit=True)
    except psycopg.OperationalError as error:
        raise Unavailable(
            "The database cannot be reached as the migrator.", hint="Check its address, role and password."
        ) from error
    async with connection:
        return await migrate_postgres(
            connection, schemas, app=roles["app"], follower=roles["follower"], worker=roles["worker"], phase=phase
        )


async def open_store(
    database: Database,
    schemas: Iterable[Schema],
    clock: Clock,
    *,
    development: bool = False,
    on_broken: Callable[[], None],
) -> Engine:
    """Open a prepared database.

    `development` admits a PostgreSQL that may lose what it acknowledged; nothing else is relaxed. `on_broken` is called once when
    the storage failed in a way that the process must not survive.

    Raises:
        Unsafe: the database is of another version, could bypass row security, is not durable, or is held by another process.
        Unavailable: it cannot be reached, or its clock is more than `CLOCK_SKEW_MS` from ours.
    """
    if database.file is not None:
        if not database.file.exists():
            raise Unsafe(f"There is no database at {database.file}.", hint="Run `tenantry init` first.")
        engine: Engine = SqliteEngine(database.file, clock, on_broken=on_broken)
    else:
        assert database.urls is not None
        engine = PostgresEngine(database.urls)
    async with AsyncExitStack() as opened:
        opened.push_async_callback(engine.close)
        if isinstance(engine, PostgresEngine):
            await engine.open(development=development)
        refuse_other_version(schemas, {(room, number, phase) for room, number, phase in await engine.survey(VERSIONS)})
        await _refuse_other_time(engine, clock)
        opened.pop_all()
    return engine


def _role(name: str, url: str) -> str:
    try:
        role = conninfo_to_dict(url).get("user")
    except psycopg.ProgrammingError:
        role = None  # what the driver says of it may quote the password, so neither sentence nor trace repeats it
    if not role:
        raise Invalid(
            f"database.{name} is no connection string that names a role.",
            hint="postgresql://ROLE:PASSWORD@HOST/DATABASE",
        )
    return str(role)


async def _refuse_other_time(engine: Engine, clock: Clock) -> None:
    apart = abs(await engine.db_time_ms() - clock.now_ms())
    if apart > CLOCK_SKEW_MS:
        raise Unavailable(
            f"This node's clock is {apart / 1000:.1f} s from the database's.",
            hint="Set the clocks right: at most 5 s may lie between.",
        )
