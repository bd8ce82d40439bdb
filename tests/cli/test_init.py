"""`tenantry init` makes what is missing, once, and keeps what it makes to itself."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tenantry.cli.demo.cluster import Cluster
from tests.cli.conftest import ISSUER, Shell


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that holds something: neither the lock nor SQLite's index of its log, which it makes anew at will."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in files if not path.name.endswith((".lock", "-shm"))}


def test_a_new_deployment_needs_its_address(tenantry: Shell) -> None:
    refused = tenantry("init")
    assert (refused.status, refused.out) == (2, "")
    assert "invalid" in refused.err
    assert "--issuer" in refused.err
    assert list(tenantry.folder.iterdir()) == []


def test_an_address_without_tls_is_refused_and_nothing_is_made(tenantry: Shell) -> None:
    refused = tenantry("init", "--issuer", "http://id.example.com")
    assert refused.status == 2
    assert "https" in refused.err
    assert list(tenantry.folder.iterdir()) == []
    assert tenantry("init", "--issuer", ISSUER).status == 0


def test_sup_08_what_is_secret_is_random_and_readable_by_its_owner_alone(deployed: Shell, tmp_path: Path) -> None:
    """SUP-08: a fresh install makes a root key of its own, which nobody else on the machine can read."""
    modes = {path.name: path.stat().st_mode & 0o777 for path in deployed.folder.iterdir()}
    assert modes["tenantry.toml"] == modes["root.key"] == modes["tenantry.db"] == 0o600
    assert modes["state"] == 0o700
    another = Shell(tmp_path / "another")
    another.folder.mkdir()
    assert another("init", "--issuer", ISSUER).status == 0
    assert (another.folder / "root.key").read_bytes() != (deployed.folder / "root.key").read_bytes()


def test_a_second_init_changes_nothing_and_says_so(deployed: Shell) -> None:
    before = contents(deployed.folder)
    again = deployed("init")
    assert (again.status, again.answer["made"]) == (0, [])
    assert contents(deployed.folder) == before
    assert "Nothing to do" in deployed.on_terminal("init").out


def test_a_second_init_with_another_address_is_refused(deployed: Shell) -> None:
    assert deployed("init", "--issuer", ISSUER).status == 0
    refused = deployed("init", "--issuer", "https://other.example.com")
    assert (refused.status, refused.out) == (1, "")
    assert ISSUER in refused.err


@pytest.mark.parametrize(
    ("same", "other"),
    [
        (("--database", "tenantry.db"), ("--database", "other.db")),
        (("--state", "state"), ("--state", "elsewhere")),
        ((), ("--development",)),
        ((), ("--postgres", "postgresql://db.example/tenantry")),
    ],
)
def test_an_option_that_the_configuration_contradicts_is_refused(
    deployed: Shell, same: tuple[str, ...], other: tuple[str, ...]
) -> None:
    assert deployed("init", *same).answer["made"] == []
    before = contents(deployed.folder)
    refused = deployed("init", *other)
    assert (refused.status, "configured with another" in refused.err) == (1, True)
    assert contents(deployed.folder) == before


def test_a_lost_root_key_is_not_replaced(deployed: Shell) -> None:
    (deployed.folder / "root.key").unlink()
    refused = deployed("init")
    assert refused.status == 1
    assert "root.key" in refused.err
    assert not (deployed.folder / "root.key").exists()


def test_a_lost_database_is_not_replaced_by_an_empty_one(deployed: Shell) -> None:
    file = deployed.folder / "tenantry.db"
    backup = file.read_bytes()
    file.unlink()
    refused = deployed("init")
    assert refused.status == 1
    assert "backup" in refused.err
    file.write_bytes(backup)
    assert deployed("init").status == 0


def test_on_postgresql_four_roles_are_made_and_none_can_bypass_row_security(
    tenantry: Shell, empty_database: Callable[[], str]
) -> None:
    url = empty_database()
    made = tenantry("init", "--issuer", ISSUER, "--postgres", url, "--development").answer["made"]
    with psycopg.connect(url) as connection:
        name = connection.info.dbname
        rows = connection.execute(
            "SELECT rolname, rolsuper OR rolbypassrls OR rolcreaterole FROM pg_roles WHERE rolname LIKE %s ORDER BY 1",
            (f"{name}\\_%",),
        ).fetchall()
    assert rows == [(f"{name}_{role}", False) for role in ("app", "follower", "migrator", "worker")]
    assert [thing["name"] for thing in made if thing["what"] == "role"] == [
        f"{name}_{role}" for role in ("app", "follower", "worker", "migrator")
    ]
    assert tenantry("init").answer["made"] == []
    assert tenantry("init", "--postgres", url).answer["made"] == []


def test_another_database_of_postgresql_than_the_configured_one_is_refused(
    tenantry: Shell, empty_database: Callable[[], str]
) -> None:
    url, other = empty_database(), empty_database()
    assert tenantry("init", "--issuer", ISSUER, "--postgres", url, "--development").status == 0
    refused = tenantry("init", "--postgres", other)
    assert (refused.status, "not of" in refused.err) == (1, True)
    assert tenantry("init", "--database", "tenantry.db").status == 1
    assert tenantry("init", "--postgres", url, "--development").answer["made"] == []


@pytest.mark.parametrize("name", ["my-app", "Acme", 'qu"ote', "ärger", "x" * 54])
def test_a_database_may_have_any_name(tenantry: Shell, cluster: Cluster, name: str) -> None:
    cluster.create_database(name)
    url = make_conninfo(cluster.conninfo(), dbname=name)
    done = tenantry("init", "--issuer", ISSUER, "--postgres", url, "--development")
    assert done.status == 0
    assert {thing["name"] for thing in done.answer["made"]} >= {f"{name}_app", f"{name}_migrator"}
    assert tenantry("doctor").status == 0


def test_a_database_with_too_long_a_name_for_its_roles_is_refused_and_nothing_is_made(
    tenantry: Shell, cluster: Cluster
) -> None:
    cluster.create_database("x" * 55)
    url = cluster.conninfo("x" * 55)
    refused = tenantry("init", "--issuer", ISSUER, "--postgres", url, "--development")
    assert refused.status == 2
    assert "54 bytes" in refused.err
    assert list(tenantry.folder.iterdir()) == []


def test_a_database_of_another_deployment_is_refused(
    tenantry: Shell, empty_database: Callable[[], str], tmp_path: Path
) -> None:
    url = empty_database()
    assert tenantry("init", "--issuer", ISSUER, "--postgres", url, "--development").status == 0
    refused = tenantry("init", "--issuer", ISSUER, "--postgres", url, "--config", tmp_path / "other" / "tenantry.toml")
    assert refused.status == 1
    assert "roles_exist" in refused.err
    assert not (tmp_path / "other").exists()


def test_another_node_joins_with_a_copy_and_needs_no_migrator(
    tenantry: Shell, empty_database: Callable[[], str], tmp_path: Path
) -> None:
    assert tenantry("init", "--issuer", ISSUER, "--postgres", empty_database(), "--development").status == 0
    lines = (tmp_path / "tenantry.toml").read_text().splitlines()
    copy = [line for line in lines if not line.startswith("migrator")]
    copy = [f'state = "{tmp_path / "second"}"' if line.startswith("state") else line for line in copy]
    (tmp_path / "second.toml").write_text("\n".join(copy))
    joined = tenantry("init", "--config", "second.toml")
    assert (joined.status, joined.answer["made"]) == (
        0,
        [
            {"what": "state", "name": str(tmp_path / "second")},
            {"what": "operator's key", "name": str(tmp_path / "second" / "operator.key")},
        ],
    )
    assert tenantry("doctor", "--config", "second.toml").status == 0


def test_a_role_that_may_make_none_is_refused(tenantry: Shell, empty_database: Callable[[], str]) -> None:
    url = empty_database()
    with psycopg.connect(url, autocommit=True) as connection:
        plain = f"{connection.info.dbname}_plain"
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(plain)))
    refused = tenantry(
        "init", "--issuer", ISSUER, "--development", "--postgres", url.replace("user=postgres", f"user={plain}")
    )
    assert refused.status == 1
    assert "denied" in refused.err
    done = tenantry("init", "--postgres", url)
    assert done.status == 0, "the same with a role that may goes on where it was"


def test_contracting_is_refused_before_this_version_has_expanded(tenantry: Shell) -> None:
    assert tenantry("init", "--contract").status == 2
    assert tenantry("init", "--issuer", ISSUER).status == 0
    assert tenantry("init", "--contract").answer["made"] == []
    with sqlite3.connect(tenantry.folder / "tenantry.db") as connection:
        connection.execute("DELETE FROM schema_versions WHERE room = 'audit'")
    connection.close()
    refused = tenantry("init", "--contract")
    assert refused.status == 1
    assert "audit 1" in refused.err
