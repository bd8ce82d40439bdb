"""A database that is not the one it was: restored, copied, promoted, of another deployment. What was issued before is refused."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.app.setup import set_up
from tenantry.app.visit import visit
from tenantry.audit import log
from tenantry.audit.checkpoint import Checkpoint, open_checkpoint
from tenantry.audit.merkle import verify_consistency
from tenantry.audit.note import parse_vkey
from tenantry.audit.proof import ProofFailed
from tenantry.audit.verify import verify_export
from tenantry.cli.demo import ledger
from tenantry.cli.demo.cluster import Cluster
from tenantry.core.clock import SystemClock
from tenantry.core.errors import Ended, TenantryError, Unsafe
from tenantry.core.principal import SYSTEM, Principal
from tenantry.core.scopes import of_platform
from tenantry.journal import confirm, foresee
from tenantry.journal.incarnation import NothingHeld
from tenantry.keys.schema import DATA_KEYS_OF
from tenantry.store import Database, open_store
from tests.faults.storage import until
from tests.faults.whole import StoredOf, in_postgres, in_sqlite
from tests.stand.copies import caught_up, copy_data, cut_off, promote, put_back, receives, standby_of
from tests.stand.databases import postgres_database, sqlite_database
from tests.stand.nodes import ALL_ROOMS, deployed, node_of
from tests.stand.organizations import Organization, open_organization
from tests.stand.wire import Wire


class Place(msgspec.Struct, frozen=True, eq=False):
    """Where a deployment's data lies, and how an operator backs it up and copies it. Nothing may have it open."""

    database: Database
    stored: StoredOf
    back_up: Callable[[], object]
    restore: Callable[[], object]
    clone: Callable[[], Database]


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[Cluster]:
    """A PostgreSQL whose data these tests replace."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
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
    cluster: Cluster = request.getfixturevalue("own_cluster")
    name = f"lives_{tmp_path.name}"[:60]
    backup = cluster.directory / "backup"

    def stopped(work: Callable[[Cluster, Path], None]) -> Callable[[], None]:
        def run() -> None:
            cluster.stop()
            work(cluster, backup)
            cluster.start()

        return run

    def clone_database() -> Database:
        copy = postgres_database(cluster, f"{name}_copy")
        with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}_copy"'.encode())
            connection.execute(f'CREATE DATABASE "{name}_copy" TEMPLATE "{name}" OWNER tenantry_migrator'.encode())
        return copy

    return Place(
        postgres_database(cluster, name),
        in_postgres(cluster.conninfo(name)),
        back_up=stopped(copy_data),
        restore=stopped(put_back),
        clone=clone_database,
    )


async def _refused(node: Node, acme: Organization, credential: Principal) -> None:
    """Neither asked nor used does a credential of an older life live."""
    with pytest.raises(Ended):
        await node.cuts.check(credential)
    before = await acme.holdings()
    with pytest.raises(Ended):
        await acme.spend("voucher of an older life", credential)
    assert await acme.holdings() == before


async def _nothing(_: Node, __: Organization) -> None:
    pass


async def _with_acme(config: Config, work: Callable[[Node, Organization], Awaitable[None]]) -> Organization:
    async with node_of(config) as node:
        acme = await open_organization(node)
        await work(node, acme)
        return acme


def _begun(event: dict[str, Any], reason: str) -> bool:
    return event["type"] == "incarnation.begun" and event["data"]["reason"] == reason


async def test_ops_12_nothing_issued_before_a_restore_works_after_it(place: Place, tmp_path: Path) -> None:
    """OPS-12: yesterday's copy put back begins a new incarnation, in which old credentials are dead and the log goes on."""
    config = await deployed(place.database, tmp_path / "state")
    credentials: list[Principal] = []

    async def issue(_: Node, acme: Organization) -> None:
        credentials.append(await acme.issue("user_a"))
        credentials.append(await acme.issue("user_b"))
        await acme.add_entry()

    acme = await _with_acme(config, issue)
    place.back_up()
    async with node_of(config) as node:
        later = Organization(node, acme.scope)
        await node.cuts.check(credentials[0])
        await later.cut("user_b")
        credentials.append(await later.issue("user_a"))
        for _ in range(3):
            await later.add_entry()
        gone = await later.holdings()
    place.restore()
    async with node_of(config) as node:
        restored = Organization(node, acme.scope)
        assert (node.incarnation.begun_now, node.incarnation.number, node.pulse.held) == ("restored", 2, True)
        for credential in credentials:
            await _refused(node, restored, credential)
        told = [event for event in (await restored.holdings()).events() if _begun(event, "restored")]
        assert [event["data"]["seen_revision"] for event in told] == [gone.head.rev]
        await node.cuts.check(await restored.issue("user_a"))
        await restored.add_entry()
        await restored.checkpointed()
        await restored.export(tmp_path / "out")
    assert verify_export(tmp_path / "out").org == acme.id
    place.stored(acme.id).check()
    newcomer = await _with_acme(config, issue)
    async with node_of(config) as node:
        assert (node.incarnation.begun_now, node.incarnation.number) == ("", 2)
        events = (await Organization(node, newcomer.scope).holdings()).events()
        assert not any(_begun(event, "restored") for event in events)


async def test_aud_05_a_log_put_back_says_so_in_its_next_leaf(place: Place, tmp_path: Path) -> None:
    """AUD-05: the first leaf after the restored ones is `incarnation.begun`, in every log, and names what had been seen."""
    config = await deployed(place.database, tmp_path / "state")

    async def write(_: Node, acme: Organization) -> None:
        await acme.add_entry()

    acme = await _with_acme(config, write)
    globex = await _with_acme(config, write)
    place.back_up()
    async with node_of(config) as node:
        await Organization(node, acme.scope).add_entry()
        leaves = (await Organization(node, globex.scope).holdings()).head.leaves
    place.restore()
    async with node_of(config) as node:
        for organization in (acme, globex):
            events = (await Organization(node, organization.scope).holdings()).events()
            assert _begun(events[leaves], "restored")
            assert events[leaves]["data"]["last_leaves"] == leaves


async def test_aud_05_whoever_holds_a_checkpoint_of_what_a_restore_took_back_finds_it_out(
    place: Place, tmp_path: Path
) -> None:
    """AUD-05: the log that goes on after a restore verifies by itself and against the backup, not against what came between."""
    config = await deployed(place.database, tmp_path / "state")
    kept: list[bytes] = []

    async def write(_: Node, acme: Organization) -> None:
        await acme.add_entry()
        kept.append((await acme.checkpointed()).note)

    acme = await _with_acme(config, write)
    place.back_up()
    async with node_of(config) as node:
        await write(node, Organization(node, acme.scope))
    place.restore()
    async with node_of(config) as node:
        restored = Organization(node, acme.scope)
        for out in ("as long", "longer"):
            await restored.checkpointed()
            await restored.export(tmp_path / out)
    before, between = kept
    for out in ("as long", "longer"):
        assert verify_export(tmp_path / out, against=before).held == 2
        with pytest.raises(ProofFailed) as found:
            verify_export(tmp_path / out, against=between)
        assert found.value.kind == "consistency"


async def test_aud_06_a_fork_of_the_database_is_proved_by_two_checkpoints_and_refused_by_a_witness(
    place: Place, tmp_path: Path
) -> None:
    """AUD-06: original and copy sign one size with another root: both notes are the log's own, and no proof joins them."""
    original = await deployed(place.database, tmp_path / "state")
    first: list[bytes] = []

    async def write(_: Node, acme: Organization) -> None:
        first.append((await acme.checkpointed()).note)

    acme = await _with_acme(original, write)
    copy = await deployed(place.clone(), tmp_path / "state_of_copy")
    signed: list[Checkpoint] = []
    for config in (original, copy):
        async with node_of(config) as node:
            there = Organization(node, acme.scope)
            while (await node.journal.head(acme.scope)).leaves < 3:
                await there.add_member(node.ids.new("ledger"))
            note = (await there.checkpointed()).note
            keys = [parse_vkey(key.vkey) for key in await node.checkpoint_keys.published(acme.id)]
            seen, new = (open_checkpoint(each, keys)[0] for each in (first[0], note))
            verify_consistency(
                seen.size, new.size, await log.prove_consistency(there.reads, seen.size, new.size), seen.root, new.root
            )
            signed.append(new)
    here, fork = signed
    assert (here.origin, here.size) == (fork.origin, fork.size)
    assert here.root != fork.root
    with pytest.raises(ProofFailed):
        verify_consistency(here.size, fork.size, [], here.root, fork.root)


async def test_ops_13_a_copy_under_another_issuer_is_another_life(place: Place, tmp_path: Path) -> None:
    """OPS-13: production started as staging: all outbound is held, and neither accepts what the other issues."""
    production = await deployed(place.database, tmp_path / "state")
    issued: list[Principal] = []

    async def issue(_: Node, acme: Organization) -> None:
        issued.append(await acme.issue("user_a"))

    acme = await _with_acme(production, issue)
    staging = await deployed(place.clone(), tmp_path / "state_of_staging", issuer="https://staging.example.com")
    async with node_of(staging) as node:
        assert (node.incarnation.begun_now, node.pulse.held) == ("copied", True)
        there = Organization(node, acme.scope)
        await _refused(node, there, issued[0])
        issued.append(await there.issue("user_a"))
    async with node_of(production) as node:
        assert (node.incarnation.begun_now, node.incarnation.number) == ("", 1)
        await node.cuts.check(issued[0])
        await _refused(node, Organization(node, acme.scope), issued[1])


async def test_ops_13_what_is_sent_out_waits_for_an_operators_word(place: Place, tmp_path: Path) -> None:
    """OPS-13: on every node and at every start of the new life until it is confirmed, once; then on none."""
    production = await deployed(place.database, tmp_path / "state")
    async with node_of(production) as node:
        assert not node.pulse.held
    staging = msgspec.structs.replace(production, issuer="https://staging.example.com")
    for _ in range(2):
        async with node_of(staging) as node:
            assert node.pulse.held
    second = msgspec.structs.replace(staging, state=str(tmp_path / "state_of_second"))
    await set_up(second, rooms=ALL_ROOMS)
    async with AsyncExitStack() as running:
        meanwhile = (staging, second) if place.database.urls else ()  # on SQLite the command has the file to itself
        nodes = [await running.enter_async_context(node_of(config)) for config in meanwhile]
        assert all(node.pulse.held for node in nodes)
        assert await _confirm(staging) == 2
        with pytest.raises(NothingHeld):
            await _confirm(second)

        async def released() -> bool:
            return not any(node.pulse.held for node in nodes)

        await until(released, 1, "every running node heard that it was confirmed")
    for config in (staging, second):
        async with node_of(config) as node:
            assert not node.pulse.held
            told = [event["type"] for event in (await Organization(node, of_platform()).holdings()).events()]
            assert told.count("incarnation.confirmed") == 1


async def _confirm(config: Config) -> int:
    async with visit(config) as guest:
        return await confirm(guest.engine, guest.journal, guest.duties, guest.clock)


@pytest.mark.parametrize("state", ["copied", "joined"])
async def test_a_copy_beside_its_original_is_another_life_under_the_same_issuer(
    place: Place, tmp_path: Path, state: str
) -> None:
    original = await deployed(place.database, tmp_path / "state")
    issued: list[Principal] = []

    async def issue(_: Node, acme: Organization) -> None:
        issued.append(await acme.issue("user_a"))

    acme = await _with_acme(original, issue)
    if state == "copied":
        shutil.copytree(tmp_path / "state", tmp_path / "state_of_copy")
    copy = await deployed(place.clone(), tmp_path / "state_of_copy")
    async with node_of(copy) as node:
        assert (node.incarnation.begun_now, node.incarnation.number, node.pulse.held) == ("moved", 2, True)
        there = Organization(node, acme.scope)
        await _refused(node, there, issued[0])
        issued.append(await there.issue("user_a"))
    async with node_of(copy) as node:
        assert node.incarnation.begun_now == ""
        await node.cuts.check(issued[1])
    async with node_of(original) as node:
        assert (node.incarnation.begun_now, node.incarnation.number, node.pulse.held) == ("", 1, False)
        await node.cuts.check(issued[0])
        await _refused(node, Organization(node, acme.scope), issued[1])


async def test_the_state_directory_of_another_deployment_is_refused(place: Place, tmp_path: Path) -> None:
    ours = await deployed(place.database, tmp_path / "state")
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    await deployed(sqlite_database(other_folder), tmp_path / "state_of_other")
    async with node_of(ours):
        pass
    with pytest.raises(Unsafe, match="another deployment"):
        async with node_of(msgspec.structs.replace(ours, state=str(tmp_path / "state_of_other"))):
            pass


async def test_ops_08_a_promoted_standby_that_lost_commits_begins_a_new_life(tmp_path: Path) -> None:
    """OPS-08: nodes see the other timeline and stop; the next start says what was lost, and nothing issued before works."""
    with Cluster() as primary:
        config = await deployed(postgres_database(primary, "promoted"), tmp_path / "state")
        with standby_of(primary) as standby:
            async with Wire(primary.directory, tmp_path / "line") as wire:
                through = wire.through(config)
                async with node_of(through) as node:
                    acme = await open_organization(node)
                    credential = await acme.issue("user_a")
                    await acme.add_entry()

                    async def all_there() -> bool:
                        return caught_up(primary, standby)

                    await until(all_there, 20, "the standby has everything")
                    cut_off(standby)

                    async def alone() -> bool:
                        return not receives(standby)

                    await until(alone, 10, "the standby receives nothing more")
                    lost = await acme.cut("user_a")
                    with pytest.raises(Ended):
                        await acme.spend("a voucher", credential)

                    async def marked() -> bool:
                        return b'"rev":%d' % lost in (tmp_path / "state" / "mark.json").read_bytes()

                    await until(marked, 5, "the mark names the cut")
                    primary.kill()
                    promote(standby)
                    wire.lead_to(standby.directory)
                    await asyncio.wait_for(node.ended.wait(), 5)
                    with pytest.raises(TenantryError):
                        await node.cuts.check(credential)
                async with node_of(through) as node:
                    assert (node.incarnation.begun_now, node.incarnation.number) == ("rewound", 2)
                    survivor = Organization(node, acme.scope)
                    await _refused(node, survivor, credential)
                    told = [event for event in (await survivor.holdings()).events() if _begun(event, "rewound")]
                    assert [event["data"]["seen_revision"] for event in told] == [lost]
                in_postgres(standby.conninfo("promoted"))(acme.id).check()
        primary.start()


@pytest.mark.parametrize(("standbys", "reason"), [("", "rewound"), ("another", "")])
async def test_ops_08_a_promoted_standby_goes_on_in_the_same_life_only_if_it_was_synchronous(
    tmp_path: Path, standbys: str, reason: str
) -> None:
    """OPS-08: another timeline without a loss that this node knows of: what an asynchronous one lost nobody can know."""
    with Cluster() as primary:
        config = await deployed(postgres_database(primary, "promoted"), tmp_path / "state")
        with standby_of(primary) as standby:
            await _with_acme(config, _nothing)

            async def all_there() -> bool:
                return caught_up(primary, standby)

            await until(all_there, 20, "the standby has everything")
            with psycopg.connect(standby.conninfo(), autocommit=True) as connection:
                connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{standbys}'".encode())
                connection.execute("SELECT pg_reload_conf()")
            primary.stop()
            promote(standby)
            async with Wire(standby.directory, tmp_path / "line") as wire:
                where = wire.through(config).where()
                engine = await open_store(where, ALL_ROOMS, SystemClock(), development=True, on_broken=lambda: None)
                assert await foresee(engine, tmp_path / "state", config.issuer) == reason
                await engine.close()
        primary.start()


async def test_aud_13_what_was_erased_since_the_backup_is_erased_again_before_anybody_is_answered(
    place: Place, tmp_path: Path
) -> None:
    """AUD-13: the destruction list, outside the database, is applied to a restored one: persons and organizations."""
    config = await deployed(place.database, tmp_path / "state")
    async with node_of(config) as node:
        acme, globex = await open_organization(node), await open_organization(node)
        entry = node.ids.new("ledger")
        async with acme.begin() as w:
            ledger.add_entry(w, entry, "cash", 1, payer="Alice Aachen")
        await node.keyring.data_key(globex.id)
        await acme.checkpointed()
    place.back_up()
    async with node_of(config) as node:
        await log.erase_person(node.journal, acme.scope, SYSTEM, entry)
        async with Organization(node, globex.scope).begin() as w:
            node.keyring.destroy(w)
    place.restore()
    async with node_of(config) as node:
        leaves = (await Organization(node, acme.scope).holdings()).leaves
        assert [leaf.personal for leaf in leaves if leaf.personal] == []
        assert await Organization(node, globex.scope).reads.all(DATA_KEYS_OF) == []
