"""The four roles, made on a server that writes every statement to its log."""

from pathlib import Path

import psycopg
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
