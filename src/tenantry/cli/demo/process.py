"""A node in a process of its own that does what it is told: one JSON object a line in, one a line out, in any order by `n`.

    {"n": 1, "do": "add_entry", "org": "org_…", "id": "ledger_…", "account": "cash", "amount": 5}
    {"n": 1, "ok": true, "revision": 7, "ms": 1.2}
    {"n": 2, "ok": false, "error": "already_spent", "ms": 0.9}

It ends at the end of its input, and with status 3 when the node must end (storage failed, or another life of the data began).
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from tenantry.app.config import load
from tenantry.app.node import ROOMS, Node, open_node
from tenantry.audit.log import export, last_checkpoint
from tenantry.cli.demo import ledger
from tenantry.core.errors import TenantryError
from tenantry.core.principal import SYSTEM, Principal
from tenantry.journal import Change

Command = dict[str, Any]
Answer = dict[str, Any]
ENDED = 3


class Heard:
    """What this process's follower was told, per organization in its order, with the boot time of hearing it."""

    def __init__(self, node: Node) -> None:
        self._clock = node.clock
        self.changes: dict[str, list[tuple[int, float]]] = {}

    def apply(self, change: Change) -> None:
        """See `Follower`."""
        self.changes.setdefault(change.org, []).append((change.rev, self._clock.boottime()))


async def _write(node: Node, c: Command, fill: Callable[[Any], object]) -> Answer:
    scope = ledger.scope_of(c["org"])
    async with node.journal.begin(scope, _actor(c)) as w:
        fill(w)
    return {"revision": w.revision}


def _actor(c: Command) -> Principal:
    return msgspec.convert(c["as"], Principal) if "as" in c else SYSTEM


async def _open(node: Node, c: Command) -> Answer:
    org = c.get("org") or node.ids.new("org")
    return {"org": org, **await _write(node, {**c, "org": org}, ledger.open_ledger)}


async def _add_entry(node: Node, c: Command) -> Answer:
    entry = c.get("id") or node.ids.new("ledger")
    payer = c.get("payer", "")
    return {
        "id": entry,
        **await _write(node, c, lambda w: ledger.add_entry(w, entry, c["account"], c["amount"], payer=payer)),
    }


async def _correct(node: Node, c: Command) -> Answer:
    await node.journal.run(ledger.scope_of(c["org"]), _actor(c), ledger.correct_entry, c["id"], c["amount"])
    return {}


async def _add_member(node: Node, c: Command) -> Answer:
    return await _write(node, c, lambda w: ledger.add_member(w, c["name"]))


async def _spend(node: Node, c: Command) -> Answer:
    return await _write(node, c, lambda w: ledger.spend(w, c["voucher"], node.clock.now_ms()))


async def _cut(node: Node, c: Command) -> Answer:
    return await _write(node, c, lambda w: ledger.cut(w, c["branch"]))


async def _issue(node: Node, c: Command) -> Answer:
    principal = await ledger.issue(node.journal, node.cuts, ledger.scope_of(c["org"]), c["holder"], tuple(c["path"]))
    return {"credential": msgspec.to_builtins(principal)}


async def _check(node: Node, c: Command) -> Answer:
    """Whether this node still says yes to a credential."""
    await node.cuts.check(_actor(c))
    return {}


async def _silent(node: Node, c: Command) -> Answer:
    """Try to change state without recording it."""
    args = {"id": node.ids.new("ledger"), "account": "silent", "amount": 1}
    return await _write(node, c, lambda w: w.write(ledger.ADD_ENTRY, otherwise=ledger.AlreadyEntered, **args))


async def _entry(node: Node, c: Command) -> Answer:
    """One entry, as the organization sees it."""
    entry = await node.journal.reads(ledger.scope_of(c["org"])).one(ledger.ENTRY, id=c["id"])
    return {"entry": msgspec.to_builtins(entry)}


async def _export(node: Node, c: Command) -> Answer:
    """The log of an organization, into a folder, up to its newest checkpoint."""
    scope = ledger.scope_of(c["org"])
    keys = await node.checkpoint_keys.published(c["org"])
    checkpoint = await export(node.journal, scope, SYSTEM, Path(c["out"]), keys)
    return {"size": checkpoint.size, "keys": msgspec.to_builtins(keys)}


async def _sequenced(node: Node, c: Command) -> Answer:
    """How many events of an organization are under a checkpoint, of how many."""
    reads = node.journal.reads(ledger.scope_of(c["org"]))
    size = (await last_checkpoint(reads)).size
    return {"size": size, "leaves": (await node.journal.head(ledger.scope_of(c["org"]))).leaves}


async def _look(node: Node, c: Command) -> Answer:
    """Everything the ledger of an organization holds, from the primary."""
    reads = node.journal.reads(ledger.scope_of(c["org"]))
    head = await node.journal.head(ledger.scope_of(c["org"]))
    return {
        "head": msgspec.to_builtins(head),
        "entries": msgspec.to_builtins(await reads.all(ledger.ENTRIES_OF)),
        "members": [row.name for row in await reads.all(ledger.MEMBERS_OF)],
        "vouchers": [row.name for row in await reads.all(ledger.VOUCHERS_OF)],
        "balances": msgspec.to_builtins(await reads.all(ledger.BALANCES_OF)),
    }


async def _state(node: Node, _: Command) -> Answer:
    return {
        "lease_ms": node.lease.age_ms(),
        "health": msgspec.to_builtins(node.health()) | {"ready": node.health().ready},
        "incarnation": node.incarnation.number,
        "begun": node.incarnation.begun_now,
        "duties": [work.name for work in node.works if work.holds],
        "failures": {org: error.code for work in node.works for org, error in work.failures.items()},
        "damaged": {org: error.code for org, error in node.checker.damaged.items()},
    }


DO: dict[str, Callable[[Node, Command], Awaitable[Answer]]] = {
    "open": _open,
    "add_entry": _add_entry,
    "correct": _correct,
    "add_member": _add_member,
    "spend": _spend,
    "cut": _cut,
    "issue": _issue,
    "check": _check,
    "silent": _silent,
    "entry": _entry,
    "export": _export,
    "sequenced": _sequenced,
    "look": _look,
    "state": _state,
}


async def _answer(node: Node, heard: Heard, c: Command) -> None:
    began = node.clock.boottime()
    try:
        told = {"changes": heard.changes.get(c["org"], [])} if c["do"] == "heard" else await DO[c["do"]](node, c)
        answer: Answer = {"ok": True, **told}
    except TenantryError as error:
        answer = {"ok": False, "error": error.code, "message": str(error)}
    ms = (node.clock.boottime() - began) * 1000
    _say({"n": c["n"], **answer, "ms": round(ms, 3), "at": node.clock.boottime()})


def _say(answer: Answer) -> None:
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    sys.stdout.flush()


async def _serve(path: Path) -> int:
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    heard_by: list[Heard] = []

    def listen(node: Node) -> None:
        heard_by.append(Heard(node))
        node.following.add(heard_by[0])

    async with open_node(
        load(path), rooms=(*ROOMS, ledger.SCHEMA), derivers=lambda *_: (ledger.Balances(),), on_open=listen
    ) as node:
        _say({"n": 0, "ok": True, "node": node.id, "pid": os.getpid()})
        ending = asyncio.create_task(node.ended.wait())
        running: set[asyncio.Task[None]] = set()
        while True:
            line = asyncio.create_task(reader.readline())
            await asyncio.wait({line, ending}, return_when=asyncio.FIRST_COMPLETED)
            if ending.done() or not line.result():
                break
            task = asyncio.create_task(_answer(node, heard_by[0], msgspec.json.decode(line.result())))
            running.add(task)
            task.add_done_callback(running.discard)
        line.cancel()
        while running:
            await asyncio.wait(running)
        return ENDED if ending.done() else 0


def main() -> int:
    """Run a node on the configuration named by the first argument."""
    with contextlib.suppress(BrokenPipeError):
        try:
            return uvloop.run(_serve(Path(sys.argv[1])))
        except TenantryError as error:
            _say({"n": 0, "ok": False, "error": error.code, "message": str(error)})
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
