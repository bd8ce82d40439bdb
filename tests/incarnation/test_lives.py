"""Data that went back in time, was copied, or was promoted without its last commits: another life begins, and nothing returns."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest

from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.audit import log
from tenantry.audit.verify import verify_export
from tenantry.cli.demo import ledger
from tenantry.cli.demo.cluster import Cluster
from tenantry.core.errors import Ended, Stale, Unavailable, Unsafe
from tenantry.core.principal import SYSTEM, Principal
from tenantry.core.scopes import TenantScope
from tenantry.journal.schema import LEAF_ROWS
from tenantry.keys.schema import DATA_KEYS_OF
from tests.stand.databases import postgres_database, sqlite_database
from tests.stand.nodes import configured, deployed, node_of
from tests.stand.organizations import Organization, open_organization


class Backups:
    """A deployment whose database can be put back to an earlier copy, file by file, as an operator would."""

    def __init__(self, config: Config, folder: Path, cluster: Cluster | None) -> None:
        self.config = config
        self._folder = folder
        self._cluster = cluster

    def take(self) -> None:
        """Copy the database as it is; no node runs."""
        self._copied(self._data(), self._folder / "backup")

    def restore(self) -> None:
        """Put the copy in the database's place; the node's state directory stays as it is."""
        self._copied(self._folder / "backup", self._data())

    def promote(self) -> None:
        """Put the copy in the primary's place as a standby, and promote it: what was committed since is lost."""
        assert self._cluster is not None
        self._cluster.stop()
        self._replaced(self._folder / "backup", self._cluster.data)
        (self._cluster.data / "standby.signal").touch()
        shutil.copystat(self._cluster.data / "postgresql.conf", self._cluster.data / "standby.signal")
        self._cluster.start()
        with psycopg.connect(self._cluster.conninfo(), autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")

    def _data(self) -> Path:
        return self._cluster.data if self._cluster else Path(self.config.database.file)

    def _copied(self, source: Path, target: Path) -> None:
        if self._cluster is None:
            shutil.copy2(source, target)
            for suffix in ("-wal", "-shm"):
                Path(f"{target}{suffix}").unlink(missing_ok=True)
            return
        self._cluster.stop()
        self._replaced(source, target)
        self._cluster.start()

    @staticmethod
    def _replaced(source: Path, target: Path) -> None:
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run(["cp", "-a", source, target], check=True)


@pytest.fixture
def backups(dialect: str, tmp_path: Path) -> Iterator[Backups]:
    """A deployment of this test alone, on each database; PostgreSQL in a cluster of its own."""
    if dialect == "sqlite":
        config = asyncio.run(deployed(sqlite_database(tmp_path), tmp_path / "state"))
        yield Backups(config, tmp_path, None)
        return
    with Cluster() as cluster:
        config = asyncio.run(deployed(postgres_database(cluster, "lives"), tmp_path / "state"))
        yield Backups(config, cluster.directory, cluster)


async def _begun(backups: Backups) -> tuple[TenantScope, Principal]:
    """An organization and a credential in it, and a copy of the database that holds both."""
    async with node_of(backups.config) as node:
        acme = await open_organization(node)
        credential = await acme.issue("user_1", "session_1")
        await acme.add_member("before the backup")
        await acme.checkpointed()
    backups.take()
    return acme.scope, credential


def _at(node: Node, scope: TenantScope) -> Organization:
    return Organization(node, scope)


async def _refused(node: Node, scope: TenantScope, credential: Principal) -> None:
    """The credential is ended for reads and for writes."""
    with pytest.raises(Ended):
        await node.cuts.check(credential)
    for write in (_at(node, scope).spend("a voucher", credential), _dead_write(node, scope, credential)):
        with pytest.raises(Ended):
            await write


async def _dead_write(node: Node, scope: TenantScope, credential: Principal) -> None:
    async with _at(node, scope).begin(credential) as w:
        ledger.add_member(w, "by a ghost")


async def test_ops_12_a_restored_backup_is_another_life_and_resurrects_nothing(
    backups: Backups, tmp_path: Path
) -> None:
    """OPS-12: what was issued before the restore is refused, even though the restored data knows no cut of it."""
    scope, credential = await _begun(backups)
    async with node_of(backups.config) as node:
        await node.cuts.check(credential)
        await _at(node, scope).cut("user_1")
    backups.restore()
    async with node_of(backups.config) as node:
        assert (node.incarnation.number, node.incarnation.begun_now) == (2, "restored")
        assert node.incarnation.held
        await _refused(node, scope, credential)
        fresh = await _at(node, scope).issue("user_1", "session_2")
        await node.cuts.check(fresh)
        newcomer = await open_organization(node)
        await _at(node, scope).checkpointed()
        await _at(node, scope).export(tmp_path / "out")
    assert verify_export(tmp_path / "out").org == scope.org
    async with node_of(backups.config) as node:
        assert (node.incarnation.number, node.incarnation.begun_now) == (2, "")
        await node.cuts.check(fresh)
        assert (await node.journal.head(newcomer.scope)).leaves == 1


async def test_aud_05_a_log_put_back_goes_on_with_the_event_that_admits_it(backups: Backups) -> None:
    """AUD-05: the next leaf of every log names the new incarnation, its reason and the last head known; once."""
    scope, _ = await _begun(backups)
    async with node_of(backups.config) as node:
        await _at(node, scope).add_member("lost")
        lost = (await node.journal.head(scope)).rev
    backups.restore()
    async with node_of(backups.config):
        pass
    async with node_of(backups.config) as node:
        rows = await _at(node, scope).reads.all(LEAF_ROWS, first=0, most=1_000)
    events = [msgspec.json.decode(row.body) for row in rows]
    told = [event["data"] for event in events if event["type"] == "incarnation.begun"]
    assert [(t["number"], t["reason"]) for t in told] == [(2, "restored")]
    assert told[0]["seen_revision"] == lost > told[0]["last_revision"]
    assert "lost" not in [event["data"].get("name") for event in events]


async def test_ops_13_a_copy_under_another_issuer_is_another_life_with_deliveries_held(
    backups: Backups, tmp_path: Path
) -> None:
    """OPS-13: a database started under a changed issuer refuses what the original issued, and holds what goes out."""
    scope, credential = await _begun(backups)
    copied = msgspec.structs.replace(backups.config, issuer="https://staging.example.com")
    async with node_of(copied) as node:
        assert (node.incarnation.begun_now, node.incarnation.held) == ("copied", True)
        await _refused(node, scope, credential)
    stranger = msgspec.structs.replace(backups.config, state=str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(Unsafe, match="never seen this database"):
        async with node_of(stranger):
            pass


async def test_a_node_refuses_the_database_of_another_deployment(backups: Backups, tmp_path: Path) -> None:
    other = asyncio.create_task(deployed(sqlite_database(_folder(tmp_path / "other")), tmp_path / "other" / "state"))
    config = msgspec.structs.replace(await other, state=backups.config.state)
    with pytest.raises(Unsafe, match="another deployment"):
        async with node_of(config):
            pass
    async with node_of(backups.config) as node:
        assert node.incarnation.number == 1


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


async def test_aud_13_what_was_erased_since_the_backup_is_erased_again_before_anybody_is_answered(
    backups: Backups,
) -> None:
    """AUD-13: the destruction list, outside the database, is applied to a restored one: persons and organizations."""
    async with node_of(backups.config) as node:
        acme, globex = await open_organization(node), await open_organization(node)
        entry = node.ids.new("ledger")
        async with acme.begin() as w:
            ledger.add_entry(w, entry, "cash", 1, payer="Alice Aachen")
        await node.keyring.data_key(globex.id)
        await acme.checkpointed()
    backups.take()
    async with node_of(backups.config) as node:
        await log.erase_person(node.journal, acme.scope, SYSTEM, entry)
        async with _at(node, globex.scope).begin() as w:
            node.keyring.destroy(w)
    backups.restore()
    async with node_of(backups.config) as node:
        rows = await _at(node, acme.scope).reads.all(LEAF_ROWS, first=0, most=1_000)
        assert [row.personal for row in rows if row.personal] == []
        assert await _at(node, globex.scope).reads.all(DATA_KEYS_OF) == []


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_ops_08_a_promoted_standby_that_lost_commits_stops_the_nodes_and_begins_another_life(
    backups: Backups,
) -> None:
    """OPS-08: a running node sees the other timeline, says yes no more and ends; its next start begins a new incarnation."""
    scope, credential = await _begun(backups)
    async with node_of(backups.config) as node:
        cut_at = await _at(node, scope).cut("user_1")
        while node.following.applied(scope.org) < cut_at:
            await node.engine.changed(0.01)
        await asyncio.to_thread(backups.promote)
        await asyncio.wait_for(node.ended.wait(), 15)
        with pytest.raises((Ended, Stale, Unavailable)):
            await node.cuts.check(credential)
    async with node_of(backups.config) as node:
        assert (node.incarnation.number, node.incarnation.begun_now) == (2, "restored")
        await _refused(node, scope, credential)


async def test_a_configuration_needs_no_more_than_a_database_and_a_state(tmp_path: Path) -> None:
    config = configured(sqlite_database(tmp_path), tmp_path / "state")
    with pytest.raises(Unsafe, match="no database"):
        async with node_of(config):
            pass
