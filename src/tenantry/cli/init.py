"""`tenantry init`: from nothing to a deployment that a node can open. Each part is made once; what is there is left alone."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape

from tenantry.app.config import Config, DatabaseConfig, RootKeyConfig, load, to_toml
from tenantry.app.enrollment import FILE
from tenantry.app.root import root_key
from tenantry.app.setup import set_up
from tenantry.cli.output import DEFAULT_CONFIG, AsJson, ConfigPath, answer, called
from tenantry.core.errors import AlreadyDone, Invalid
from tenantry.keys.root import ENVIRONMENT, generate
from tenantry.store import PostgresUrls, Roles, make_roles, plan_roles

_Issuer = Annotated[str, Parameter(help="The https address by which everybody will know this deployment.")]
_DatabaseFile = Annotated[
    Path | None, Parameter(help="The SQLite file. Unless told, `tenantry.db` beside the configuration.")
]
_Postgres = Annotated[
    str,
    Parameter(
        help="Use PostgreSQL instead: the connection string of an existing database, as a role that may make roles. "
        "It is used now and not kept."
    ),
]
_State = Annotated[
    Path | None,
    Parameter(help="This node's own directory, outside every backup. Unless told, `state` beside the configuration."),
]
_Development = Annotated[
    bool, Parameter(negative="", help="Admit an http issuer on loopback and a database that is not durable.")
]
_Contract = Annotated[
    bool,
    Parameter(
        negative="",
        help="Remove from the database what only the previous version needed, once every server runs this one: "
        "servers of the previous version refuse it from then on.",
    ),
]


class Made(msgspec.Struct, frozen=True):
    """One thing that was not there before."""

    what: str
    name: str


class Initialized(msgspec.Struct, frozen=True):
    """What was made; nothing, where everything was there."""

    config: str
    issuer: str
    made: list[Made]


class _Asked(msgspec.Struct, frozen=True):
    """What the options say of the deployment; empty where they leave it to the configuration."""

    issuer: str
    file: str
    postgres: str
    state: str
    development: bool


def init(
    *,
    issuer: _Issuer = "",
    database: _DatabaseFile = None,
    postgres: _Postgres = "",
    state: _State = None,
    development: _Development = False,
    contract: _Contract = False,
    config: ConfigPath = DEFAULT_CONFIG,
    json: AsJson = False,
) -> None:
    """Set up a deployment: configuration, root key, database, and this node's place in it.

    Run again, it makes what is missing, such as a migration of a newer version, and changes nothing else.
    """
    file, folder = (str(path.absolute()) if path else "" for path in (database, state))
    asked = _Asked(issuer, file, postgres, folder, development)
    if file and postgres:
        raise Invalid("A deployment has one database.", hint="Give --database or --postgres.")
    if contract and not config.exists():
        raise Invalid(f"There is no {config}, so nothing to contract.")
    made = [] if config.exists() else _begin(config, asked)
    given = load(config)
    _refuse_another(asked, given)
    asyncio.run(root_key(given))  # refuses one that others may read
    if given.database.file:
        Path(given.database.file).parent.mkdir(parents=True, exist_ok=True)
    made += asyncio.run(_set_up(given, postgres, contract=contract))
    done = Initialized(str(config), given.issuer, made)
    answer(done, lambda console: _draw(console, done), as_json=json)


def _begin(config: Path, asked: _Asked) -> list[Made]:
    """Root key and configuration of a new deployment."""
    if not asked.issuer:
        raise Invalid("A new deployment needs its address.", hint="Add --issuer https://id.example.com.")
    folder = config.absolute().parent
    where = DatabaseConfig(file=asked.file or str(folder / "tenantry.db"))
    if asked.postgres:
        where = asyncio.run(_on_postgres(asked.postgres))
    fresh = _configuration(folder, asked, where)
    return _root_key(fresh) + _write(config, fresh)


async def _on_postgres(url: str) -> DatabaseConfig:
    """The roles that will be made, with their passwords; makes nothing."""
    roles = await plan_roles(url)
    urls = roles.urls
    return DatabaseConfig(app=urls.app, follower=urls.follower, worker=urls.worker, migrator=roles.migrator_url)


def _configuration(folder: Path, asked: _Asked, database: DatabaseConfig) -> Config:
    """The configuration of a new deployment; makes nothing."""
    in_environment = ENVIRONMENT in os.environ
    try:
        return Config(
            issuer=asked.issuer,
            state=asked.state or str(folder / "state"),
            database=database,
            root_key=RootKeyConfig(file="" if in_environment else str(folder / "root.key"), environment=in_environment),
            development=asked.development,
        )
    except ValueError as error:
        raise Invalid(f"{asked.issuer!r} cannot be used: {error}.") from error


def _root_key(config: Config) -> list[Made]:
    """The root key comes first: a configuration that names none would be of no use, a key without one does no harm."""
    path = Path(config.root_key.file)
    if config.root_key.environment or path.exists():
        return []
    path.parent.mkdir(parents=True, exist_ok=True)
    generate(path)
    return [Made("root key", str(path))]


def _write(path: Path, config: Config) -> list[Made]:
    """It holds passwords, and comes before the roles that have them, so that a crash between loses none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(to_toml(config))
        file.flush()
        os.fsync(file.fileno())
    return [Made("configuration", str(path))]


async def _set_up(config: Config, postgres: str, *, contract: bool) -> list[Made]:
    made: list[Made] = []
    given = config.database
    if postgres:
        if not given.migrator:
            raise AlreadyDone("The configuration names no migrator of PostgreSQL.", hint="Run without --postgres.")
        roles = Roles(PostgresUrls(given.app, given.follower, given.worker), given.migrator)
        made += [Made("role", name) for name in await make_roles(postgres, roles)]
    done = await set_up(config, contract=contract)
    made += [Made("migration", title) for title in done.migrations]
    if done.founded:
        made.append(Made("deployment", config.issuer))
    if done.joined:
        made.append(Made("state", config.state))
    if done.enrolled:
        made.append(Made("operator's key", str(Path(config.state) / FILE)))
    return made


def _refuse_another(asked: _Asked, given: Config) -> None:
    """Refuse options that the configuration contradicts: nothing would become of them.

    Not checked here: which database of PostgreSQL it is (`make_roles`).

    Raises:
        AlreadyDone: one does.
    """
    kind = given.database.file or "PostgreSQL"
    for what, wanted, configured in (
        ("issuer", asked.issuer, given.issuer),
        ("database", asked.file, kind),
        ("database", asked.postgres and "PostgreSQL", kind),
        ("state", asked.state, given.state),
        ("value of development", "true" if asked.development else "", str(given.development).lower()),
    ):
        if wanted and wanted != configured:
            raise AlreadyDone(
                f"This deployment is configured with another {what}: {configured}.",
                hint="Leave the option out, or name another configuration with --config.",
            )


def _draw(console: Console, done: Initialized) -> None:
    if not done.made:
        console.print(f"Nothing to do: {done.issuer} is set up ([bold]{escape(done.config)}[/]).")
        return
    for thing in done.made:
        console.print(f"  [green]made[/]  {thing.what:<14} {escape(thing.name)}", soft_wrap=True)
    console.print(
        f"\n[bold]{done.issuer}[/] is set up. Keep the root key in a backup of its own: without it, nothing sealed can be read."
    )
    console.print(f"Next: [bold]{escape(called())} doctor[/]", soft_wrap=True)
