"""Set-ups in which row security would be void: opening the store refuses each."""

import asyncio
from collections.abc import Iterator

import msgspec
import psycopg
import pytest

from tenantry.app.config import Config
from tenantry.cli.demo.cluster import Cluster
from tenantry.core.clock import SystemClock
from tenantry.core.errors import Unsafe
from tenantry.store import Engine, open_store
from tests.stand.databases import as_superuser, postgres_database
from tests.stand.nodes import ALL_ROOMS, deployed


@pytest.fixture(scope="module")
def guarded(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A deployment whose schema these tests may spoil, if they mend it again."""
    return asyncio.run(deployed(postgres_database(cluster, "fence"), tmp_path_factory.mktemp("fence")))


@pytest.fixture
def superuser(cluster: Cluster) -> Iterator[psycopg.Connection]:
    """Whoever owns the cluster."""
    with as_superuser(cluster, "fence") as connection:
        yield connection


IN_SCOPE = "org = ANY ((SELECT string_to_array(current_setting('tenantry.org', true), ','))::text[])"
SPOILED = {
    "a table without row security": (
        "CREATE TABLE t (org text); GRANT SELECT ON t TO tenantry_app",
        "DROP TABLE t",
        "t",
    ),
    "row security not forced": (
        "ALTER TABLE ledger_members NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE ledger_members FORCE ROW LEVEL SECURITY",
        "ledger_members",
    ),
    "a policy that lets all through": (
        "CREATE POLICY open ON ledger_members USING (true)",
        "DROP POLICY open ON ledger_members",
        "ledger_members",
    ),
    "a view that runs as its owner": (
        "CREATE VIEW v AS SELECT * FROM ledger_members; GRANT SELECT ON v TO tenantry_app",
        "DROP VIEW v",
        "v",
    ),
    "a materialized view": ("CREATE MATERIALIZED VIEW m AS SELECT 1 AS x", "DROP MATERIALIZED VIEW m", "m"),
    "a function that runs as its owner": (
        "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM tenantry.ledger_members'",
        "DROP FUNCTION f()",
        "f",
    ),
    "an app that is superuser": (
        "ALTER ROLE tenantry_app SUPERUSER",
        "ALTER ROLE tenantry_app NOSUPERUSER",
        "tenantry_app",
    ),
    "an app with BYPASSRLS": (
        "ALTER ROLE tenantry_app BYPASSRLS",
        "ALTER ROLE tenantry_app NOBYPASSRLS",
        "tenantry_app",
    ),
    "an app that may become the owner": (
        "GRANT tenantry_migrator TO tenantry_app",
        "REVOKE tenantry_migrator FROM tenantry_app",
        "tenantry_migrator",
    ),
    "a worker that may become a superuser": (
        "GRANT postgres TO tenantry_worker",
        "REVOKE postgres FROM tenantry_worker",
        "postgres",
    ),
    "an app that owns a table": (
        "CREATE TABLE t (x int); ALTER TABLE t OWNER TO tenantry_app",
        "DROP TABLE t",
        "tenantry_app",
    ),
    "an app that owns the schema": (
        "ALTER SCHEMA tenantry OWNER TO tenantry_app",
        "ALTER SCHEMA tenantry OWNER TO tenantry_migrator; GRANT USAGE ON SCHEMA tenantry TO tenantry_app",
        "tenantry_app",
    ),
    "an app that owns the database": (
        "ALTER DATABASE fence OWNER TO tenantry_app",
        "ALTER DATABASE fence OWNER TO tenantry_migrator",
        "pg_database_owner",
    ),
    "an app that may become the follower": (
        "GRANT tenantry_follower TO tenantry_app",
        "REVOKE tenantry_follower FROM tenantry_app",
        "tenantry_follower",
    ),
    "an app that may become the worker": (
        "GRANT tenantry_worker TO tenantry_app",
        "REVOKE tenantry_worker FROM tenantry_app",
        "tenantry_worker",
    ),
    "a follower that may become the app": (
        "GRANT tenantry_app TO tenantry_follower",
        "REVOKE tenantry_app FROM tenantry_follower",
        "tenantry_app",
    ),
    "an app that may run programs on the server": (
        "GRANT pg_execute_server_program TO tenantry_app",
        "REVOKE pg_execute_server_program FROM tenantry_app",
        "pg_execute_server_program",
    ),
    "an app that may make roles": (
        "ALTER ROLE tenantry_app CREATEROLE",
        "ALTER ROLE tenantry_app NOCREATEROLE",
        "tenantry_app",
    ),
    "a worker that may stream the database": (
        "ALTER ROLE tenantry_worker REPLICATION",
        "ALTER ROLE tenantry_worker NOREPLICATION",
        "tenantry_worker",
    ),
    "an app that may make temporary tables": (
        "GRANT TEMPORARY ON DATABASE fence TO PUBLIC",
        "REVOKE TEMPORARY ON DATABASE fence FROM PUBLIC",
        "TEMPORARY",
    ),
    "a superuser that sets the app's role": (
        "ALTER ROLE tenantry_app SUPERUSER; ALTER ROLE tenantry_app SET role = tenantry_worker",
        "ALTER ROLE tenantry_app RESET role; ALTER ROLE tenantry_app NOSUPERUSER",
        "tenantry_app",
    ),
    "a tenant's policy that shows all": (
        "ALTER POLICY tenant ON leaves USING (true)",
        f"ALTER POLICY tenant ON leaves USING ({IN_SCOPE})",
        "leaves",
    ),
    "a tenant's policy that lets all be written": (
        "ALTER POLICY tenant ON leaves WITH CHECK (true)",
        f"ALTER POLICY tenant ON leaves WITH CHECK ({IN_SCOPE})",
        "leaves",
    ),
    "a policy of the worker for everybody": (
        "ALTER POLICY worker ON leaves TO PUBLIC",
        "ALTER POLICY worker ON leaves TO tenantry_worker",
        "leaves",
    ),
    "a policy of the follower that lets it write": (
        "DROP POLICY follower ON leaves; CREATE POLICY follower ON leaves TO tenantry_follower USING (true)",
        "DROP POLICY follower ON leaves; CREATE POLICY follower ON leaves FOR SELECT TO tenantry_follower USING (true)",
        "leaves",
    ),
}


async def opened(config: Config) -> Engine:
    return await open_store(config.where(), ALL_ROOMS, SystemClock(), development=True, on_broken=lambda: None)


@pytest.mark.parametrize("spoiled", SPOILED)
async def test_ten_08_a_set_up_that_could_bypass_the_fence_is_refused(
    guarded: Config, superuser: psycopg.Connection, spoiled: str
) -> None:
    """TEN-08: a role or an object by which row security could be passed keeps the store from opening, and is named."""
    spoil, mend, named = SPOILED[spoiled]
    superuser.execute(spoil.encode())
    try:
        with pytest.raises(Unsafe) as refusal:
            await opened(guarded)
    finally:
        superuser.execute(mend.encode())
    assert named in str(refusal.value)
    await (await opened(guarded)).close()


@pytest.mark.parametrize(("first", "second"), [("app", "follower"), ("app", "worker"), ("follower", "worker")])
async def test_ten_08_one_role_for_two_is_refused(guarded: Config, first: str, second: str) -> None:
    """TEN-08: what the follower or worker sees of every organization, no other role of the server sees by being the same."""
    shared = msgspec.structs.replace(guarded.database, **{second: getattr(guarded.database, first)})
    with pytest.raises(Unsafe, match=f"{first}.*{second}|{second}.*{first}"):
        await opened(msgspec.structs.replace(guarded, database=shared))
    await (await opened(guarded)).close()
