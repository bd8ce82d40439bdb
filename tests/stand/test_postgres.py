"""The throwaway cluster keeps its own promises, on which every test against PostgreSQL relies."""

from pathlib import Path

import psycopg
import pytest

from tenantry.cli.demo.cluster import Cluster, ClusterError


def test_a_cluster_has_the_stated_settings_and_leaves_nothing_behind() -> None:
    with Cluster(settings={"max_connections": "37"}) as cluster:
        with psycopg.connect(cluster.conninfo()) as connection:
            names = "max_connections", "fsync", "synchronous_commit", "wal_level", "listen_addresses", "is_superuser"
            shown = [connection.execute("SELECT current_setting(%s)", (name,)).fetchone() for name in names]
        pid = cluster.pid
    assert shown == [("37",), ("off",), ("on",), ("replica",), ("",), ("on",)]
    assert not cluster.directory.exists()
    assert not Path(f"/proc/{pid}").exists()


def test_what_was_committed_is_there_after_a_stop_and_after_a_kill() -> None:
    with Cluster() as cluster:
        with psycopg.connect(cluster.conninfo()) as connection:
            connection.execute("CREATE TABLE t AS SELECT 1 AS x")
        cluster.stop()
        cluster.start()
        with psycopg.connect(cluster.conninfo()) as connection:
            connection.execute("INSERT INTO t VALUES (2)")
        cluster.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(cluster.conninfo())
        cluster.start()
        with psycopg.connect(cluster.conninfo()) as connection:
            assert connection.execute("SELECT x FROM t ORDER BY x").fetchall() == [(1,), (2,)]


def test_a_server_that_does_not_start_says_why() -> None:
    with (
        pytest.raises(ClusterError, match='invalid value for parameter "shared_buffers"'),
        Cluster(settings={"shared_buffers": "much"}),
    ):
        pass
