"""Processes that die at any moment, and many that want the same: three over PostgreSQL, one over SQLite."""

import asyncio
import random
import time

import pytest

from tests.faults.storage import until
from tests.faults.trio import BOUND_S, TAKE_OVER_S, Ledger, Trio
from tests.faults.whole import Stored


@pytest.fixture
async def ledger(trio: Trio) -> Ledger:
    return Ledger(trio, (await trio.tell(0, "open"))["org"])


async def test_fifty_adders_to_one_set_are_fifty_members(ledger: Ledger) -> None:
    places = ledger.trio.running()
    await asyncio.gather(*(ledger.join(places[n % len(places)], f"member{n:02}") for n in range(50)))
    assert len(ledger.members) == 50
    ledger.check_stored()
    assert len(ledger.trio.stored(ledger.org).members) == 50


async def test_fifty_spenders_of_one_thing_are_one(ledger: Ledger) -> None:
    places = ledger.trio.running()
    await asyncio.gather(*(ledger.spend(places[n % len(places)], "the one") for n in range(50)))
    assert ledger.vouchers == {"the one": 1}
    ledger.check_stored()
    assert len(ledger.trio.stored(ledger.org).vouchers) == 1


async def test_four_loops_that_cut_while_others_write_do_not_deadlock_and_each_cut_is_in_time(ledger: Ledger) -> None:
    places = ledger.trio.running()
    ends = time.monotonic() + 2

    async def cutting(loop: int) -> None:
        n = 0
        while time.monotonic() < ends:
            place, n = places[(loop + n) % len(places)], n + 1
            branch = f"branch{loop}"
            await ledger.issue(place, [branch, "shared"])
            await ledger.cut(place, branch if n % 3 else "shared")

    async def writing(loop: int) -> None:
        n = 0
        while time.monotonic() < ends:
            place, n = places[(loop + n) % len(places)], n + 1
            await ledger.add(place, f"ledger_{loop}_{n:05}", "cash", 1)

    await asyncio.gather(*map(cutting, range(4)), *map(writing, range(4)))
    assert len(ledger.cuts) > 20
    assert ledger.maybe == {}
    ledger.check_stored()
    ledger.credentials = ledger.credentials[-12:]
    await ledger.check_dead()
    await ledger.trio.close()
    assert ledger.trio.deadlocks() == 0


async def test_ops_01_whatever_is_killed_the_ledger_holds(ledger: Ledger, rounds: int) -> None:
    """OPS-01: kill -9 at random under mixed load: what was acknowledged is there and whole, what was revoked stays revoked."""
    chance = random.Random(rounds)
    trio = ledger.trio
    await ledger.issue(0, ["user_a"])
    await ledger.cut(0, "user_a")
    for round_ in range(rounds):
        place = chance.choice(trio.running())
        others = [other for other in trio.running() if other != place] or [place]
        load = [ledger.add(place, f"ledger_{round_}_{n:03}", "cash", n) for n in range(40)]
        load += [ledger.join(place, f"member{round_}_{n}") for n in range(10)]
        load += [ledger.spend(place, f"voucher{round_}_{n}") for n in range(10)]
        load += [ledger.cut(place, f"branch{round_}")]
        load += [ledger.add(other, f"ledger_{round_}_of_{other}", "bank", 1) for other in others if other != place]
        flying = asyncio.gather(*load)
        await asyncio.wait({flying}, timeout=chance.uniform(0, 0.05))
        began = time.monotonic()
        await ledger.kill(place)
        await flying
        assert time.monotonic() - began < 5
        ledger.check_stored()
        again = list(ledger.maybe.items())
        await asyncio.gather(*(ledger.add(place, entry, *what) for entry, what in again))
        assert ledger.maybe == {}
        await ledger.check_dead()
    await asyncio.gather(*(ledger.add(place, f"ledger_last_{place}", "cash", 1) for place in trio.running()))
    ledger.check_stored()
    await ledger.check_heard()


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)  # another node has to cut meanwhile
async def test_a_node_that_was_stopped_wakes_up_refusing(ledger: Ledger) -> None:
    await ledger.issue(1, ["user_a"])
    ((credential, _),) = ledger.credentials
    assert (await ledger.trio.tell(1, "check", **{"as": credential}))["ok"]
    ledger.trio.stop(1)
    await ledger.cut(0, "user_a")
    cut_at = time.monotonic()
    asked = asyncio.create_task(ledger.trio.tell(1, "check", **{"as": credential}))

    async def a_while() -> bool:
        return time.monotonic() > cut_at + BOUND_S

    await until(a_while, 2, "the bound has passed")
    ledger.trio.resume(1)
    assert (await asked)["error"] in ("stale", "ended")
    await ledger.check_dead()


async def test_aud_08_every_checkpoint_is_consistent_with_all_before_it(ledger: Ledger, rounds: int) -> None:
    """AUD-08: kill -9 while leaves are sequenced: one root for a size, and each tree a beginning of the next."""
    chance = random.Random(rounds)
    handed_out: dict[int, bytes] = {}
    trio = ledger.trio

    def look() -> Stored:
        stored = trio.stored(ledger.org)
        stored.check_checkpoints()
        roots = {size: bytes(root) for size, root in stored.checkpoints}
        assert handed_out.items() <= roots.items(), "a checkpoint that was handed out is gone or another"
        handed_out.update(roots)
        return stored

    for round_ in range(rounds):
        place = chance.choice(trio.running())
        load = asyncio.gather(*(ledger.add(place, f"ledger_{round_}_{n:03}", "cash", n) for n in range(20)))
        await asyncio.wait({load}, timeout=chance.uniform(0, 0.6))
        look()
        await ledger.kill(place)
        await load
        look()
    ledger.check_stored()
    trio.lapse()

    async def all_under_one() -> bool:
        stored = look()
        return bool(stored.checkpoints) and stored.checkpoints[-1][0] == len(stored.leaves)

    await until(all_under_one, TAKE_OVER_S, "the log is under a checkpoint again")
