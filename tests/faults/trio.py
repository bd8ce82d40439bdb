"""Nodes in processes of their own over one database, and what a test knows must be true of them: the ledger of what was acknowledged."""

import asyncio
import itertools
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tenantry.app.config import Config
from tenantry.store import Database
from tests.faults.storage import Answer, until
from tests.faults.whole import StoredOf
from tests.stand.deadlocks import deadlocks
from tests.stand.nodes import NodeProcess, deployed, node_process
from tests.stand.tamper import tamper

UNKNOWN = ("outcome_unknown", "unavailable")
BOUND_S = 1.0
"""Within this, a cut is refused by every node that answers at all."""

TAKE_OVER_S = 30.0
"""A duty whose holder was killed lapses after 15 s and is looked for every 5 s."""


class Trio:
    """`count` nodes over a database; each has a state directory of its own."""

    def __init__(self, database: Database, folder: Path, stored: StoredOf, count: int) -> None:
        self.stored = stored
        self._database = database
        self._folder = folder
        self._configs: list[Config] = []
        self._stacks: list[AsyncExitStack] = [AsyncExitStack() for _ in range(count)]
        self.nodes: list[NodeProcess] = []
        self.stopped: set[int] = set()
        self._dying: set[int] = set()

    async def start(self) -> None:
        """Start every node; returns when all answer."""
        for place in range(len(self._stacks)):
            folder = self._folder / f"node{place}"
            folder.mkdir()
            self._configs.append(await deployed(self._database, folder / "state"))
        self.nodes = [await self._started(place) for place in range(len(self._stacks))]
        await asyncio.gather(*(node.ready for node in self.nodes))

    async def close(self) -> None:
        """End every node."""
        for place in sorted(self.stopped):
            self.resume(place)
        for stack in self._stacks:
            await stack.aclose()

    def deadlocks(self) -> int:
        """The deadlocks that these nodes met, once they are closed."""
        return deadlocks(self._configs[0])

    async def tell(self, place: int, what: str, **args: Any) -> Answer:
        """Tell a node something. If it is killed meanwhile, the outcome is unknown."""
        try:
            return await self.nodes[place].do(what, **args)
        except ConnectionError:
            status = await self.nodes[place].ended()
            assert place in self._dying, f"node {place} ended by itself, with status {status}"
            return {"ok": False, "error": "outcome_unknown"}

    def stop(self, place: int) -> None:
        """SIGSTOP."""
        self.nodes[place].signal(signal.SIGSTOP)
        self.stopped.add(place)

    def resume(self, place: int) -> None:
        """SIGCONT."""
        self.nodes[place].signal(signal.SIGCONT)
        self.stopped.discard(place)

    async def kill(self, place: int) -> None:
        """SIGKILL, and a successor."""
        self.stopped.discard(place)
        self._dying.add(place)
        self.nodes[place].signal(signal.SIGKILL)
        await self.nodes[place].ended()
        await self._stacks[place].aclose()
        self._stacks[place] = AsyncExitStack()
        self.nodes[place] = await self._started(place)
        self._dying.discard(place)
        ready = await self.nodes[place].ready
        assert ready["ok"], ready

    def lapse(self) -> None:
        """The time of every duty is over: a node looks for one every 5 s."""
        tamper(self._configs[0], "UPDATE duties SET until = 0")

    def running(self) -> list[int]:
        """The nodes that can answer."""
        return [place for place in range(len(self.nodes)) if place not in self.stopped]

    async def _started(self, place: int) -> NodeProcess:
        return await self._stacks[place].enter_async_context(
            node_process(self._configs[place], self._folder / f"node{place}")
        )


class Ledger:
    """What was acknowledged to a test in one organization. `maybe` holds what may or may not be there."""

    def __init__(self, trio: Trio, org: str) -> None:
        self.trio = trio
        self.org = org
        self.entries: dict[str, tuple[str, int]] = {}
        self.maybe: dict[str, tuple[str, int]] = {}
        self._made: set[str] = set()
        self.members: set[str] = set()
        self.vouchers: dict[str, int] = {}
        self.credentials: list[tuple[Answer, frozenset[str]]] = []
        self.cuts: list[tuple[str, int, float]] = []
        self.numbers = itertools.count()
        self._began: dict[int, tuple[int, int]] = {}
        """Of a node that took over from a killed one: the last revision before the kill, and when it was ready."""

    async def kill(self, place: int) -> None:
        """SIGKILL, and a successor, which hears what is committed from some moment of its start on."""
        before = self.head()
        await self.trio.kill(place)
        self._began[place] = before, self.head()

    async def add(self, place: int, entry: str, account: str, amount: int) -> None:
        """Add an entry, or send one again."""
        answer = await self.trio.tell(place, "add_entry", org=self.org, id=entry, account=account, amount=amount)
        if answer["ok"]:  # of what is sent again by several the others may be answered first
            assert entry not in self._made, "an entry was made twice"
            self._made.add(entry)
        if entry in self.entries:
            assert answer["ok"] or answer["error"] in ("already_entered", *UNKNOWN), answer
        elif answer["ok"] or (answer["error"] == "already_entered" and entry in self.maybe):
            self.entries[entry] = (account, amount)
            self.maybe.pop(entry, None)
        else:
            assert answer["error"] in UNKNOWN, answer
            self.maybe[entry] = (account, amount)

    async def correct(self, place: int, entry: str, amount: int) -> None:
        """Add to an entry that is there; whoever was faster four times makes it a conflict, which changes nothing."""
        answer = await self.trio.tell(place, "correct", org=self.org, id=entry, amount=amount)
        assert answer["ok"] or answer["error"] in ("conflict", "unavailable"), answer
        if answer["ok"]:
            account, before = self.entries[entry]
            self.entries[entry] = account, before + amount

    async def join(self, place: int, name: str) -> None:
        """Add a member."""
        if (await self.trio.tell(place, "add_member", org=self.org, name=name))["ok"]:
            self.members.add(name)

    async def spend(self, place: int, voucher: str) -> None:
        """Spend a voucher, which may succeed once."""
        answer = await self.trio.tell(place, "spend", org=self.org, voucher=voucher)
        assert answer["ok"] or answer["error"] in (*UNKNOWN, "already_spent"), answer
        self.vouchers[voucher] = self.vouchers.get(voucher, 0) + answer["ok"]

    async def issue(self, place: int, path: list[str]) -> None:
        """Make a credential; a node that is behind refuses."""
        answer = await self.trio.tell(place, "issue", org=self.org, holder="user_a", path=path)
        if answer["ok"]:
            self.credentials.append((answer["credential"], frozenset(path)))

    async def cut(self, place: int, branch: str) -> None:
        """Cut a branch."""
        answer = await self.trio.tell(place, "cut", org=self.org, branch=branch)
        if answer["ok"]:
            assert answer["ms"] < BOUND_S * 1000
            self.cuts.append((branch, answer["revision"], time.monotonic()))

    def dead(self) -> list[tuple[Answer, float]]:
        """The credentials below a cut that was acknowledged after they were made, with the time of the acknowledgement."""
        found: list[tuple[Answer, float]] = []
        for credential, path in self.credentials:
            rev = credential["lineage"]["rev"]
            ended = [at for branch, cut_rev, at in self.cuts if branch in path and cut_rev > rev]
            found += [(credential, min(ended))] if ended else []
        return found

    async def check_dead(self) -> None:
        """Every running node refuses what is dead: at once where it writes, within the bound where it is asked."""
        for credential, since in self.dead():
            for place in self.trio.running():
                written = await self.trio.tell(place, "add_member", org=self.org, name="intruder", **{"as": credential})
                assert written["error"] in ("ended", *UNKNOWN), written
                while (asked := await self.trio.tell(place, "check", **{"as": credential}))["ok"]:
                    assert time.monotonic() < since + BOUND_S, "a node says yes to what was cut"
                assert asked["error"] in ("ended", "stale"), asked

    def check_stored(self) -> None:
        """What was acknowledged is there, nothing else is, and all of it is whole."""
        stored = self.trio.stored(self.org)
        stored.check()
        there = {row[0]: (row[1], row[2]) for row in stored.entries}
        assert self.entries.items() <= there.items(), "an acknowledged entry is lost"
        assert there.items() <= (self.entries | self.maybe).items(), "an entry that nobody made"
        assert self.members <= {row[0] for row in stored.members}
        assert "intruder" not in {row[0] for row in stored.members}
        assert all(times <= 1 for times in self.vouchers.values()), "a voucher was spent twice"
        assert {v for v, times in self.vouchers.items() if times} <= {row[0] for row in stored.vouchers}

    async def check_seen(self, place: int) -> None:
        """A node shows what was acknowledged by any."""
        seen = await self.trio.tell(place, "look", org=self.org)
        assert seen["ok"], seen
        assert seen["head"]["rev"] == self.head()
        there = {row["id"]: (row["account"], row["amount"]) for row in seen["entries"]}
        assert self.entries.items() <= there.items()
        assert self.members <= set(seen["members"])
        assert {voucher for voucher, times in self.vouchers.items() if times} <= set(seen["vouchers"])

    async def check_heard(self) -> None:
        """Every running node's followers heard every revision since it started up to the last, each once and in order."""
        head = self.head()

        async def all_heard() -> bool:
            for place in self.trio.running():
                heard = [rev for rev, _ in (await self.trio.tell(place, "heard", org=self.org))["changes"]]
                first = heard[0] if heard else head + 1
                before, ready = self._began.get(place, (0, 0))
                assert heard == list(range(first, first + len(heard))), heard
                assert before < first, "a revision that was there before the node"
                if first > ready + 1 or first + len(heard) != head + 1:
                    return False
            return True

        await until(all_heard, 5, f"every follower heard everything up to revision {head}")

    async def heard_up_to(self) -> set[int]:
        """The last revision that each running node's followers heard; 0 where none was since it started."""
        told = [await self.trio.tell(place, "heard", org=self.org) for place in self.trio.running()]
        return {answer["changes"][-1][0] if answer["changes"] else 0 for answer in told}

    def head(self) -> int:
        """The last revision."""
        return len(self.trio.stored(self.org).changes)

    async def check_balances(self, within_s: float) -> None:
        """What a follower derived is what the entries say."""

        async def derived() -> bool:
            stored = self.trio.stored(self.org)
            return stored.balances == stored.recomputed()

        await until(derived, within_s, "the balances are the sums of the entries")
