"""The page that says who writes each table, who follows it and what a crash leaves has them all."""

import re
import sqlite3
from pathlib import Path

from tenantry.app.node import ROOMS
from tenantry.store.migrate import migrate_sqlite

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "architecture.md"
ROW = re.compile(r"^\| `(?P<table>\w+)` \| (?P<kind>[^|]+) \| (?P<cells>.+) \|$", re.MULTILINE)


def rows() -> list[tuple[str, str, list[str]]]:
    """Of each row in the page's list its table, its kind, and the other three cells."""
    (section,) = re.findall(
        r"^## The tables of the ground floor$.*?^## ", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    return [(row["table"], row["kind"], row["cells"].split(" | ")) for row in ROW.finditer(section)]


def test_every_table_that_a_room_declares_has_one_row_with_its_kind() -> None:
    declared = {table.name: table.kind.value for schema in ROOMS for table in schema.tables}
    assert len(rows()) == len({table for table, _, _ in rows()})
    assert {table: kind for table, kind, _ in rows() if kind != "no room's"} == declared


def test_the_list_is_what_a_database_holds() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate_sqlite(connection, ROOMS)
    made = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    held = {name for (name,) in made}
    connection.close()
    assert {table for table, _, _ in rows()} == held


def test_every_row_says_who_writes_who_follows_and_what_a_crash_leaves() -> None:
    assert [table for table, _, cells in rows() if len(cells) != 3 or not all(cell.strip() for cell in cells)] == []
