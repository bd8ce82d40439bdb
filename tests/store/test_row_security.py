"""The second fence, on PostgreSQL: whatever a statement forgets, a tenant's rows are seen and written in its own scope alone.

These tests stand where injected or forgotten SQL would: on raw connections with the server's own roles. Row security does not stop a
superuser, nor SQL that sets another tenant; nothing here says so.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec
import psycopg
import pytest

from tenantry.app.config import Config
from tenantry.cli.demo import ledger
from tenantry.cli.demo.cluster import Cluster
from tenantry.store import Dialects, Kind, Read, Statement, Survey, Table, postgres
from tests.stand.databases import as_superuser, postgres_database
from tests.stand.nodes import ALL_ROOMS, deployed, node_of
from tests.stand.organizations import open_organization

TABLES = [table for schema in ALL_ROOMS for table in schema.tables]
TENANT_TABLES = [table for table in TABLES if not table.deployment_wide]
FOLLOWED = {
    "heads",
    "changelog",
    "leaves",
    "cuts",
    "destructions",
    "deployment",
    "incarnations",
    "duties",
    "schema_versions",
}
TENANT_SET = Survey("setting", Dialects("", "SELECT current_setting('tenantry.org', true)"), role="app")
IN_MID_QUERY = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'guarded' AND wait_event_type = 'Lock'"
SCOPES = {"another's": "org_01ARZ3NDEKTSV4RRFFQ69G5FAV", "an empty": "", "no": None, "a pattern for a": "%"}


@pytest.fixture(scope="module")
def guarded(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A deployment whose schema these tests may spoil, if they mend it again."""
    return asyncio.run(deployed(postgres_database(cluster, "guarded"), tmp_path_factory.mktemp("guarded")))


@pytest.fixture(scope="module")
def acme(guarded: Config, cluster: Cluster) -> str:
    """The id of an organization with at least a row in each tenant table."""
    acme = asyncio.run(filled(guarded))
    with psycopg.connect(cluster.conninfo("guarded")) as superuser:
        superuser.execute("SET search_path = tenantry")
        for table in TENANT_TABLES:
            if not count(superuser, f"SELECT count(*) FROM {table.name} WHERE org = '{acme}'"):
                superuser.execute(made_up_row(superuser, table, acme))
    return acme


def made_up_row(superuser: psycopg.Connection, table: Table, org: str) -> bytes:
    """A row of any table, for what no room here writes."""
    columns = superuser.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'tenantry' AND table_name = %s",
        (table.name,),
    ).fetchall()
    made_up = {"text": "'x'", "bigint": "1", "bytea": "'x'", "xid8": "pg_current_xact_id()"}
    values = [f"'{org}'" if name == "org" else made_up[kind] for name, kind in columns]
    return f"INSERT INTO {table.name} ({', '.join(name for name, _ in columns)}) VALUES ({', '.join(values)})".encode()


async def filled(config: Config) -> str:
    async with node_of(config) as node:
        acme = await open_organization(node)
        await acme.add_entry("cash", 5)
        await acme.add_member("Anne")
        await acme.spend("one")
        await acme.cut("session_1")
        async with acme.begin() as w:
            w.destroy("user_1")
            w.record(ledger.BranchCut("user_1", "erased"))
        async with asyncio.timeout(10):
            while not await acme.reads.all(ledger.BALANCES_OF):
                await node.engine.changed(0.1)
    return acme.id


@pytest.fixture
def superuser(cluster: Cluster) -> Iterator[psycopg.Connection]:
    """Whoever owns the cluster."""
    with as_superuser(cluster, "guarded") as connection:
        yield connection


@contextmanager
def connected(url: str, org: str | None) -> Iterator[psycopg.Connection]:
    """A transaction of a server's role in the scope of `org`, undone at the end."""
    with psycopg.connect(url) as connection:
        if org is not None:
            connection.execute("SELECT set_config('tenantry.org', %s, true)", (org,))
        yield connection
        connection.rollback()


def count(connection: psycopg.Connection, text: str) -> int:
    row = connection.execute(text.encode()).fetchone()
    assert row is not None
    return row[0]


def seen(connection: psycopg.Connection, table: Table) -> int:
    return count(connection, f"SELECT count(*) FROM {table.name}")


def role_of(table: Table, config: Config) -> str:
    """A role fenced by tenant that may read the table."""
    return config.database.worker if table.app == "" else config.database.app


def fenced(table: Table) -> bool:
    """Whether some role that reads the table is held to one tenant."""
    return table.app != "" or not table.worker_sees_all


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("table", [t for t in TENANT_TABLES if fenced(t)], ids=lambda table: table.name)
def test_ten_08_each_tenant_table_shows_no_row_outside_its_scope(
    guarded: Config, acme: str, table: Table, scope: str
) -> None:
    """TEN-08: every tenant table, each by itself, shows its rows to their tenant and none to a wrong scope."""
    url = role_of(table, guarded)
    with connected(url, acme) as connection:
        assert seen(connection, table) > 0
    with connected(url, SCOPES[scope]) as connection:
        assert seen(connection, table) == 0
        joined = f"SELECT count(*) FROM {table.name} t RIGHT JOIN incarnations i ON true WHERE t.org IS NOT NULL"
        assert count(connection, joined) == 0
        assert count(connection, f"SELECT count(*) FROM {table.name} WHERE org = '{acme}'") == 0
        for attempt in (f"DELETE FROM {table.name}", f"UPDATE {table.name} SET org = org"):
            with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
                assert connection.execute(attempt.encode()).rowcount == 0
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY (SELECT * FROM {table.name}) TO STDOUT".encode()) as copy,
        ):
            assert list(copy) == []


def test_every_table_with_tenants_is_declared_one(superuser: psycopg.Connection) -> None:
    rows = superuser.execute(
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'tenantry' AND column_name = 'org'"
    ).fetchall()
    assert {name for (name,) in rows} == {table.name for table in TENANT_TABLES}


@pytest.mark.parametrize("read", [r for s in ALL_ROOMS for r in s.reads], ids=lambda read: read.name)
def test_ten_09_a_read_without_a_tenant_gives_no_row(guarded: Config, acme: str, read: Read[object]) -> None:
    """TEN-09: each registered read and each statement with no tenant set raises or finds nothing; never all rows."""
    with connected(guarded.database.app, None) as connection:
        types = {str: "''", int: "0", list: "ARRAY['x']::text[]", list[bytes]: "ARRAY['x']::bytea[]"}
        given = ("'[]'" if name == "rows" else types[kind] for name, kind in read.args.items())
        args = ", ".join(["''", *given])
        assert connection.execute(f"SELECT * FROM {read.function.name}({args})".encode()).fetchall() == []


@pytest.mark.parametrize(
    "statement",
    [
        s
        for schema in ALL_ROOMS
        for s in schema.statements
        if s.table in TENANT_TABLES and fenced(s.table) and s.function is not None
    ],
    ids=lambda statement: statement.name,
)
def test_ten_09_a_statement_without_a_tenant_changes_no_row(
    guarded: Config, acme: str, superuser: psycopg.Connection, statement: Statement
) -> None:
    """TEN-09: each registered statement, run with a foreign organization's id but without its scope, changes nothing."""
    role = guarded.database.worker if statement.table.kind is Kind.DERIVED else guarded.database.app
    values: dict[type, object] = {str: "x", int: 1, bytes: b"x", list: ["x"], list[bytes]: [b"x"]}
    args = [acme, *(values[kind] for kind in statement.args.values()), -1]
    assert statement.function is not None
    scope = "PERFORM set_config('tenantry.org', p_org, true);\n"
    bare = statement.function.definition.replace(scope, "").replace(statement.function.name, "bare")
    assert scope in statement.function.definition
    superuser.execute(f"DROP FUNCTION IF EXISTS bare; {bare}".encode())
    everything = f"SELECT * FROM {statement.table.name} ORDER BY 1, 2".encode()
    before = superuser.execute(everything).fetchall()
    with (
        psycopg.connect(role, cursor_factory=psycopg.RawCursor, autocommit=True) as connection,
        suppress(psycopg.DatabaseError),  # a refusal is as good
    ):
        places = ", ".join(f"${n}::{kind}" for n, kind in enumerate((*statement.types, "bigint"), 1))
        connection.execute(f"SELECT bare({places})".encode(), args)
    assert superuser.execute(everything).fetchall() == before


async def test_ten_07_a_reused_connection_starts_with_no_tenant(
    guarded: Config, cluster: Cluster, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TEN-07: requests of two tenants over two connections, 10 % cancelled in mid-query and 5 % failing: each sees its own rows only."""
    monkeypatch.setattr(postgres, "READING", 2)
    monkeypatch.setattr(postgres, "CONNECTIONS", 1)  # and the batcher's
    async with (
        node_of(guarded) as node,
        await psycopg.AsyncConnection.connect(cluster.conninfo("guarded")) as holder,
    ):
        ours, theirs = await open_organization(node), await open_organization(node)
        await asyncio.gather(ours.add_member("Anne"), ours.spend("one"), theirs.add_member("Gus"))

        async def request(number: int) -> None:
            if number % 20 == 9:
                with pytest.raises(ledger.AlreadySpent):
                    await ours.spend("one")
            organization, name = ((ours, "Anne"), (theirs, "Gus"))[number % 2]
            assert [row.name for row in await organization.reads.all(ledger.MEMBERS_OF)] == [name]

        for round_ in range(20 * rounds):
            await holder.execute("LOCK TABLE tenantry.ledger_members")
            tasks = [asyncio.create_task(request(20 * round_ + number)) for number in range(20)]
            async with asyncio.timeout(5):
                while await (await holder.execute(IN_MID_QUERY)).fetchone() != (2,):
                    await holder.execute("SELECT pg_stat_clear_snapshot()")
            for task in tasks[:2]:
                task.cancel()
            await holder.rollback()
            cancelled, answered = (
                await asyncio.gather(*tasks[:2], return_exceptions=True),
                await asyncio.gather(*tasks[2:]),
            )
            assert [type(outcome) for outcome in cancelled] == [asyncio.CancelledError] * 2
            assert answered == [None] * 18
        both_pools = [TENANT_SET, msgspec.structs.replace(TENANT_SET, role="reading")]
        settings = await asyncio.gather(*(node.engine.survey(asked) for asked in both_pools * 25))
        assert {rows[0][0] for rows in settings} <= {"", None}


@pytest.mark.parametrize("table", ["ledger_entries", "ledger_members", "ledger_vouchers"])
def test_a_row_for_another_organization_cannot_be_written(guarded: Config, acme: str, table: str) -> None:
    columns = {
        "ledger_entries": "'ledger_x', 'cash', 1, 1",
        "ledger_members": "'Mallory'",
        "ledger_vouchers": "'mine', 1",
    }
    with connected(guarded.database.app, "org_01ARZ3NDEKTSV4RRFFQ69G5FAV") as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            connection.execute(f"INSERT INTO {table} VALUES ('{acme}', {columns[table]})".encode())
        connection.rollback()
        connection.execute("SELECT set_config('tenantry.org', %s, true)", (acme,))
        connection.execute(f"INSERT INTO {table} VALUES ('{acme}', {columns[table]})".encode())


def test_the_worker_reads_every_organizations_journal_and_writes_in_its_scope_alone(guarded: Config, acme: str) -> None:
    cursor = f"INSERT INTO cursors (follower, org, rev, leaf) VALUES ('mine', '{acme}', 0, 0)".encode()
    with connected(guarded.database.worker, "org_01ARZ3NDEKTSV4RRFFQ69G5FAV") as connection:
        assert count(connection, f"SELECT count(*) FROM changelog WHERE org = '{acme}'") > 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            connection.execute(cursor)
        connection.rollback()
        connection.execute("SELECT set_config('tenantry.org', %s, true)", (acme,))
        connection.execute(cursor)


def test_a_row_cannot_be_moved_to_another_organization(guarded: Config, acme: str) -> None:
    with (
        connected(guarded.database.app, acme) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"),
    ):
        connection.execute("UPDATE ledger_members SET org = 'org_01ARZ3NDEKTSV4RRFFQ69G5FAV'")


FORBIDDEN = (
    "UPDATE changelog SET touched = '[]'",
    "DELETE FROM changelog",
    "UPDATE leaves SET body = ''",
    "UPDATE leaves SET idx = idx + 1",
    "UPDATE leaves SET rev = 0",
    "DELETE FROM leaves",
    "UPDATE cuts SET rev = 0",
    "DELETE FROM cuts",
    "DELETE FROM heads",
    "UPDATE heads SET org = org",
    "DELETE FROM destructions",
    "UPDATE incarnations SET number = 7",
    "TRUNCATE leaves",
    "CREATE TABLE tenantry.mine (x int)",
    "CREATE FUNCTION tenantry.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ALTER TABLE leaves DISABLE ROW LEVEL SECURITY",
    "DROP POLICY tenant ON leaves",
    "CREATE TEMPORARY TABLE cuts (org text, id text, rev bigint)",
    "SET SESSION AUTHORIZATION postgres",
)
"""To app and worker alike."""

FORBIDDEN_TO_APP = (
    "INSERT INTO incarnations VALUES (7, 'x', 0, '')",
    "UPDATE deployment SET issuer = ''",
    "SELECT * FROM duties",
    "SELECT * FROM cursors",
    "UPDATE ledger_balances SET total = 0",
    "SET ROLE tenantry_worker",
)


@pytest.mark.parametrize(
    ("role", "attempt"),
    [*(("app", attempt) for attempt in FORBIDDEN + FORBIDDEN_TO_APP), *(("worker", attempt) for attempt in FORBIDDEN)],
)
def test_neither_app_nor_worker_edits_the_log_or_the_fence(guarded: Config, acme: str, role: str, attempt: str) -> None:
    url = {"app": guarded.database.app, "worker": guarded.database.worker}[role]
    with connected(url, acme) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(attempt.encode())


def test_the_followers_rights_are_the_journals_and_reading_alone(superuser: psycopg.Connection) -> None:
    rights = superuser.execute(
        "SELECT table_name, privilege_type FROM information_schema.role_table_grants "
        "WHERE grantee = 'tenantry_follower' AND table_schema = 'tenantry'"
    ).fetchall()
    assert {(name, "SELECT") for name in FOLLOWED} == set(rights)


def test_the_follower_sees_every_organizations_journal_and_no_other_table(guarded: Config, acme: str) -> None:
    with connected(guarded.database.follower, None) as connection:
        assert count(connection, f"SELECT count(*) FROM changelog WHERE org = '{acme}'") > 0
    for table in TABLES:
        with connected(guarded.database.follower, acme) as connection:
            if table.name in FOLLOWED:
                connection.execute(f"SELECT 1 FROM {table.name}".encode())
            else:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(f"SELECT 1 FROM {table.name}".encode())


def test_the_worker_changes_no_state(guarded: Config, acme: str) -> None:
    for table in ("ledger_entries", "ledger_members"):
        for attempt in (f"DELETE FROM {table}", f"UPDATE {table} SET org = org"):
            with (
                connected(guarded.database.worker, acme) as connection,
                pytest.raises(psycopg.errors.InsufficientPrivilege),
            ):
                connection.execute(attempt.encode())


def test_a_view_and_a_function_of_the_callers_rights_show_no_row_outside_the_scope(
    guarded: Config, acme: str, superuser: psycopg.Connection
) -> None:
    superuser.execute(
        "CREATE VIEW v WITH (security_invoker = true) AS SELECT * FROM tenantry.ledger_members; ALTER VIEW v OWNER TO tenantry_migrator; "
        "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM tenantry.ledger_members'; "
        "GRANT SELECT ON v TO tenantry_app"
    )
    try:
        for scope, expected in ((acme, 1), ("", 0), (None, 0), ("org_01ARZ3NDEKTSV4RRFFQ69G5FAV", 0)):
            with connected(guarded.database.app, scope) as connection:
                assert count(connection, "SELECT count(*) FROM v") == expected
                assert count(connection, "SELECT f()") == expected
    finally:
        superuser.execute("DROP VIEW v; DROP FUNCTION f()")
