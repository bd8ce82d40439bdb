"""The four roles: what the server's log says of them, and how they find their tables."""

from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tenantry.cli.demo.cluster import Cluster
from tenantry.store import make_roles, plan_roles


async def test_no_password_reaches_the_servers_log_and_each_opens_its_role(tmp_path: Path) -> None:
    with Cluster(settings={"log_statement": "all"}) as cluster:
        cluster.create_database("acme")
        roles = await plan_roles(cluster.conninfo("acme"))
        assert len(await make_roles(cluster.conninfo("acme"), roles)) == 4
        said = cluster.log()
        assert "CREATE ROLE" in said
        for url in roles.each():
            given = conninfo_to_dict(url)
            assert str(given["password"]) not in said
            with psycopg.connect(url) as connection:
                assert connection.execute("SELECT current_user::text").fetchone() == (given["user"],)


async def test_no_role_of_the_server_can_put_a_table_before_the_deployments(cluster: Cluster) -> None:
    """PostgreSQL looks for a table among the session's temporary ones first, unless told otherwise."""
    cluster.create_database("shadows")
    superuser = cluster.conninfo("shadows")
    roles = await plan_roles(superuser)
    await make_roles(superuser, roles)
    with psycopg.connect(superuser) as connection:
        connection.execute("CREATE SCHEMA tenantry; CREATE TABLE tenantry.cuts (id text)")
        connection.execute("GRANT USAGE ON SCHEMA tenantry TO PUBLIC; GRANT SELECT ON tenantry.cuts TO PUBLIC")
    shadow = "CREATE TEMPORARY TABLE cuts AS SELECT 'shadow' AS id"
    for url in (roles.urls.app, roles.urls.follower, roles.urls.worker):
        with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(shadow)
        with psycopg.connect(superuser) as connection:
            connection.execute("GRANT TEMPORARY ON DATABASE shadows TO PUBLIC")
        with psycopg.connect(url) as connection:
            connection.execute(shadow)
            assert connection.execute("SELECT id FROM cuts").fetchall() == []
        await make_roles(superuser, roles)


async def test_a_restored_database_is_given_what_a_dump_leaves_out(cluster: Cluster) -> None:
    """Neither a database's rights nor a role's settings in it are in its dump; making the roles again brings them back."""
    cluster.create_database("dumped")
    superuser = cluster.conninfo("dumped")
    roles = await plan_roles(superuser)
    await make_roles(superuser, roles)
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        connection.execute("DROP DATABASE dumped")
    cluster.create_database("dumped")
    assert await make_roles(superuser, roles) == []
    with psycopg.connect(roles.urls.app) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("tenantry, pg_temp",)
        assert connection.execute("SELECT has_database_privilege('dumped', 'TEMPORARY')").fetchone() == (False,)
