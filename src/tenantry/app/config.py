"""The configuration: one TOML file, each value overridable by an environment variable, unknown keys refused.

`database.app` may be given as `TENANTRY_DATABASE_APP`. A missing setting never turns a check off: what has no safe default is asked for.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tenantry.core.errors import Invalid
from tenantry.store import Database, PostgresUrls


class DatabaseConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the data lies: either `file`, or the connection strings of PostgreSQL's roles."""

    file: str = ""
    """The SQLite file. One process owns it; it must lie on a local disk."""

    app: str = ""
    """Connection string of the role that serves requests. It owns nothing and bypasses no row security."""

    follower: str = ""
    """Connection string of the role that reads changelog, leaves, heads and cuts, and nothing else."""

    worker: str = ""
    """Connection string of the role that runs duties: sequencing, deriving, delivery."""

    migrator: str = ""
    """Connection string of the role that owns the tables. Used by `tenantry init` alone; a server may go without."""

    def __repr__(self) -> str:
        return f"DatabaseConfig({self.file!r})" if self.file else "DatabaseConfig('…')"


class TokenConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The root key in a PKCS #11 token instead; all four are needed."""

    module: str = ""
    """The PKCS #11 library of the token's maker."""

    token: str = ""
    """The token's label."""

    key: str = ""
    """The key's label."""

    pin_file: str = ""
    """The file that holds the user PIN, of mode 0600."""


class RootKeyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the root key is: in a file, in the variable `TENANTRY_ROOT_KEY`, or in a token."""

    file: str = ""
    """The file that holds it, of mode 0600."""

    environment: bool = False
    """Whether it is in `TENANTRY_ROOT_KEY` instead of a file."""

    pkcs11: TokenConfig = TokenConfig()
    """The token."""


class HttpConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the server is reached. Whatever ends TLS stands in front of it."""

    listen: str = "127.0.0.1:8080"
    """The address and port to listen on, such as `0.0.0.0:8080` or `[::1]:8080`; port 0 takes a free one."""

    inside: str = ""
    """A second address and port, for operators alone: `/metrics` is answered there, and on the socket beside a SQLite file."""

    proxies: list[str] = []
    """The networks of the proxies in front, such as `["10.0.0.0/8"]`: from these alone `X-Forwarded-For` is believed."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a node must be told."""

    issuer: str
    """The https address by which everybody knows this deployment."""

    state: str
    """A directory of this node's own, outside the database and its backups: it holds the mark and the destruction list."""

    database: DatabaseConfig
    """Where the data lies."""

    root_key: RootKeyConfig = RootKeyConfig()
    """Where the root key is."""

    http: HttpConfig = HttpConfig()
    """How the server is reached."""

    development: bool = False
    """Admit an http issuer on loopback, and a PostgreSQL that may lose what it acknowledged. Nothing else is relaxed."""

    def __post_init__(self) -> None:
        address = urlsplit(self.issuer)
        loopback = address.hostname in ("127.0.0.1", "localhost", "::1")
        if address.scheme != "https" and not (self.development and loopback and address.scheme == "http"):
            raise ValueError("issuer must be an https address (http only on loopback, in development)")
        if not address.hostname or address.query or address.fragment or self.issuer.endswith("/"):
            raise ValueError("issuer must be an address without query, fragment or final slash")

    def where(self) -> Database:
        """The database as the store wants it.

        Raises:
            Invalid: neither a file nor all three connection strings are given, or both are, or one is malformed or names no role.
        """
        given = self.database
        roles = (given.app, given.follower, given.worker)
        if given.file and not any(roles):
            return Database(file=Path(given.file))
        if all(roles) and not given.file:
            return Database(urls=PostgresUrls(*roles), migrator_url=given.migrator)
        raise Invalid(
            "The configuration must name one database.",
            hint="Give database.file, or database.app, .follower and .worker.",
        )


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration.

    Raises:
        Invalid: no such file, no TOML, an unknown key, a wrong type or value; the sentence names which.
    """
    try:
        given: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Invalid(
            f"There is no configuration at {path}.", hint="Run `tenantry init`, or name it with --config."
        ) from error
    except RecursionError as error:
        raise Invalid(f"{path} is nested too deeply.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise Invalid(f"{path} cannot be read: {error}.") from error
    try:
        return msgspec.convert(_overridden(given, Config, "TENANTRY", environment), Config)
    except msgspec.ValidationError as error:
        raise Invalid(f"{path}: {error}.", hint="See the reference of the configuration.") from error


def to_toml(config: Config) -> str:
    """The configuration as its file, without what has its default value."""
    return "\n".join(_table(msgspec.to_builtins(config), "")) + "\n"


def _table(given: dict[str, Any], path: str) -> list[str]:
    lines = [f"{name} = {_spelled(value)}" for name, value in given.items() if value and not isinstance(value, dict)]
    if path and lines:
        lines = ["", f"[{path}]", *lines]
    for name, value in given.items():
        if isinstance(value, dict):
            lines += _table(value, f"{path}.{name}" if path else name)
    return lines


def _spelled(value: str | bool) -> str:
    """A value in TOML, whose basic strings have JSON's escapes, and DEL's besides."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _overridden(
    given: dict[str, Any], kind: type[msgspec.Struct], prefix: str, environment: Mapping[str, str]
) -> dict[str, Any]:
    """`given`, with what the environment says of each key."""
    for field in msgspec.structs.fields(kind):
        name = f"{prefix}_{field.name.upper()}"
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            table = given.get(field.name, {})
            if isinstance(table, dict):  # whatever else stands there is refused by its name later
                given[field.name] = _overridden(table, field.type, name, environment)
        elif field.type is str and name in environment:
            given[field.name] = environment[name]
    return given
