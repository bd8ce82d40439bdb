"""`tenantry doctor` finds what is wrong, names it, and changes nothing."""

import fcntl
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.cli.conftest import ISSUER, Ran, Shell


def check(ran: Ran, name: str) -> dict[str, str]:
    (found,) = [check for check in ran.answer["checks"] if check["name"] == name]
    return found


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.fixture
def on_postgres(tenantry: Shell, empty_database: Callable[[], str]) -> Shell:
    """`tenantry` beside a deployment on PostgreSQL without fsync."""
    assert tenantry("init", "--issuer", ISSUER, "--postgres", empty_database(), "--development").status == 0
    return tenantry


def test_a_fresh_deployment_has_nothing_that_fails(deployed: Shell) -> None:
    well = deployed("doctor")
    assert (well.status, well.answer["ok"]) == (0, True)
    assert {
        "database",
        "root key",
        "integrity",
        "durability",
        "clock",
        "schema",
        "incarnation",
        "audit log",
        "log proofs",
    } == {check["name"] for check in well.answer["checks"]}


def test_a_deployment_is_well_when_it_was_set_up_and_when_its_log_was_taken_out(deployed: Shell) -> None:
    for _ in range(2):
        checks = deployed("doctor").answer["checks"]
        assert [(c["name"], c["status"], c["next"]) for c in checks if c["status"] != "ok" or c["next"]] == []
        deployed("audit", "export", "--org", "platform", "--out", "out")
    assert "every log is under a checkpoint" in check(deployed("doctor"), "audit log")["found"]


@pytest.mark.parametrize(("ago_ms", "status"), [(30_000, "ok"), (90_000, "warn")])
def test_events_that_nobody_signs_are_warned_of_after_a_minute(deployed: Shell, ago_ms: int, status: str) -> None:
    assert deployed("audit", "export", "--org", "platform", "--out", "out").status == 0
    with closing(sqlite3.connect(deployed.folder / "tenantry.db")) as connection, connection:
        connection.execute("UPDATE duties SET until = until - ?", (ago_ms,))
        connection.execute("DELETE FROM audit_checkpoints WHERE size = (SELECT max(size) FROM audit_checkpoints)")
    found = check(deployed("doctor"), "audit log")
    assert (found["status"], bool(found["next"])) == (status, status == "warn")


def test_looking_changes_nothing(deployed: Shell) -> None:
    mark = deployed.folder / "state" / "mark.json"
    before = mark.read_bytes()
    assert deployed("doctor").status == 0
    assert mark.read_bytes() == before
    assert deployed("init").answer["made"] == []


@pytest.mark.parametrize(
    ("damaged", "table"),
    [
        ("changelog", "changelog"),
        ("leaves", "leaves"),
        ("cuts", "cuts"),
        ("audit_tiles", "audit_tiles"),
        ("sqlite_autoindex_changelog_1", "changelog"),
    ],
)
def test_ops_07_a_damaged_page_is_found_and_its_table_named(deployed: Shell, damaged: str, table: str) -> None:
    """OPS-07: one page of a table or its index is overwritten; the doctor fails, names that table alone, and says what to restore."""
    file = deployed.folder / "tenantry.db"
    connection = sqlite3.connect(file)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (damaged,)).fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    assert check(deployed("doctor"), "integrity")["status"] == "ok"
    with file.open("r+b") as raw:
        raw.seek((page - 1) * size)
        raw.write(b"\xff" * size)
    found = deployed("doctor")
    assert found.status == 1
    failed = check(found, f"table {table}")
    assert failed["status"] == "fail"
    assert "backup" in failed["next"]
    assert [c["name"] for c in found.answer["checks"] if c["name"].startswith("table ")] == [f"table {table}"]


def test_ops_07_postgresql_is_asked_for_its_checksums(on_postgres: Shell) -> None:
    """OPS-07: with checksums PostgreSQL refuses a damaged page by itself; the doctor says that it has them."""
    assert "data_checksums = on" in check(on_postgres("doctor"), "integrity")["found"]


def test_aud_07_a_changed_leaf_fails_by_the_name_of_its_log(deployed: Shell) -> None:
    """AUD-07: the database is whole and a leaf is not the one that was signed; the doctor names the log and the index."""
    platform = "org_" + "0" * 26
    assert deployed("audit", "export", "--org", platform, "--out", "out").status == 0
    assert check(deployed("doctor"), "log proofs")["status"] == "ok"
    connection = sqlite3.connect(deployed.folder / "tenantry.db")
    with connection:
        connection.execute(
            "UPDATE leaves SET body = CAST(replace(CAST(body AS text), 'founded', 'fOunded') AS blob) WHERE idx = 0"
        )
    connection.close()
    found = deployed("doctor")
    assert found.status == 1
    assert "changed at index 0" in check(found, f"log of {platform}")["found"]
    assert check(found, "integrity")["status"] == "ok"


def test_a_file_that_is_no_database_fails(deployed: Shell) -> None:
    (deployed.folder / "tenantry.db").write_bytes(b"not a database " * 512)
    found = deployed("doctor")
    assert found.status == 1
    assert "tenantry.db" in check(found, "database")["found"]


def test_a_file_that_a_server_holds_is_refused_by_the_name_of_its_holder(deployed: Shell) -> None:
    with (deployed.folder / "tenantry.db.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        held = deployed("doctor")
        init = deployed("init")
    assert held.status == init.status == 1
    assert str(os.getpid()) in check(held, "database")["found"]
    assert str(os.getpid()) in init.err
    assert deployed("doctor").status == 0


def test_a_root_key_that_others_may_read_fails(deployed: Shell) -> None:
    (deployed.folder / "root.key").chmod(0o644)
    found = deployed("doctor")
    assert found.status == 1
    assert "chmod 600" in check(found, "root key")["next"]


def test_another_root_key_than_the_one_it_was_set_up_with_fails(deployed: Shell, tmp_path: Path) -> None:
    exported = deployed("audit", "export", "--org", "org_" + "0" * 26, "--out", "out")
    assert exported.status == 0, "it seals a signing key"
    assert check(deployed("doctor"), "root key")["status"] == "ok"
    other = Shell(tmp_path / "other")
    other.folder.mkdir()
    assert other("init", "--issuer", ISSUER).status == 0
    (deployed.folder / "root.key").write_bytes((other.folder / "root.key").read_bytes())
    found = deployed("doctor")
    assert found.status == 1
    assert "local:" in check(found, "root key")["found"]


def test_a_restored_database_is_foretold(deployed: Shell) -> None:
    old = (deployed.folder / "tenantry.db").read_bytes()
    assert check(deployed("doctor"), "incarnation")["status"] == "ok"
    (deployed.folder / "tenantry.db").write_bytes(old)
    rewrite(deployed.folder / "state" / "mark.json", '"incarnation":1', '"incarnation":2')
    found = deployed("doctor")
    assert check(found, "incarnation")["status"] == "warn"
    assert "restored" in check(found, "incarnation")["found"]
    refused = deployed("audit", "export", "--org", "org_" + "0" * 26, "--out", "out")
    assert refused.status == 1


def test_a_database_that_may_lose_what_it_acknowledged_fails_outside_development(on_postgres: Shell) -> None:
    in_development = on_postgres("doctor")
    assert (in_development.status, check(in_development, "durability")["status"]) == (0, "warn")
    rewrite(on_postgres.folder / "tenantry.toml", "development = true\n", "")
    found = on_postgres("doctor")
    assert (found.status, check(found, "durability")["status"]) == (1, "fail")
    assert "fsync" in check(found, "durability")["next"]


def test_ops_08_postgresql_without_a_synchronous_standby_is_warned_of(on_postgres: Shell) -> None:
    """OPS-08: without one, an acknowledged revocation lies on one machine, and the doctor says so."""
    assert check(on_postgres("doctor"), "standby")["status"] == "warn"


def test_ten_08_the_doctor_is_red_for_a_role_that_could_bypass_row_security(on_postgres: Shell) -> None:
    """TEN-08: the app connects as a superuser; the doctor fails and names it."""
    assert check(on_postgres("doctor"), "roles")["status"] == "ok"
    config = on_postgres.folder / "tenantry.toml"
    app = next(line for line in config.read_text().splitlines() if line.startswith("app = "))
    url = app.removeprefix('app = "').removesuffix('"')
    with psycopg.connect(url) as connection:
        user = connection.info.user
    rewrite(config, f"user={user} ", "user=postgres ")
    found = on_postgres("doctor")
    assert found.status == 1
    assert "superuser" in check(found, "database")["found"]


def test_a_database_that_is_away_is_unreachable(on_postgres: Shell, tmp_path: Path) -> None:
    config = on_postgres.folder / "tenantry.toml"
    host = next(part for part in config.read_text().split() if part.startswith("host="))
    rewrite(config, host, f"host={tmp_path}")
    away = on_postgres("doctor")
    assert (away.status, away.out) == (3, "")
    assert "unavailable" in away.err
