"""Data keys in use while the root key is away: for a stated time, then no more."""

import asyncio

import pytest

from tenantry.keys.aead import Damaged
from tenantry.keys.envelope import DataKey, wrap_data_key
from tenantry.keys.root import LocalRootKey, RootKeyUnreachable
from tenantry.keys.unwrapped import FRESH_MS, KEPT_MAX, RETRY_AFTER_MS, USABLE_MS, UnwrappedKeys

ACME = "org_01JDNQ3W4RZ0H6V8XK5T2C7M9E"


class TestClock:
    __test__ = False

    def __init__(self) -> None:
        self.at_ms = 1_000_000

    def now_ms(self) -> int:
        return self.at_ms

    def boottime(self) -> float:
        return self.at_ms / 1000


class Kms:
    """A KMS at the end of a network: counts its questions, and can be away."""

    def __init__(self) -> None:
        self._inner = LocalRootKey(bytes(range(32)))
        self.id = self._inner.id
        self.away = False
        self.silent = False
        self.taken = asyncio.Event()
        self.asked = 0

    async def wrap(self, plaintext: bytes, aad: bytes) -> bytes:
        return await self._inner.wrap(plaintext, aad)

    async def unwrap(self, wrapped: bytes, aad: bytes) -> bytes:
        self.asked += 1
        await asyncio.sleep(0)
        if self.silent:
            self.taken.set()
            await asyncio.Future()
        if self.away:
            raise RootKeyUnreachable("The KMS is away.")
        return await self._inner.unwrap(wrapped, aad)


class Node:
    def __init__(self, wrapped: bytes, kms: Kms) -> None:
        self.kms = kms
        self.clock = TestClock()
        self.keys = UnwrappedKeys(kms, self.clock)
        self.wrapped = wrapped

    async def use(self) -> DataKey:
        return await self.keys.get(ACME, 1, self.wrapped)


@pytest.fixture
async def node() -> Node:
    kms = Kms()
    return Node(await wrap_data_key(kms, DataKey.generate(ACME, 1)), kms)


async def test_a_fresh_key_asks_the_root_key_once(node: Node) -> None:
    await node.use()
    node.clock.at_ms += FRESH_MS - 1
    await node.use()
    assert node.kms.asked == 1
    node.clock.at_ms += 1
    await node.use()
    assert node.kms.asked == 2


async def test_many_callers_at_once_share_one_question(node: Node) -> None:
    keys = await asyncio.gather(*(node.use() for _ in range(20)))
    assert node.kms.asked == 1
    assert len({key.reveal() for key in keys}) == 1


async def test_ops_14_a_running_node_uses_an_unwrapped_key_for_its_stated_time_and_then_refuses(node: Node) -> None:
    """OPS-14: while the KMS refuses, a key is used until `USABLE_MS` after its unwrap, and not a millisecond longer."""
    await node.use()
    node.kms.away = True
    node.clock.at_ms += USABLE_MS - 1
    await node.use()
    node.clock.at_ms += 1
    with pytest.raises(RootKeyUnreachable):
        await node.use()
    node.kms.away = False
    node.clock.at_ms += RETRY_AFTER_MS
    await node.use()


async def test_ops_14_an_absent_kms_is_not_asked_by_every_caller(node: Node) -> None:
    """OPS-14: between two tries callers are answered at once, with the usable key or the refusal."""
    await node.use()
    node.kms.away = True
    node.clock.at_ms += FRESH_MS
    for _ in range(5):
        await node.use()
    assert node.kms.asked == 2
    node.clock.at_ms += USABLE_MS
    for _ in range(5):
        with pytest.raises(RootKeyUnreachable):
            await node.use()
    assert node.kms.asked == 3


async def test_ops_14_a_silent_kms_holds_up_one_caller_and_not_the_others(node: Node) -> None:
    """OPS-14: while one caller waits for a slow KMS, the usable key serves the rest at once."""
    kept = await node.use()
    node.kms.silent = True
    node.clock.at_ms += FRESH_MS
    waiting = asyncio.ensure_future(node.use())
    await node.kms.taken.wait()
    async with asyncio.timeout(1):
        assert await node.use() is kept
    assert not waiting.done()
    waiting.cancel()


async def test_ops_14_a_node_that_starts_without_its_kms_has_no_key(node: Node) -> None:
    """OPS-14: with nothing unwrapped and the KMS away the answer is the refusal, never a key."""
    node.kms.away = True
    with pytest.raises(RootKeyUnreachable):
        await node.use()


async def test_a_wrap_that_was_damaged_meanwhile_ends_the_use_of_the_kept_key(node: Node) -> None:
    await node.use()
    node.clock.at_ms += FRESH_MS
    node.wrapped = node.wrapped[:-1] + bytes([node.wrapped[-1] ^ 1])
    with pytest.raises(Damaged):
        await node.use()
    node.kms.away = True
    with pytest.raises(RootKeyUnreachable):
        await node.use()


async def test_a_forgotten_organization_is_asked_for_again(node: Node) -> None:
    await node.use()
    node.keys.forget(ACME)
    node.kms.away = True
    with pytest.raises(RootKeyUnreachable):
        await node.use()


async def test_the_keys_a_node_holds_are_bounded(node: Node) -> None:
    await node.use()
    for version in range(2, KEPT_MAX + 2):
        await node.keys.get(ACME, version, await wrap_data_key(node.kms, DataKey.generate(ACME, version)))
    asked = node.kms.asked
    await node.use()
    assert node.kms.asked == asked + 1
