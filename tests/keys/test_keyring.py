"""Keys in the database: one line for all nodes, rotated, rolled back, cut, shredded, wrapped anew."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.cli.demo import ledger
from tenantry.core.errors import NotFound, Unsafe
from tenantry.core.ids import PLATFORM
from tenantry.core.principal import SYSTEM
from tenantry.keys.envelope import Aad, open_, seal
from tenantry.keys.keyring import KeyEnded, Keyring, KeysDestroyed
from tenantry.keys.root import LocalRootKey, WrongRootKey
from tenantry.keys.rotation import PUBLISH_AHEAD_MS, RotationUnderWay, verification_key
from tenantry.keys.schema import DATA_KEYS_OF
from tenantry.keys.signing import Algorithm, KeyRetired, Purpose, Use
from tests.stand.clock import ManualClock
from tests.stand.nodes import node_of
from tests.stand.organizations import Organization, open_organization

RECEIPTS = Use(Purpose.RECEIPT, "https://id.example.com", PLATFORM)
ES256 = Algorithm.ES256


async def test_all_tasks_that_need_the_first_key_get_the_same_one(node: Node, acme: Organization) -> None:
    use = Use(Purpose.ACCESS_TOKEN, "https://id.example.com", acme.id)
    keys = await asyncio.gather(*(node.keyring.signing(use, ES256) for _ in range(20)))
    assert len({key.public.id for key in keys}) == 1
    assert len(await node.keyring.public(use, ES256)) == 1


async def test_ops_15_rotation_publishes_first_signs_later_and_verifies_throughout(
    fresh: Config, clock: ManualClock
) -> None:
    """OPS-15: the next key is published before its first use, the old one verifies on, and a second rotation waits."""
    async with node_of(fresh, clock=clock) as node:
        ring = node.keyring
        old = await ring.signing(RECEIPTS, ES256)
        await ring.rotate(RECEIPTS, ES256, SYSTEM)
        with pytest.raises(RotationUnderWay):
            await ring.rotate(RECEIPTS, ES256, SYSTEM)
        assert (await ring.signing(RECEIPTS, ES256)).public.id == old.public.id
        clock.advance(PUBLISH_AHEAD_MS)
        new = await ring.signing(RECEIPTS, ES256)
        assert new.public.id != old.public.id
        published = [key for key, _ in await ring.public(RECEIPTS, ES256)]
        for key in (old, new):
            found = verification_key(published, key.public.kid(), RECEIPTS, clock.now_ms())
            assert found.id == key.public.id
        while (
            node.pulse.sequenced_until_ms or 0
        ) < clock.now_ms():  # an hour went by: the duty is taken up again first
            await node.engine.changed(0.01)
        await ring.roll_back(RECEIPTS, ES256, SYSTEM)
        assert (await ring.signing(RECEIPTS, ES256)).public.id == old.public.id


async def test_two_nodes_that_rotate_at_once_publish_one_key(node: Node, acme: Organization) -> None:
    use = Use(Purpose.ACCESS_TOKEN, "https://id.example.com", acme.id)
    await node.keyring.signing(use, ES256)
    both = (node.keyring.rotate(use, ES256, SYSTEM) for _ in range(2))
    outcomes = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", "RotationUnderWay"]
    assert len(await node.keyring.public(use, ES256)) == 2


async def test_a_cut_key_signs_no_more_and_the_line_gets_another(node: Node, acme: Organization) -> None:
    use = Use(Purpose.RECEIPT, "https://id.example.com", acme.id)
    leaked = (await node.keyring.signing(use, ES256)).public
    await node.keyring.cut(use, ES256, leaked.id, SYSTEM, "seen in a log")
    with pytest.raises(KeyEnded):
        await node.keyring.cut(use, ES256, leaked.id, SYSTEM, "again")
    with pytest.raises(NotFound):
        await node.keyring.cut(use, ES256, node.ids.new("key"), SYSTEM, "no such key")
    assert (await node.keyring.signing(use, ES256)).public.id != leaked.id
    cut_at = {key.id: at for key, at in await node.keyring.public(use, ES256)}
    assert cut_at[leaked.id] is not None
    assert leaked.id in (await acme.holdings()).changes[-2].cut_ids()


async def test_what_a_destroyed_organization_sealed_cannot_be_opened_any_more(node: Node, acme: Organization) -> None:
    place = Aad("test", 1, acme.id, "secrets", "value", "row_1")
    sealed = seal(await node.keyring.data_key(acme.id), b"a seed", place)
    assert open_(await node.keyring.data_key(acme.id), sealed, place) == b"a seed"
    async with acme.begin() as w:
        node.keyring.destroy(w)
    assert await acme.reads.all(DATA_KEYS_OF) == []
    with pytest.raises(KeysDestroyed):
        await node.keyring.data_key(acme.id)


async def test_data_keys_move_to_another_root_key_and_the_old_one_opens_nothing(node: Node, acme: Organization) -> None:
    await node.keyring.data_key(acme.id)
    fresh_root = LocalRootKey(bytes(reversed(range(32))))
    assert await node.keyring.rewrap(_only(acme.id), fresh_root, SYSTEM) == 1
    assert await node.keyring.rewrap(_only(acme.id), fresh_root, SYSTEM) == 0
    moved = Keyring(node.journal, node.clock, node.ids, fresh_root)
    assert (await moved.data_key(acme.id)).version == 1
    stale = Keyring(node.journal, node.clock, node.ids, LocalRootKey(bytes(range(32))))
    with pytest.raises(WrongRootKey):
        await stale.data_key(acme.id)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
async def test_sup_15_a_stolen_file_without_the_root_key_holds_no_key_in_the_clear(fresh: Config) -> None:
    """SUP-15: neither a data key nor what it seals is in the file or its log, plain, hex or base64; with the root key it opens."""
    async with node_of(fresh) as node:
        acme = await open_organization(node)
        data_key = await node.keyring.data_key(acme.id)
        place = Aad("test", 1, acme.id, "secrets", "value", "row_1")
        sealed = seal(data_key, b"a seed of a TOTP", place)
        async with acme.begin() as w:
            ledger.add_member(w, base64.b64encode(sealed).decode())
        stolen = b"".join(file.read_bytes() for file in Path(fresh.database.file).parent.glob("tenantry.db*"))
        assert base64.b64encode(sealed) in stolen
        for secret in (data_key.reveal(), b"a seed of a TOTP"):
            assert not any(form in stolen for form in (secret, secret.hex().encode(), base64.b64encode(secret)))
        with pytest.raises(WrongRootKey):
            await Keyring(node.journal, node.clock, node.ids, LocalRootKey(bytes(32))).data_key(acme.id)
        right = Keyring(node.journal, node.clock, node.ids, LocalRootKey(bytes(range(32))))
        assert open_(await right.data_key(acme.id), sealed, place) == b"a seed of a TOTP"


async def _only(org: str) -> AsyncIterator[str]:
    yield org


async def test_ops_14_a_node_with_another_root_key_does_not_start(
    fresh: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OPS-14: a wrong or missing root key is one clear sentence at start; the right one starts."""
    async with node_of(fresh) as node:
        await node.keyring.signing(RECEIPTS, ES256)
    monkeypatch.setenv("TENANTRY_ROOT_KEY", "B" * 42 + "A")
    with pytest.raises(WrongRootKey, match="wrapped under root key"):
        async with node_of(fresh):
            pass
    monkeypatch.delenv("TENANTRY_ROOT_KEY")
    with pytest.raises(Unsafe, match="root key"):
        async with node_of(fresh):
            pass
    monkeypatch.undo()
    async with node_of(fresh) as node:
        await node.keyring.signing(RECEIPTS, ES256)


async def test_a_key_signs_only_in_its_time(fresh: Config, clock: ManualClock) -> None:
    async with node_of(fresh, clock=clock) as node:
        key = await node.keyring.signing(RECEIPTS, ES256)
        signature = key.sign(b"receipt", RECEIPTS, clock.now_ms())
        assert key.public.verify(b"receipt", signature, RECEIPTS, clock.now_ms()) == b"receipt"
        with pytest.raises(KeyRetired):
            key.sign(b"receipt", RECEIPTS, key.public.schedule.active_at_ms - 1)
