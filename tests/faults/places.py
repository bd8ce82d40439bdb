"""Where a deployment's data lies, as an operator backs it up, puts it back and copies it; and what a credential of another life may do."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.cli.demo.cluster import Cluster
from tenantry.core.errors import Ended
from tenantry.core.principal import Principal
from tenantry.store import Database
from tests.faults.whole import StoredOf, in_postgres, in_sqlite
from tests.stand.copies import copy_data, put_back
from tests.stand.databases import postgres_database, sqlite_database
from tests.stand.nodes import node_of
from tests.stand.organizations import Organization, open_organization


class Place(msgspec.Struct, frozen=True, eq=False):
    """Where a deployment's data lies, and how an operator backs it up and copies it. Nothing may have it open."""

    database: Database
    stored: StoredOf
    back_up: Callable[[], object]
    restore: Callable[[], object]
    clone: Callable[[], Database]


def place_in_file(tmp_path: Path) -> Place:
    """A file, its backup and its copy in one folder."""
    database = sqlite_database(tmp_path)
    assert database.file is not None
    file, backup, copy = database.file, tmp_path / "backup.db", tmp_path / "copy"

    def clone() -> Database:
        copy.mkdir()
        shutil.copy(file, copy / file.name)
        return sqlite_database(copy)

    return Place(
        database,
        in_sqlite(file),
        back_up=lambda: backup.write_bytes(file.read_bytes()),
        restore=lambda: file.write_bytes(backup.read_bytes()),
        clone=clone,
    )


def place_in_cluster(cluster: Cluster, name: str) -> Place:
    """A database of a cluster; backups are of the whole cluster."""
    backup = cluster.directory / "backup"

    def stopped(work: Callable[[Cluster, Path], None]) -> Callable[[], None]:
        def run() -> None:
            cluster.stop()
            work(cluster, backup)
            cluster.start()

        return run

    return Place(
        postgres_database(cluster, name),
        in_postgres(cluster.conninfo(name)),
        back_up=stopped(copy_data),
        restore=stopped(put_back),
        clone=lambda: postgres_database(cluster, f"{name}_copy", template=name),
    )


async def refused(node: Node, acme: Organization, credential: Principal) -> None:
    """Neither asked nor used does a credential of an older life live."""
    with pytest.raises(Ended):
        await node.cuts.check(credential)
    before = await acme.holdings()
    with pytest.raises(Ended):
        await acme.spend("voucher of an older life", credential)
    assert await acme.holdings() == before


async def with_acme(config: Config, work: Callable[[Node, Organization], Awaitable[None]]) -> Organization:
    """A fresh organization, worked on by a node that then stops."""
    async with node_of(config) as node:
        acme = await open_organization(node)
        await work(node, acme)
        return acme
