"""An organization's log in the database: sequenced, proved, checked, exported, tampered with, erased."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import jcs
import msgspec
import pytest

from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.audit import log
from tenantry.audit.checking import check
from tenantry.audit.checkpoint import open_checkpoint
from tenantry.audit.merkle import leaf_hash, verify_consistency, verify_inclusion
from tenantry.audit.note import Signer, parse_vkey
from tenantry.audit.proof import ProofFailed
from tenantry.audit.sequencer import Sequencer, SignerOf
from tenantry.audit.verify import verify_export
from tenantry.cli.demo import ledger
from tenantry.core.errors import Conflict, Invalid
from tenantry.core.leaf import leaf
from tenantry.core.principal import SYSTEM
from tenantry.journal import Duty, NotOurs
from tenantry.journal.duties import DUTY_MS
from tenantry.journal.schema import LEAF_ROWS
from tests.stand.clock import ManualClock
from tests.stand.databases import sqlite_database
from tests.stand.deadlocks import deadlocks
from tests.stand.nodes import deployed, node_of
from tests.stand.organizations import Organization, on, open_organization
from tests.stand.tamper import tamper

SIZE = 301  # the ledger's opening and 300 members: a full tile and a partial one


async def filled(organization: Organization, size: int = SIZE) -> Organization:
    """The organization with a log of `size` leaves under a checkpoint."""
    for number in range(size - 1):
        async with organization.begin() as w:
            ledger.add_member(w, f"member {number}")
    await organization.checkpointed()
    return organization


# Each is (statements, first bad index, kind). {org} is the log that suffers, {other} another organization's.
SHIFT = "UPDATE leaves SET idx = -idx - 2 WHERE org = '{org}' AND idx >= {first}"
BACK = "UPDATE leaves SET idx = -idx - {by} WHERE org = '{org}' AND idx < 0"
_MADE_UP = "INSERT INTO leaves (org, idx, rev, {xid}body) SELECT '{org}', 5, rev, {xid}{body} FROM leaves WHERE org = '{org}' AND idx = 9"
MADE_UP = {
    "sqlite": _MADE_UP.replace("{xid}", "").replace(
        "{body}", "CAST(replace(CAST(body AS text), 'member 7', 'Mallory') AS blob)"
    ),
    "postgres": _MADE_UP.replace("{xid}", "xid, ").replace(
        "{body}", "convert_to(replace(convert_from(body, 'UTF8'), 'member 7', 'Mallory'), 'UTF8')"
    ),
}
FOREIGN = "UPDATE leaves SET body = (SELECT body FROM leaves WHERE org = '{other}' AND idx = 0) WHERE org = '{org}' AND idx = 5"
DAMAGES: dict[str, tuple[Callable[[str], list[str]], int, str]] = {
    "one byte changed": (
        lambda dialect: [
            {
                "sqlite": "UPDATE leaves SET body = CAST(replace(CAST(body AS text), 'member 4', 'member 5') AS blob) "
                "WHERE org = '{org}' AND idx = 5",
                "postgres": "UPDATE leaves SET body = set_byte(body, 30, get_byte(body, 30) # 1) WHERE org = '{org}' AND idx = 5",
            }[dialect]
        ],
        5,
        "changed",
    ),
    "one deleted": (lambda _: ["DELETE FROM leaves WHERE org = '{org}' AND idx = 5"], 5, "missing"),
    "one inserted": (
        lambda dialect: [SHIFT.replace("{first}", "5"), BACK.replace("{by}", "1"), MADE_UP[dialect]],
        5,
        "inserted",
    ),
    "two swapped": (
        lambda _: [
            "UPDATE leaves SET idx = -1 WHERE org = '{org}' AND idx = 5",
            "UPDATE leaves SET idx = 5 WHERE org = '{org}' AND idx = 6",
            "UPDATE leaves SET idx = 6 WHERE org = '{org}' AND idx = -1",
        ],
        5,
        "reordered",
    ),
    "the tail cut, and the log gone on": (
        lambda _: ["DELETE FROM leaves WHERE org = '{org}' AND idx >= 290"],
        290,
        "changed",
    ),
    "one deleted, and the rest moved up": (
        lambda _: [
            "DELETE FROM leaves WHERE org = '{org}' AND idx = 5",
            SHIFT.replace("{first}", "6"),
            BACK.replace("{by}", "3"),
        ],
        5,
        "changed",
    ),
    "one of another log": (lambda _: [FOREIGN], 5, "foreign"),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_aud_01_what_was_done_to_the_rows_is_named_by_whoever_verifies(
    damage: str, dialect: str, deployment: Config, acme: Organization, globex: Organization, tmp_path: Path
) -> None:
    """AUD-01: a row changed, removed, added, moved or renumbered in the database is found offline, by index and kind."""
    await filled(acme)
    await acme.export(tmp_path / "before")
    assert verify_export(tmp_path / "before").size == SIZE
    statements, index, kind = DAMAGES[damage]
    tamper(deployment, *(s.format(org=acme.id, other=globex.id) for s in statements(dialect)))
    await acme.export(tmp_path / "after")
    with pytest.raises(ProofFailed) as found:
        verify_export(tmp_path / "after")
    assert (found.value.kind, found.value.index) == (kind, index)


async def test_aud_02_two_nodes_that_append_at_once_make_one_dense_log(fresh: Config, tmp_path: Path) -> None:
    """AUD-02: 2,000 appends, refused ones among them: one tree, dense, in order of revision, each acknowledged one once, no deadlock."""
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(node_of(fresh)) for _ in range(1 if fresh.database.file else 2)]
        acme = await open_organization(nodes[0])
        done = await _race([on(node, acme) for node in nodes], 2_000)
        assert len(done) == 1_600
        await acme.checkpointed()
        rows = await acme.reads.all(LEAF_ROWS, first=0, most=100_000)
        bodies = [msgspec.json.decode(row.body) for row in rows[1:]]
        assert sorted(body["data"]["name"] for body in bodies) == sorted(done)
        assert [row.index for row in rows] == list(range(1_601))
        changes = [row.revision for row in rows if row.revision]
        assert changes == list(range(1, 801))
        await acme.export(tmp_path / "out")
    assert verify_export(tmp_path / "out").size == 1_601
    assert deadlocks(fresh) == 0


async def _race(organizations: list[Organization], count: int) -> list[str]:
    """Of each five two change state, two only record, and one is refused. Gives the names that were acknowledged."""

    async def add(number: int) -> str | None:
        name = f"member {number}"
        try:
            async with organizations[number % len(organizations)].begin() as w:
                if number % 5 < 3:
                    w.write(ledger.ADD_MEMBER, name=name)
                w.record(ledger.MemberAdded(name))
                if number % 5 == 0:
                    w.expect_revision(-1)
        except Conflict:
            return None
        return name

    return [name for name in await asyncio.gather(*map(add, range(count))) if name is not None]


VALUES: tuple[Any, ...] = (
    "\u00e9",
    "e\u0301",
    1e21,
    -0.0,
    0.1,
    2**53 - 1,
    "9007199254740993",
    "",
    None,
    {},
    {"b": 1, "a": {"\ufb33": "", "\U0001f600": []}},
    "2026-01-01T00:00:00.123456Z",
    "2026-01-01T00:00:00.123456789Z",
)
REFUSED: tuple[Any, ...] = (2**53 + 1, "\ud800", float("nan"))


async def test_aud_03_what_is_hashed_is_what_is_stored_exported_and_read_back(
    acme: Organization, tmp_path: Path
) -> None:
    """AUD-03: text in either form, numbers at the edges, times, key order and empty against missing keep their bytes, in each database."""
    async with acme.begin() as w:
        for value in VALUES:
            w.record(ledger.MemberAdded(value))
    for refused in REFUSED:
        with pytest.raises(Invalid):
            async with acme.begin() as w:
                w.record(ledger.MemberAdded(refused))
    await acme.checkpointed()
    rows = (await acme.holdings()).leaves
    said = [msgspec.json.decode(row.body, type=_Said).data for row in rows[1:]]
    assert [bytes(data) for data in said] == [jcs.canonicalize({"name": value}) for value in VALUES]
    await acme.export(tmp_path / "out")
    assert verify_export(tmp_path / "out").size == len(rows)
    lines = (tmp_path / "out" / "events.jsonl").read_bytes().splitlines()
    exported = [bytes(msgspec.json.decode(line, type=dict[str, msgspec.Raw])["event"]) for line in lines]
    assert exported == [row.body for row in rows]


class _Said(msgspec.Struct):
    """The event's own part of a body, with its bytes."""

    data: msgspec.Raw


async def test_aud_06_a_node_that_lost_the_duty_signs_nothing_that_counts(fresh: Config) -> None:
    """AUD-06: a checkpoint is written under the fenced duty alone, and one size has one root."""
    async with node_of(fresh) as node:
        acme = await open_organization(node)
        first = await acme.checkpointed()
        (sequencing,) = [work for work in node.works if work.name == "sequence"]
        await sequencing.close()
        sequencer, duty = _sequencer(node), await node.duties.take("sequence")
        await acme.add_member("Alice")
        with pytest.raises(NotOurs):
            await sequencer.do(acme.id, Duty(duty.name, duty.fence - 1))
        assert await log.last_checkpoint(acme.reads) == first
        await sequencer.do(acme.id, duty)
        assert (await log.last_checkpoint(acme.reads)).size == first.size + 1


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
async def test_aud_06_of_two_nodes_split_from_each_other_one_writes_the_checkpoint(
    fresh: Config, clock: ManualClock, tmp_path: Path
) -> None:
    """AUD-06: a node that falls silent between reading and writing finds its duty taken; its checkpoint counts for nothing."""
    other = await deployed(fresh.where(), tmp_path / "state_of_other")
    async with node_of(fresh, clock=clock) as silent, node_of(other, clock=clock) as successor:
        acme = await open_organization(silent)
        first = await acme.checkpointed()
        for node in (silent, successor):
            await next(work for work in node.works if work.name == "sequence").close()
        asked, answered = asyncio.Event(), asyncio.Event()

        async def signer_of(origin: str) -> Signer:
            asked.set()
            await answered.wait()
            return await silent.checkpoint_keys.signer(origin)

        await acme.add_member("Alice")
        duty = await silent.duties.take("sequence")
        split = asyncio.create_task(_sequencer(silent, signer_of).do(acme.id, duty))
        await asked.wait()
        await acme.add_member("Bob")
        with pytest.raises(NotOurs):
            await successor.duties.take("sequence")
        clock.advance(DUTY_MS + 1)
        await _sequencer(successor).do(acme.id, await successor.duties.take("sequence"))
        written = await log.last_checkpoint(acme.reads)
        answered.set()
        with pytest.raises(NotOurs):
            await split
        assert await log.last_checkpoint(acme.reads) == written
        assert written.size == first.size + 2


def _sequencer(node: Node, signer_of: SignerOf | None = None) -> Sequencer:
    keys = node.checkpoint_keys
    return Sequencer(node.engine, node.journal, node.clock, keys.host, signer_of or keys.signer)


@pytest.mark.parametrize(("damaged", "kind", "index"), [(0, "inclusion", 3), (1, "consistency", None)])
async def test_aud_07_a_damaged_tile_stops_proofs_over_it_and_is_written_again_from_its_leaves(
    damaged: int, kind: str, index: int | None, fresh: Config
) -> None:
    """AUD-07: one bit of a tile: named by the check, no proof over it, other logs go on; the background check mends it."""
    async with node_of(fresh) as node:
        acme, globex = await filled(await open_organization(node)), await filled(await open_organization(node), 5)
        (sequencing,) = [work for work in node.works if work.name == "sequence"]
        await sequencing.close()
        assert await check(acme.reads) == SIZE
        await log.prove_inclusion(acme.reads, damaged * 256 + 3, SIZE)
        _flip_in_tile(fresh, acme, damaged)
        await _expect(check(acme.reads), "hashes_mismatch", damaged * 256)
        await _expect(log.prove_inclusion(acme.reads, damaged * 256 + 3, SIZE), kind, index)
        if damaged == 1:
            await _expect(log.prove_consistency(acme.reads, 270, SIZE), "consistency", None)
        await log.prove_inclusion(globex.reads, 3, 5)
        sequencing.start()
        await _once(node, lambda: log.prove_inclusion(acme.reads, damaged * 256 + 3, SIZE))
        assert await check(acme.reads) == SIZE
        assert node.checker.damaged == {}


async def test_aud_07_a_tile_that_is_gone_is_written_again_and_the_log_goes_on(fresh: Config) -> None:
    """AUD-07: the tile on which the log grows is not there any more: the node stays up, mends it and signs what came meanwhile."""
    async with node_of(fresh) as node:
        acme = await filled(await open_organization(node))
        (sequencing,) = [work for work in node.works if work.name == "sequence"]
        await sequencing.close()
        tamper(fresh, f"DELETE FROM audit_tiles WHERE org = '{acme.id}' AND level = 0 AND n = 1")
        await _expect(log.prove_inclusion(acme.reads, 259, SIZE), "checkpoint_mismatch", None)
        await acme.add_member("after the damage")
        sequencing.start()
        await _once(node, lambda: log.prove_inclusion(acme.reads, 259, SIZE))
        assert (await acme.checkpointed()).size == SIZE + 1
        assert not node.ended.is_set()


async def test_aud_07_a_damaged_leaf_is_found_in_the_background_and_has_no_proof(fresh: Config) -> None:
    """AUD-07: one bit of a leaf: found by itself and said, no proof over it; the leaf beside it and other logs go on."""
    async with node_of(fresh) as node:
        acme, globex = await filled(await open_organization(node)), await open_organization(node)
        await log.prove_inclusion(acme.reads, 5, SIZE)
        (change,) = DAMAGES["one byte changed"][0](node.engine.dialect)
        tamper(fresh, change.format(org=acme.id))
        await _expect(check(acme.reads), "changed", 5)
        await _expect(log.prove_inclusion(acme.reads, 5, SIZE), "inclusion", 5)
        await log.prove_inclusion(acme.reads, 6, SIZE)

        async def found() -> None:
            if acme.id not in node.checker.damaged:
                raise ProofFailed("changed", "not found yet")

        await _once(node, found)
        assert list(node.checker.damaged) == [acme.id]
        await globex.add_member("elsewhere")
        await globex.checkpointed()
        await acme.add_member("after the damage")
        await log.prove_inclusion(acme.reads, SIZE, (await acme.checkpointed()).size)


async def test_aud_07_nothing_is_signed_over_a_tree_that_is_not_the_signed_one(
    deployment: Config, acme: Organization, globex: Organization
) -> None:
    """AUD-07: where leaf and tree are damaged together nothing can be mended: that log stops there, and the rest goes on."""
    await filled(acme)
    tamper(deployment, f"DELETE FROM leaves WHERE org = '{acme.id}' AND idx = 260")
    _flip_in_tile(deployment, acme, 1)
    await acme.add_member("after the damage")
    await globex.add_member("elsewhere")
    await globex.checkpointed()
    await _expect(check(acme.reads), "checkpoint_mismatch", 256)
    assert (await log.last_checkpoint(acme.reads)).size == SIZE


def _flip_in_tile(config: Config, organization: Organization, n: int) -> None:
    """Flip one bit of the first hash of a tile of leaves."""
    first = "substr(hashes, 1, 1)" if config.database.file else "get_byte(hashes, 0)"
    flipped = {
        True: f"CAST(CASE {first} WHEN x'00' THEN x'01' ELSE x'00' END || substr(hashes, 2) AS blob)",
        False: f"set_byte(hashes, 0, {first} # 1)",
    }[bool(config.database.file)]
    tamper(
        config,
        f"UPDATE audit_tiles SET hashes = {flipped} WHERE org = '{organization.id}' AND level = 0 AND n = {n}",
    )


async def _expect(asked: Coroutine[Any, Any, object], kind: str, index: int | None) -> None:
    with pytest.raises(ProofFailed) as found:
        await asked
    assert (found.value.kind, found.value.index) == (kind, index)


async def _once(node: Node, ask: Callable[[], Awaitable[object]]) -> None:
    """Wait until the background check has come by."""
    async with asyncio.timeout(20):
        while True:
            try:
                await ask()
            except ProofFailed:
                await node.engine.changed(0.05)
            else:
                return


async def test_aud_13_erasing_a_person_takes_the_data_and_leaves_every_proof(
    acme: Organization, tmp_path: Path
) -> None:
    """AUD-13: the detachable parts beside leaves that name the person are gone, those of others stay, the log verifies."""
    erased, kept = acme.node.ids.new("ledger"), acme.node.ids.new("ledger")
    for entry, payer in ((erased, "Alice Aachen"), (kept, "Bob Berlin")):
        async with acme.begin() as w:
            ledger.add_entry(w, entry, "cash", 1, payer=payer)
    assert await log.erase_person(acme.node.journal, acme.scope, SYSTEM, erased) == 2
    await acme.checkpointed()
    await acme.export(tmp_path / "out")
    report = verify_export(tmp_path / "out")
    exported = (tmp_path / "out" / "events.jsonl").read_text()
    assert report.erased == 1
    assert "Alice" not in exported
    assert "Bob Berlin" in exported


async def test_aud_13_nothing_of_an_erased_person_stays_in_the_file(tmp_path: Path) -> None:
    """AUD-13: on SQLite what is erased is overwritten, in the database and in its log, once the server has stopped."""
    config = await deployed(sqlite_database(tmp_path), tmp_path / "state")
    async with node_of(config) as node:
        acme = await open_organization(node)
        erased = [node.ids.new("ledger") for _ in range(40)]
        for entry in (*erased, node.ids.new("ledger")):
            async with acme.begin() as w:
                ledger.add_entry(w, entry, "cash", 1, payer="Alice Aachen" if entry in erased else "Bob Berlin")
        await acme.checkpointed()
        for entry in erased:
            await log.erase_person(node.journal, acme.scope, SYSTEM, entry)
    stored = _bytes_of(tmp_path)
    assert b"Bob Berlin" in stored
    assert b"Alice Aachen" not in stored


def _bytes_of(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.glob("tenantry.db*"))


async def test_aud_17_an_export_is_an_event_of_the_log_it_takes_out(acme: Organization, tmp_path: Path) -> None:
    """AUD-17: who took the log out is in the log."""
    await acme.checkpointed()
    await acme.export(tmp_path / "out")
    last = (await acme.holdings()).events()[-1]
    assert (last["type"], last["data"]) == ("audit.exported", {"size": 1})


async def test_aud_19_an_export_says_up_to_where_it_is_complete(acme: Organization, tmp_path: Path) -> None:
    """AUD-19: leaves that no checkpoint covers yet are not in the export, and a later checkpoint shows it to be behind."""
    await acme.checkpointed()
    await acme.export(tmp_path / "early")
    await acme.add_member("Alice")
    later = await acme.checkpointed()
    assert verify_export(tmp_path / "early").size == 1
    with pytest.raises(ProofFailed) as found:
        verify_export(tmp_path / "early", against=later.note)
    assert (found.value.kind, found.value.index) == ("behind", 1)


async def test_a_leaf_and_an_earlier_head_are_proved_from_the_stored_tree(acme: Organization) -> None:
    early = await acme.checkpointed()
    await filled(acme)
    late = await acme.checkpointed()
    (row,) = await acme.reads.all(LEAF_ROWS, first=270, most=1)
    hashed = leaf_hash(leaf(row.revision, row.body))
    proof = await log.prove_inclusion(acme.reads, 270, late.size)
    verify_inclusion(hashed, 270, late.size, proof, late.root)
    with pytest.raises(ProofFailed):
        verify_inclusion(hashed, 271, late.size, proof, late.root)
    steps = await log.prove_consistency(acme.reads, early.size, late.size)
    verify_consistency(early.size, late.size, steps, early.root, late.root)


async def test_a_checkpoint_is_signed_under_the_name_of_its_own_log(acme: Organization, globex: Organization) -> None:
    note = (await acme.checkpointed()).note
    own, other = [
        [parse_vkey(key.vkey) for key in await org.node.checkpoint_keys.published(org.id)] for org in (acme, globex)
    ]
    assert open_checkpoint(note, own)[0].organization == acme.id
    with pytest.raises(ProofFailed):
        open_checkpoint(note, other)
