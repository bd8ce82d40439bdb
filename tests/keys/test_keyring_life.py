"""What becomes of a deployment's keys over time: newer data keys, destruction, cuts and roll-backs in mid-rotation, restarts, restores."""

import asyncio
import shutil
from pathlib import Path

import pytest

from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.cli.demo import ledger
from tenantry.core import scopes
from tenantry.core.principal import SYSTEM
from tenantry.keys.envelope import Aad, open_, seal
from tenantry.keys.keyring import Keyring, KeysDestroyed
from tenantry.keys.root import LocalRootKey
from tenantry.keys.rotation import PUBLISH_AHEAD_MS
from tenantry.keys.schema import DATA_KEYS_OF
from tenantry.keys.signing import Algorithm, Purpose, Use
from tests.stand.clock import ManualClock
from tests.stand.databases import sqlite_database
from tests.stand.nodes import deployed, node_of
from tests.stand.organizations import Organization, on, open_organization

ES256 = Algorithm.ES256


def receipts(organization: Organization) -> Use:
    return Use(Purpose.RECEIPT, "https://id.example.com", organization.id)


def place(organization: Organization) -> Aad:
    return Aad("test", 1, organization.id, "secrets", "value", "row_1")


async def test_all_tasks_that_need_the_first_data_key_get_the_same_one(node: Node, acme: Organization) -> None:
    keys = await asyncio.gather(*(node.keyring.data_key(acme.id) for _ in range(20)))
    assert len({key.reveal() for key in keys}) == 1
    assert len(await acme.reads.all(DATA_KEYS_OF)) == 1


async def test_the_set_that_founds_an_organization_brings_its_data_key(node: Node) -> None:
    fresh = Organization(node, scopes.of_job(node.ids.new("org")))
    async with fresh.begin() as w:
        ledger.open_ledger(w)
        brought = await node.keyring.found(w)
    assert (await node.keyring.data_key(fresh.id)).reveal() == brought.reveal()


async def test_a_newer_data_key_seals_and_the_older_one_still_opens(node: Node, acme: Organization) -> None:
    old = await node.keyring.data_key(acme.id)
    signing = await node.keyring.signing(receipts(acme), ES256)
    both = await asyncio.gather(*(node.keyring.rotate_data_key(acme.id, SYSTEM) for _ in range(2)))
    assert sorted(key.version for key in both) == [2, 3]
    assert (await node.keyring.data_key(acme.id)).version == 3
    restarted = Keyring(node.journal, node.clock, node.ids, LocalRootKey(bytes(range(32))))
    assert (await restarted.signing(receipts(acme), ES256)).public == signing.public
    assert (await acme.reads.all(DATA_KEYS_OF))[0].version == old.version


async def test_a_destroyed_organization_neither_signs_nor_gets_new_keys(node: Node, acme: Organization) -> None:
    await node.keyring.signing(receipts(acme), ES256)
    async with acme.begin() as w:
        node.keyring.destroy(w)
    with pytest.raises(KeysDestroyed):
        await node.keyring.data_key(acme.id)
    with pytest.raises(KeysDestroyed):
        await node.keyring.rotate_data_key(acme.id, SYSTEM)
    with pytest.raises(KeysDestroyed):
        await node.keyring.signing(receipts(acme), ES256)


async def test_a_destroyed_organization_cannot_be_opened_after_a_restart_even_with_its_old_row(fresh: Config) -> None:
    async with node_of(fresh) as node:
        doomed, kept = await open_organization(node), await open_organization(node)
        sealed = {one.id: seal(await node.keyring.data_key(one.id), b"a seed", place(one)) for one in (doomed, kept)}
        async with doomed.begin() as w:
            node.keyring.destroy(w)
    async with node_of(fresh) as node:
        data_key = await node.keyring.data_key(kept.id)
        assert open_(data_key, sealed[kept.id], place(kept)) == b"a seed"
        with pytest.raises(KeysDestroyed):
            await node.keyring.data_key(doomed.id)


async def test_a_rolled_back_key_signs_on_past_the_end_that_was_planned_for_it(
    fresh: Config, clock: ManualClock
) -> None:
    async with node_of(fresh, clock=clock) as node:
        acme = await open_organization(node)
        use = receipts(acme)
        await node.keyring.public(use, ES256)
        await node.keyring.rotate(use, ES256, SYSTEM)
        old = await node.keyring.signing(use, ES256)  # opened while its end is planned
        await node.keyring.roll_back(use, ES256, SYSTEM)
        clock.advance(PUBLISH_AHEAD_MS)
        again = await node.keyring.signing(use, ES256)
        assert again.public.id == old.public.id
        assert again.sign(b"receipt", use, clock.now_ms())


async def test_a_key_cut_in_mid_rotation_is_followed_at_once_by_the_one_that_waits(
    node: Node, acme: Organization
) -> None:
    use = receipts(acme)
    leaked = (await node.keyring.signing(use, ES256)).public
    await node.keyring.rotate(use, ES256, SYSTEM)
    waiting = [key.id for key, _ in await node.keyring.public(use, ES256) if key.id != leaked.id]
    await node.keyring.cut(use, ES256, leaked.id, SYSTEM, "seen in a log")
    assert [(await node.keyring.signing(use, ES256)).public.id] == waiting


async def test_a_key_cut_after_a_roll_back_is_followed_at_once_by_a_new_one(fresh: Config, clock: ManualClock) -> None:
    async with node_of(fresh, clock=clock) as node:
        use = receipts(await open_organization(node))
        old = (await node.keyring.signing(use, ES256)).public.id
        await node.keyring.rotate(use, ES256, SYSTEM)
        clock.advance(PUBLISH_AHEAD_MS)
        await _sequenced_again(node)
        tried = (await node.keyring.signing(use, ES256)).public.id
        await node.keyring.roll_back(use, ES256, SYSTEM)
        await node.keyring.cut(use, ES256, old, SYSTEM, "seen in a log")
        assert (await node.keyring.signing(use, ES256)).public.id not in (old, tried)


async def test_all_data_keys_move_to_another_root_key_a_set_each_and_a_second_run_finds_none(
    fresh: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"
    async with node_of(fresh) as node:
        one, two = await open_organization(node), await open_organization(node)
        sealed = seal(await node.keyring.data_key(one.id), b"a seed", place(one))
        await node.keyring.data_key(two.id)
        await one.checkpointed()  # the platform's own data key is there too
        await node.keyring.rewrap(node.journal.organizations(), root := LocalRootKey(b"\x01" * 32), SYSTEM)
        assert await node.keyring.rewrap(node.journal.organizations(), root, SYSTEM) == 0
    monkeypatch.setenv("TENANTRY_ROOT_KEY", other)
    async with node_of(fresh) as node:
        assert open_(await node.keyring.data_key(one.id), sealed, place(one)) == b"a seed"
        assert (await node.keyring.data_key(two.id)).version == 1


async def test_a_backup_from_before_a_destroyed_organization_was_founded_starts(tmp_path: Path) -> None:
    database = sqlite_database(tmp_path)
    config = await deployed(database, tmp_path / "state")
    assert database.file is not None
    shutil.copy2(database.file, tmp_path / "backup")
    async with node_of(config) as node:
        doomed = await open_organization(node)
        await node.keyring.data_key(doomed.id)
        async with doomed.begin() as w:
            node.keyring.destroy(w)
    _put_back(tmp_path / "backup", database.file)
    async with node_of(config) as node:
        assert node.incarnation.number == 2
        assert await on(node, doomed).reads.all(DATA_KEYS_OF) == []


async def _sequenced_again(node: Node) -> None:
    """After an hour went by at once, the duty is taken up again before anything can be recorded."""
    while (node.pulse.sequenced_until_ms or 0) < node.clock.now_ms():
        await node.engine.changed(0.01)


def _put_back(backup: Path, file: Path) -> None:
    for suffix in ("-wal", "-shm"):
        Path(f"{file}{suffix}").unlink(missing_ok=True)
    shutil.copy2(backup, file)
