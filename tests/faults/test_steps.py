"""Death at a named step of the process that holds a SQLite file: of a commit, of folding the log into the file, of sequencing."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack

import msgspec
import pytest

from tenantry.cli.demo.driver import NodeProcess
from tests.faults.storage import Storage, opened, told, until
from tests.faults.whole import Stored


class Step(msgspec.Struct, frozen=True):
    """Where the process dies, whether the power goes with it, and whether what was being written is there afterwards."""

    name: str
    step: str
    kind: str = "wal"
    nth: int = 1
    power: bool = False
    there: bool = False


COMMIT = (
    Step("before the commit", "write"),
    Step("written and not synced", "sync", there=True),
    Step("written, not synced, and the power gone", "sync", power=True),
    Step("after the commit, before the answer", "synced", power=True, there=True),
)
IN_A_GROUP = Step("in the middle of a group", "write", nth=5, power=True)
CHECKPOINT = (
    Step("between two pages of a checkpoint", "write", "data", nth=2, power=True),
    Step("before a checkpoint is synced", "sync", "data", power=True),
    Step("after it, before the log begins anew", "synced", "data"),
)


SEQUENCING = (
    Step("signed and not written", "write"),
    Step("in the middle of storing", "write", nth=3),
    Step("stored and not synced", "sync"),
    Step("stored and not synced, and the power gone", "sync", power=True),
    Step("stored and not handed out", "synced", power=True),
)


class Owner:
    """The node that holds the file, started again after each death."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.node: NodeProcess
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """A node that answers."""
        self.node = await self._stack.enter_async_context(self.storage.node())
        ready = await self.node.ready
        assert ready["ok"], ready

    async def died(self, step: Step) -> None:
        """Wait for the death that was ordered."""
        assert await asyncio.wait_for(self.node.ended(), 10) == -signal.SIGKILL, step.name
        assert self.storage.disk.killed(), step.name
        await self.stop()
        if step.power:
            self.storage.lose_power()

    async def kill(self) -> None:
        """SIGKILL."""
        self.node.signal(signal.SIGKILL)
        await self.stop()

    async def stop(self) -> None:
        """Nothing runs."""
        await self._stack.aclose()
        self._stack = AsyncExitStack()

    async def works(self) -> None:
        """Wait until the node does its duties, so that its next write is none of its beginning."""

        async def all_held() -> bool:
            return len((await self.node.do("state"))["duties"]) == 2

        await until(all_held, 5, "the node holds its duties")


@pytest.fixture
async def owner(storage: Storage) -> AsyncIterator[Owner]:
    owner = Owner(storage)
    await owner.start()
    yield owner
    await owner.stop()


def _vouchers(stored: Stored) -> set[str]:
    stored.check()
    stored.check_checkpoints()
    return {row[0] for row in stored.vouchers}


async def _spend(node: NodeProcess, org: str, vouchers: Iterable[str]) -> list[str]:
    """Send sets together; gives each one's error, empty for those that were acknowledged."""
    answers = await asyncio.gather(*(told(node, "spend", org=org, voucher=voucher) for voucher in vouchers))
    return [answer.get("error", "") for answer in answers]


def _lapse(storage: Storage) -> None:
    """The time of the duties whose holder died is over. Written by a process of this disk, which remembers it."""
    lapse = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('UPDATE duties SET until = 0'); c.commit()"
    )
    command = [sys.executable, "-c", lapse, storage.config.database.file]
    subprocess.run(command, env=os.environ | storage.disk.env, check=True)


@pytest.mark.parametrize("storage", ["sqlite"], indirect=True)
async def test_ops_01_at_each_step_of_a_commit_a_set_is_whole_or_absent(owner: Owner, rounds: int) -> None:
    """OPS-01: killed before the commit, in a group, before the sync and before the answer: what was written is there or not, whole,
    stays as it was first seen, and sending it again does it once."""
    storage = owner.storage
    org = await opened(owner.node)
    await owner.works()
    await owner.kill()  # its successors wait for the duties: from here on nothing is written but what is sent
    await owner.start()
    done: set[str] = set()
    for round_, step in itertools.product(range(rounds // 5), (*COMMIT, IN_A_GROUP)):
        sent = [f"{round_} {step.name} {n}" for n in range(8 if step is IN_A_GROUP else 1)]
        storage.disk.kill_at(step.step, step.kind, nth=step.nth)
        assert set(await _spend(owner.node, org, sent)) == {"outcome_unknown"}, step.name
        await owner.died(step)
        await owner.start()
        assert set(await _spend(owner.node, org, sent)) == {"already_spent" if step.there else ""}, step.name
        done |= set(sent)
        assert _vouchers(storage.stored(org)) == done, step.name


@pytest.mark.parametrize("storage", ["sqlite"], indirect=True)
async def test_what_a_killed_process_left_unsynced_is_made_durable_before_it_is_answered_from(owner: Owner) -> None:
    org = await opened(owner.node)
    await owner.works()
    await owner.kill()
    await owner.start()
    owner.storage.disk.kill_at("sync", "wal")
    assert await _spend(owner.node, org, ["one"]) == ["outcome_unknown"]
    await owner.died(COMMIT[1])
    await owner.start()
    assert (await owner.node.do("look", org=org))["vouchers"] == ["one"]
    await owner.kill()
    owner.storage.lose_power()
    await owner.start()
    assert (await owner.node.do("look", org=org))["vouchers"] == ["one"]


@pytest.mark.parametrize("storage", ["sqlite"], indirect=True)
async def test_ops_01_at_each_step_of_folding_the_log_into_the_file_nothing_is_lost(owner: Owner, rounds: int) -> None:
    """OPS-01: killed while SQLite checkpoints its file, with and without the power: all that was answered is there."""
    storage = owner.storage
    org = await opened(owner.node)
    done: set[str] = set()
    for round_, step in itertools.product(range(rounds // 5), CHECKPOINT):
        storage.disk.kill_at(step.step, step.kind, nth=step.nth)
        for n in itertools.count():
            sent = [f"{round_} {step.name} {n} {k}" for k in range(20)]
            errors = await _spend(owner.node, org, sent)
            done |= {voucher for voucher, error in zip(sent, errors, strict=True) if not error}
            if "outcome_unknown" in errors:
                break
        await owner.died(step)
        await owner.start()
        assert done <= _vouchers(storage.stored(org)), step.name
    assert len(done) > 100


@pytest.mark.parametrize("storage", ["sqlite"], indirect=True)
async def test_aud_08_at_each_step_of_sequencing_there_is_one_root_for_a_size(owner: Owner, rounds: int) -> None:
    """AUD-08: killed between append and integration, before, in and after the storing of what was signed, and before it is handed
    out: each checkpoint is over what is stored, none that was there is gone, and every leaf comes under one."""
    storage = owner.storage
    org = await opened(owner.node)
    handed_out: dict[int, bytes] = {}

    async def all_under_one() -> bool:
        told_of = await owner.node.do("sequenced", org=org)
        return told_of["ok"] and told_of["size"] == told_of["leaves"]

    for round_, step in itertools.product(range(rounds // 5), (*SEQUENCING, None)):
        await owner.works()
        await until(all_under_one, 5, "the log is under a checkpoint again")
        assert await _spend(owner.node, org, [f"{round_} {step} {n}" for n in range(3)]) == ["", "", ""]
        if step is None:
            await owner.kill()
        else:
            storage.disk.kill_at(step.step, step.kind, nth=step.nth)
            await owner.died(step)
        now = storage.stored(org)
        assert len(_vouchers(now)) == len(now.leaves) - 1
        roots = {size: bytes(root) for size, root in now.checkpoints}
        assert handed_out.items() <= roots.items(), step
        handed_out = roots
        _lapse(storage)
        await owner.start()
    await owner.works()
    await until(all_under_one, 5, "the log is under a checkpoint again")
