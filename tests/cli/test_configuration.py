"""A configuration that is wrong is refused in a sentence, and no sentence, trace or `repr` tells a password."""

import traceback
from pathlib import Path

import msgspec
import pytest

from tenantry.app.config import Config, DatabaseConfig, RootKeyConfig, load, to_toml
from tenantry.core.errors import Invalid
from tenantry.store import Roles
from tests.cli.conftest import ISSUER, Shell

PASSWORD = "hunter2"
ADDRESS = f"postgresql://app:{PASSWORD}@127.0.0.1:1/db"
MALFORMED = [
    f"postgresql:/app:{PASSWORD}@127.0.0.1:1/db",
    f"postgresql://app:{PASSWORD}@[127.0.0.1/db",
    f"postgresql://app:{PASSWORD}@127.0.0.1:1/db?{PASSWORD}=1",
    f"host=127.0.0.1 port=1 user=app dbname=x {PASSWORD}",
    f"postgresql://:{PASSWORD}@127.0.0.1:1/db",
]
"""The last names no role."""


def written(folder: Path, url: str) -> str:
    """A configuration with this connection string; the root key is in the environment."""
    path = folder / "tenantry.toml"
    config = Config(ISSUER, str(folder / "state"), database(app=url), RootKeyConfig(environment=True))
    path.write_text(to_toml(config))
    return path.name


def database(**urls: str) -> DatabaseConfig:
    return DatabaseConfig(**{"app": ADDRESS, "follower": ADDRESS, "worker": ADDRESS, "migrator": ADDRESS, **urls})


@pytest.mark.parametrize("role", ["app", "follower", "worker", "migrator"])
@pytest.mark.parametrize("url", MALFORMED)
def test_a_malformed_connection_string_is_refused_by_its_name_without_its_password(role: str, url: str) -> None:
    sound = Config(issuer=ISSUER, state="state", database=database())
    assert sound.where().migrator_url == ADDRESS
    with pytest.raises(Invalid, match=f"database.{role} ") as refused:
        msgspec.structs.replace(sound, database=database(**{role: url})).where()
    assert PASSWORD not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("command", ["init", "doctor"])
@pytest.mark.parametrize("url", MALFORMED[:1])
def test_a_command_refuses_a_malformed_connection_string_without_a_trace(
    command: str, url: str, tenantry: Shell
) -> None:
    refused = tenantry(command, "--config", written(tenantry.folder, url), env={"TENANTRY_ROOT_KEY": "A" * 43})
    assert refused.status in (1, 2)
    assert "database.app" in refused.out + refused.err
    assert "Traceback" not in refused.err
    assert PASSWORD not in refused.out + refused.err


def test_a_malformed_address_given_to_init_is_refused_without_its_password(tenantry: Shell) -> None:
    refused = tenantry("init", "--issuer", ISSUER, "--postgres", MALFORMED[0])
    assert (refused.status, refused.out) == (2, "")
    assert "Traceback" not in refused.err
    assert PASSWORD not in refused.err


def test_a_connection_string_is_never_shown_by_a_repr() -> None:
    config = Config(issuer=ISSUER, state="state", database=database())
    where = config.where()
    assert where.urls is not None
    for shown in (config, where, where.urls, Roles(where.urls, where.migrator_url)):
        assert PASSWORD not in repr(shown)
        assert type(shown).__name__ in repr(shown)
    assert "tenantry.db" in repr(DatabaseConfig(file="tenantry.db"))


WRONG = ['root_key = "x"', "database = 1", 'root_key = {pkcs11 = "x"}', "a = " + "[" * 5_000, "issuer = {}"]


@pytest.mark.parametrize("text", WRONG)
def test_a_configuration_of_another_shape_is_refused_in_a_sentence(text: str, deployed: Shell) -> None:
    assert load(deployed.folder / "tenantry.toml").issuer == ISSUER
    name = text.partition(" ")[0]
    (deployed.folder / "tenantry.toml").write_text(f'{text}\nstate = "state"\n')
    refused = deployed("doctor")
    assert (refused.status, refused.out) == (2, "")
    assert "Traceback" not in refused.err
    assert name in refused.err or "deep" in refused.err
