"""The scenes of the ground floor: writing, following, refusing."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import msgspec

from tenantry.app.visit import visit
from tenantry.audit.checkpoint import origin
from tenantry.audit.export import CHECKPOINT, PublishedKey
from tenantry.audit.verify import verify_export
from tenantry.cli.demo.driver import NodeProcess
from tenantry.cli.demo.play import Advance, Proved, Twin, accepted, expect, refused
from tenantry.cli.demo.stage import ALL_ROOMS, NODES, Stage
from tenantry.cli.demo.tamper import WAYS, Exports, try_way
from tenantry.core.errors import Unsafe
from tenantry.core.limits import LEASE_MS
from tenantry.store import Database, PostgresUrls, open_store

ENTRIES_EACH = 40
SPENDERS = 50
PROMISE_MS = 1_000
"""Access ends everywhere within this time."""

SEQUENCED_MS = 3_000
"""By when an event must be under a checkpoint here; a second is promised, two more are for a small machine."""


async def roles(stage: Stage, _: Advance) -> Proved:
    """A cluster, a deployment, and a server that will not run as a superuser."""
    await stage.start_postgres()
    above = PostgresUrls(stage.superuser, stage.superuser, stage.superuser)
    try:
        engine = await open_store(Database(urls=above), ALL_ROOMS, stage.clock, on_broken=lambda: None)
    except Unsafe:
        above_refused = True
    else:
        await engine.close()
        above_refused = False
    return Proved(
        "PostgreSQL 18 runs, durable; migrator, app, follower and worker made",
        [Twin("a server that connects as superuser", above_refused)],
    )


async def three_write(stage: Stage, advance: Advance) -> Proved:
    """Three processes write both organizations at once, and each hears of every revision once, in order."""
    await stage.start_nodes()
    total = NODES * 2 * ENTRIES_EACH
    await _write(stage.nodes, [stage.acme, stage.globex], advance)
    for org in (stage.acme, stage.globex):
        await _whole(stage.nodes[0], org, NODES * ENTRIES_EACH)
        for node in stage.nodes:
            await stage.settled("every node hears of every change", lambda n=node, o=org: _heard(n, o), PROMISE_MS)
    expected = accepted(await stage.nodes[0].do("look", org=stage.acme))["entries"][0]
    twice = await stage.nodes[1].do("add_entry", org=stage.acme, id=expected["id"], account="cash", amount=1)
    return Proved(
        f"{total} entries by {NODES} processes: revisions without a gap, each heard once and in order by all",
        [refused("the same entry a second time", twice, "already_entered")],
    )


async def one_writes(stage: Stage, advance: Advance) -> Proved:
    """The same on SQLite, where one process owns the file."""
    await stage.start_sqlite()
    await _write([stage.single], [stage.initech, stage.hooli], advance)
    for org in (stage.initech, stage.hooli):
        await _whole(stage.single, org, ENTRIES_EACH)
    second = await stage.second_on_the_file()
    return Proved(
        f"{2 * ENTRIES_EACH} entries by one process, one file",
        [refused("a second process on the same file", second, "unsafe")],
    )


async def stopped(stage: Stage, _: Advance) -> Proved:
    """A process is stopped, the others go on, and it wakes up refusing until it has caught up."""
    sleeper, *others = stage.nodes
    holder = await _issue(stage, sleeper, stage.acme)
    accepted(await sleeper.do("check", **holder))
    sleeper.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep((LEASE_MS + 100) / 1000)
        for node in others:
            accepted(await node.do("add_entry", org=stage.acme, account="cash", amount=1))
        asked = asyncio.create_task(sleeper.do("check", **holder))
        await asyncio.sleep(0)
    finally:
        sleeper.signal(signal.SIGCONT)
    woken = await asked

    async def says_yes() -> bool:
        return (await sleeper.do("check", **holder))["ok"] and await _heard(sleeper, stage.acme)

    ms = await stage.settled("the process that was stopped catches up", says_yes, PROMISE_MS)
    heard_at = max(at for _, at in accepted(await sleeper.do("heard", org=stage.acme))["changes"])
    first = "had caught up when it first answered" if woken["ok"] else f"answered {woken['error']} first"
    return Proved(
        f"stopped for {LEASE_MS + 100} ms; {first}; caught up {ms:.0f} ms after it woke up",
        [Twin("a yes before it has caught up", woken["at"] >= heard_at if woken["ok"] else woken["error"] == "stale")],
    )


async def cut(stage: Stage, _: Advance) -> Proved:
    """One branch is cut on one node, and everything below it is refused on every node; its neighbour lives on."""
    slowest, twins = 0.0, list[Twin]()
    for nodes, org in ((stage.nodes, stage.acme), ([stage.single], stage.initech)):
        leaver, stays = await _issue(stage, nodes[0], org), await _issue(stage, nodes[0], org)
        for node in nodes:
            accepted(await node.do("check", **leaver))
        began = stage.clock.boottime()
        accepted(await nodes[-1].do("cut", org=org, branch=leaver["as"]["lineage"]["path"][0]))
        for number, node in enumerate(nodes, 1):

            async def ended(node: NodeProcess = node, leaver: dict[str, Any] = leaver) -> bool:
                return (await node.do("check", **leaver)).get("error") == "ended"

            await stage.settled("a cut is refused everywhere", ended, PROMISE_MS)
            slowest = max(slowest, (stage.clock.boottime() - began) * 1000)
            accepted(await node.do("check", **stays))
            written = await node.do("add_entry", **leaver, account="cash", amount=1)
            where = f"process {number}" if node is not stage.single else "the one on SQLite"
            twins.append(refused(f"the leaver on {where}", written, "ended"))
    expect(slowest < PROMISE_MS, f"the cut took {slowest:.0f} ms")
    return Proved(f"refused by all {NODES + 1} processes after {slowest:.0f} ms; the neighbour is served on", twins)


async def spenders(stage: Stage, _: Advance) -> Proved:
    """Fifty tasks on three processes spend one voucher at once."""
    tried = [stage.nodes[n % NODES].do("spend", org=stage.acme, voucher="voucher-1") for n in range(SPENDERS)]
    answers = await asyncio.gather(*tried)
    spent = sum(answer["ok"] for answer in answers)
    expect(spent == 1, f"{spent} of {SPENDERS} spent the voucher")
    accepted(await stage.nodes[0].do("spend", org=stage.globex, voucher="voucher-1"))
    twins = [refused(f"spender {n}", a, "already_spent") for n, a in enumerate(answers, 1) if not a["ok"]]
    return Proved(
        f"{SPENDERS} tasks on {NODES} processes: one spent it; another tenant's voucher of that name is its own", twins
    )


async def silent_and_foreign(stage: Stage, _: Advance) -> Proved:
    """A change must record itself, and another tenant's thing does not exist."""
    twins: list[Twin] = []
    for node, org, other in (
        (stage.nodes[0], stage.acme, stage.globex),
        (stage.single, stage.initech, stage.hooli),
    ):
        where = "SQLite" if node is stage.single else "PostgreSQL"
        theirs = accepted(await node.do("add_entry", org=other, account="theirs", amount=1))["id"]
        accepted(await node.do("entry", org=other, id=theirs))
        foreign = await node.do("entry", org=org, id=theirs)
        unknown = await node.do("entry", org=org, id="ledger_00000000000000000000000000")
        expect(foreign["message"] == unknown["message"], "a foreign id is told from an unknown one")
        twins += [
            refused(f"a silent change ({where})", await node.do("silent", org=org), "misuse"),
            refused(f"another tenant's entry ({where})", foreign, "not_found"),
        ]
    return Proved("a foreign id answers word for word as one that never was", twins)


async def taken_out(stage: Stage, _: Advance) -> Proved:
    """The logs are put under a signed checkpoint, taken out, and verified by somebody who has only the folder and the keys."""
    older = await _out(stage, stage.nodes[0], stage.acme, "acme-older")
    accepted(await stage.nodes[1].do("add_entry", org=stage.acme, account="cash", amount=7, payer="Payer 7"))
    ours = await _out(stage, stage.nodes[2], stage.acme, "acme")
    theirs = await _out(stage, stage.nodes[0], stage.globex, "globex")
    on_file = await _out(stage, stage.single, stage.initech, "initech")
    held = (older.folder / CHECKPOINT).read_bytes()
    newest = (ours.folder / CHECKPOINT).read_bytes()
    async with visit(stage.postgres) as insider:
        signer = await insider.checkpoint_keys.signer(origin(insider.checkpoint_keys.host, stage.acme))
    stage.exports = Exports(ours.folder, older.folder, theirs.folder, ours.keys, newest, signer)
    began = stage.clock.boottime()
    verify_export(ours.folder, keys=ours.keys, against=held)
    verify_export(theirs.folder, keys=theirs.keys)
    verify_export(on_file.folder, keys=on_file.keys)
    ms = (stage.clock.boottime() - began) * 1000
    size = ours.size + theirs.size + on_file.size
    return Proved(
        f"{size} events of three organizations verified offline in {ms:.0f} ms, one log against its older checkpoint"
    )


async def tampered(stage: Stage, advance: Advance) -> Proved:
    """Each way to tamper is tried on a copy that verified just before."""
    twins: list[Twin] = []
    wrong: list[str] = []
    for number, (name, way, kind) in enumerate(WAYS, 1):
        found = await asyncio.to_thread(try_way, way, stage.exports, stage.folder / f"tampered-{number}")
        twins.append(Twin(name, found == kind))
        if found != kind:
            wrong.append(f"; {name}: {found or 'not found'}, not {kind}")
        advance(number, len(WAYS))
    said = f"{len(WAYS) - len(wrong)} of {len(WAYS)} found as what they are; each copy verified before it was touched"
    return Proved(said + "".join(wrong), twins)


class _Out(msgspec.Struct, frozen=True):
    folder: Path
    size: int
    keys: list[PublishedKey]


async def _out(stage: Stage, node: NodeProcess, org: str, name: str) -> _Out:
    """An export that covers every event logged before."""
    leaves = accepted(await node.do("look", org=org))["head"]["leaves"]

    async def covered() -> bool:
        seen = await node.do("sequenced", org=org)
        return seen["ok"] and seen["size"] >= leaves

    await stage.settled("a checkpoint covers every event", covered, SEQUENCED_MS)
    folder = stage.folder / name
    answer = accepted(await node.do("export", org=org, out=str(folder)))
    return _Out(folder, answer["size"], msgspec.convert(answer["keys"], list[PublishedKey]))


async def _write(nodes: list[NodeProcess], orgs: list[str], advance: Advance) -> None:
    """Every node writes to every organization at once; five personal names among them."""
    work = [
        node.do("add_entry", org=org, account=f"account-{number % 3}", amount=number, payer=f"Payer {number % 5}")
        for number in range(ENTRIES_EACH)
        for node in nodes
        for org in orgs
    ]
    for done, answer in enumerate(asyncio.as_completed(work), 1):
        accepted(await answer)
        advance(done, len(work))


async def _whole(node: NodeProcess, org: str, entries: int) -> None:
    """Every entry is there once, under a revision of its own."""
    seen = accepted(await node.do("look", org=org))
    expect(len(seen["entries"]) == entries, f"{len(seen['entries'])} of {entries} entries are there")
    expect(seen["head"]["rev"] == entries, f"revision {seen['head']['rev']} after {entries} entries")


async def _heard(node: NodeProcess, org: str) -> bool:
    """Whether the node's follower heard every revision up to the newest.

    Raises:
        NotAsPromised: it heard one twice, or out of order.
    """
    newest = accepted(await node.do("look", org=org))["head"]["rev"]
    revisions = [rev for rev, _ in accepted(await node.do("heard", org=org))["changes"]]
    expect(revisions == list(range(revisions[0], revisions[-1] + 1)) if revisions else True, "a follower skipped")
    return bool(revisions) and revisions[-1] == newest


async def _issue(stage: Stage, node: NodeProcess, org: str) -> dict[str, Any]:
    """A credential of a new branch, as the arguments that show it to a node."""
    holder = stage.ids.new("user")
    made = accepted(await node.do("issue", org=org, holder=holder, path=[holder]))
    return {"org": org, "as": made["credential"]}
