"""What a failing disk does to a deployment: full, unable to sync, without power. On both databases, through real processes."""

import asyncio
import signal

from tenantry.cli.demo.driver import NodeProcess
from tests.faults.storage import Answer, Storage, opened, told, until


async def _entries(node: NodeProcess, org: str, count: int, prefix: str = "") -> list[Answer]:
    ids = [f"ledger_{prefix}{n:03}" for n in range(count)]
    answers = [told(node, "add_entry", org=org, id=i, account="cash", amount=1) for i in ids]
    return [{"id": i, **a} for i, a in zip(ids, await asyncio.gather(*answers), strict=True)]


def _acknowledged(answers: list[Answer]) -> set[str]:
    return {answer["id"] for answer in answers if answer["ok"]}


def _ledger(storage: Storage, org: str) -> set[str]:
    stored = storage.stored(org)
    stored.check()
    return {row[0] for row in stored.entries}


async def test_ops_03_a_full_disk_refuses_writes_whole_and_nothing_else(storage: Storage) -> None:
    """OPS-03: writes are refused as `storage_full` with nothing half; reads and revocations hold; it recovers; health says it."""
    async with storage.node() as node:
        org = await opened(node)
        credential = (await node.do("issue", org=org, holder="user_a", path=["user_a"]))["credential"]
        dead = (await node.do("issue", org=org, holder="user_b", path=["user_b"]))["credential"]
        before = await _entries(node, org, 3)
        assert (await node.do("cut", org=org, branch="user_b"))["ok"]
        storage.disk.full(growth_only=storage.cluster is not None)
        answers: list[Answer] = []
        while "storage_full" not in {answer.get("error") for answer in answers} and len(answers) < 20_000:
            answers += await _entries(node, org, 200, f"full{len(answers)}_")
        refused = [answer for answer in answers if not answer["ok"]]
        assert {answer["error"] for answer in refused} == {"storage_full"}
        health = (await node.do("state"))["health"]
        assert (health["ready"], health["storage_full"], health["stale"]) == (False, True, False)
        assert len((await node.do("look", org=org))["entries"]) == 3 + len(_acknowledged(answers))
        assert (await node.do("check", **{"as": credential}))["ok"]
        assert (await node.do("check", **{"as": dead}))["error"] == "ended"
        storage.disk.space_again()
        after = await _entries(node, org, 3, "after")
        assert [answer["ok"] for answer in after] == [True] * 3
        assert _ledger(storage, org) == _acknowledged(before + answers + after)

        async def ready() -> bool:
            return (await node.do("state"))["health"]["ready"]

        await until(ready, 10, "a node with space again is ready again")


async def test_aud_15_where_the_log_cannot_grow_the_state_does_not_change(storage: Storage) -> None:
    """AUD-15: with the disk full the change fails too and nothing of it is there; reads go on."""
    async with storage.node() as node:
        org = await opened(node)
        # On a disk on which nothing at all can be written PostgreSQL ends its sessions and does not come back.
        storage.disk.full(growth_only=storage.cluster is not None)
        answer, refused = {"ok": True}, 0
        while answer["ok"]:
            answer, refused = await told(node, "add_member", org=org, name=f"ada {refused}"), refused + 1
        assert answer["error"] == "storage_full"
        assert len((await told(node, "look", org=org))["members"]) == refused - 1

        async def unready() -> bool:
            return not (await node.do("state"))["health"]["ready"]

        await until(unready, 2, "a node that cannot write is not ready")
        storage.disk.space_again()

        async def recovered() -> bool:
            return (await told(node, "add_member", org=org, name="bob"))["ok"]

        await until(recovered, 10, "writing after there is space again")
        assert _ledger(storage, org) == set()
        assert sorted(storage.stored(org).members) == sorted([("bob",), *((f"ada {n}",) for n in range(refused - 1))])


async def test_ops_04_after_a_failed_sync_nothing_more_is_acknowledged(storage: Storage) -> None:
    """OPS-04: the sync is not tried again; what writes stops, and only what was acknowledged before counts."""
    async with storage.node() as node:
        org = await opened(node)
        before = await _entries(node, org, 3)
        storage.disk.fail_fsync(once=True)
        answers = await _entries(node, org, 3, "broken")
        synced = storage.disk.syncs()
        refused = [answer for answer in answers if not answer["ok"]]
        assert refused
        assert {answer["error"] for answer in refused} <= {"outcome_unknown", "unavailable"}
        if storage.cluster is None:  # PostgreSQL recovers by itself, and may then take what had not been sent yet
            assert len(refused) == 3
            assert await asyncio.wait_for(node.ended(), 10) == 3
            assert storage.disk.syncs() == synced
        else:
            assert "PANIC:  could not fdatasync file" in (storage.cluster.directory / "log").read_text()
    if storage.cluster is None:
        storage.lose_power()
    async with storage.node() as node:
        await node.ready
        assert _acknowledged(before + answers) <= _ledger(storage, org)
        after = await _entries(node, org, 2, "after")
        assert [answer["ok"] for answer in after] == [True, True]


async def test_ops_05_acknowledged_writes_survive_a_power_loss(storage: Storage) -> None:
    """OPS-05: whatever was not synced is gone; whatever was acknowledged is there."""
    async with storage.node() as node:
        org = await opened(node)
        acknowledged: set[str] = set()
        for round_ in range(4):
            acknowledged |= _acknowledged(await _entries(node, org, 20, f"{round_}_"))
        flying = asyncio.create_task(_entries(node, org, 60, "flying"))
        acknowledged |= _acknowledged(await _entries(node, org, 1, "last"))
        if storage.cluster is not None:
            storage.lose_power()
        node.signal(signal.SIGKILL)
        acknowledged |= _acknowledged(await flying)
    if storage.cluster is None:
        storage.lose_power()
    assert len(acknowledged) >= 81
    assert acknowledged <= _ledger(storage, org)
    async with storage.node() as node:
        await node.ready
        again = await _entries(node, org, 1, "last")
        assert again[0]["error"] == "already_entered"


async def test_sets_that_wait_together_share_a_sync_and_each_is_answered_after_one(storage: Storage) -> None:
    async with storage.node() as node:
        org = await opened(node)
        alone = storage.disk.syncs().wal
        for n in range(10):
            before = storage.disk.syncs().wal
            assert (await _entries(node, org, 1, f"alone{n}_"))[0]["ok"]
            assert storage.disk.syncs().wal > before
        assert storage.disk.syncs().wal >= alone + 10
        before = storage.disk.syncs().wal
        answers = await _entries(node, org, 200, "together")
        assert len(_acknowledged(answers)) == 200
        if storage.cluster is None:
            assert storage.disk.syncs().wal - before <= 50
