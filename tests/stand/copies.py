"""Copies of a cluster's data: a backup that can be put back, and a standby that follows."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tenantry.cli.demo.cluster import Cluster


def copy_data(cluster: Cluster, to: Path) -> None:
    """Copy the data of a stopped cluster to `to`, which it replaces, with its owners."""
    if to.exists():
        shutil.rmtree(to)
    shutil.copytree(cluster.data, to)
    for original in (cluster.data, *cluster.data.rglob("*")):
        status = original.stat()
        os.chown(to / original.relative_to(cluster.data), status.st_uid, status.st_gid)


def put_back(cluster: Cluster, backup: Path) -> None:
    """Replace the data of a stopped cluster by a backup."""
    shutil.rmtree(cluster.data)
    backup.rename(cluster.data)


@contextmanager
def standby_of(primary: Cluster) -> Iterator[Cluster]:
    """An asynchronous standby of a running cluster, which is restarted once for the copy."""
    with Cluster() as standby:
        standby.stop()
        primary.stop()
        copy_data(primary, standby.data)
        (standby.data / "standby.signal").touch()
        with (standby.data / "postgresql.auto.conf").open("a") as file:
            file.write(f"primary_conninfo = 'host={primary.directory} user=postgres'\n")
        primary.start()
        standby.start()
        yield standby


def caught_up(primary: Cluster, standby: Cluster) -> bool:
    """Whether the standby has all that the primary has."""
    with psycopg.connect(primary.conninfo()) as connection:
        wanted = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
    assert wanted is not None
    with psycopg.connect(standby.conninfo()) as connection:
        row = connection.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", wanted).fetchone()
    return row == (True,)


def cut_off(standby: Cluster) -> None:
    """The standby receives nothing more, once it no longer `receives`."""
    with psycopg.connect(standby.conninfo(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
        connection.execute("SELECT pg_reload_conf()")


def receives(standby: Cluster) -> bool:
    """Whether the standby is connected to its primary."""
    with psycopg.connect(standby.conninfo()) as connection:
        return connection.execute("SELECT 1 FROM pg_stat_wal_receiver").fetchone() is not None


def promote(standby: Cluster) -> None:
    """The standby becomes the primary, on a timeline of its own."""
    with psycopg.connect(standby.conninfo(), autocommit=True) as connection:
        assert connection.execute("SELECT pg_promote(true, 30)").fetchone() == (True,)
