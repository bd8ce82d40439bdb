"""A copy beside its original: neither accepts what the other issues, nothing is sent out unasked, and their logs cannot be joined."""

import shutil
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from tenantry.app.config import Config
from tenantry.app.node import Node
from tenantry.app.setup import set_up
from tenantry.app.visit import visit
from tenantry.audit import log
from tenantry.audit.checkpoint import Checkpoint, open_checkpoint
from tenantry.audit.merkle import verify_consistency
from tenantry.audit.note import parse_vkey
from tenantry.audit.proof import ProofFailed
from tenantry.core.errors import Unsafe
from tenantry.core.principal import Principal
from tenantry.core.scopes import of_platform
from tenantry.journal import confirm
from tenantry.journal.incarnation import NothingHeld
from tests.faults.places import Place, refused, with_acme
from tests.faults.storage import until
from tests.stand.databases import sqlite_database
from tests.stand.nodes import ALL_ROOMS, deployed, node_of
from tests.stand.organizations import Organization


async def test_aud_06_a_fork_of_the_database_is_proved_by_two_checkpoints_and_refused_by_a_witness(
    place: Place, tmp_path: Path
) -> None:
    """AUD-06: original and copy sign one size with another root: both notes are the log's own, and no proof joins them."""
    original = await deployed(place.database, tmp_path / "state")
    first: list[bytes] = []

    async def write(_: Node, acme: Organization) -> None:
        first.append((await acme.checkpointed()).note)

    acme = await with_acme(original, write)
    copy = await deployed(place.clone(), tmp_path / "state_of_copy")
    signed: list[Checkpoint] = []
    for config in (original, copy):
        async with node_of(config) as node:
            there = Organization(node, acme.scope)
            while (await node.journal.head(acme.scope)).leaves < 3:
                await there.add_member(node.ids.new("ledger"))
            note = (await there.checkpointed()).note
            keys = [parse_vkey(key.vkey) for key in await node.checkpoint_keys.published(acme.id)]
            seen, new = (open_checkpoint(each, keys)[0] for each in (first[0], note))
            verify_consistency(
                seen.size, new.size, await log.prove_consistency(there.reads, seen.size, new.size), seen.root, new.root
            )
            signed.append(new)
    here, fork = signed
    assert (here.origin, here.size) == (fork.origin, fork.size)
    assert here.root != fork.root
    with pytest.raises(ProofFailed):
        verify_consistency(here.size, fork.size, [], here.root, fork.root)


async def test_ops_13_a_copy_under_another_issuer_is_another_life(place: Place, tmp_path: Path) -> None:
    """OPS-13: production started as staging: all outbound is held, and neither accepts what the other issues."""
    production = await deployed(place.database, tmp_path / "state")
    issued: list[Principal] = []

    async def issue(_: Node, acme: Organization) -> None:
        issued.append(await acme.issue("user_a"))

    acme = await with_acme(production, issue)
    staging = await deployed(place.clone(), tmp_path / "state_of_staging", issuer="https://staging.example.com")
    async with node_of(staging) as node:
        assert (node.incarnation.begun_now, node.pulse.held) == ("copied", True)
        there = Organization(node, acme.scope)
        await refused(node, there, issued[0])
        issued.append(await there.issue("user_a"))
    async with node_of(production) as node:
        assert (node.incarnation.begun_now, node.incarnation.number) == ("", 1)
        await node.cuts.check(issued[0])
        await refused(node, Organization(node, acme.scope), issued[1])


async def test_ops_13_what_is_sent_out_waits_for_an_operators_word(place: Place, tmp_path: Path) -> None:
    """OPS-13: on every node and at every start of the new life until it is confirmed, once; then on none."""
    production = await deployed(place.database, tmp_path / "state")
    async with node_of(production) as node:
        assert not node.pulse.held
    staging = msgspec.structs.replace(production, issuer="https://staging.example.com")
    for _ in range(2):
        async with node_of(staging) as node:
            assert node.pulse.held
    second = msgspec.structs.replace(staging, state=str(tmp_path / "state_of_second"))
    await set_up(second, rooms=ALL_ROOMS)
    async with AsyncExitStack() as running:
        meanwhile = (staging, second) if place.database.urls else ()  # on SQLite the command has the file to itself
        nodes = [await running.enter_async_context(node_of(config)) for config in meanwhile]
        assert all(node.pulse.held for node in nodes)
        assert await _confirm(staging) == 2
        with pytest.raises(NothingHeld):
            await _confirm(second)

        async def released() -> bool:
            return not any(node.pulse.held for node in nodes)

        await until(released, 1, "every running node heard that it was confirmed")
    for config in (staging, second):
        async with node_of(config) as node:
            assert not node.pulse.held
            told = [event["type"] for event in (await Organization(node, of_platform()).holdings()).events()]
            assert told.count("incarnation.confirmed") == 1


async def _confirm(config: Config) -> int:
    async with visit(config) as guest:
        return await confirm(guest.engine, guest.journal, guest.duties, guest.clock)


@pytest.mark.parametrize("state", ["copied", "joined"])
async def test_a_copy_beside_its_original_is_another_life_under_the_same_issuer(
    place: Place, tmp_path: Path, state: str
) -> None:
    original = await deployed(place.database, tmp_path / "state")
    issued: list[Principal] = []

    async def issue(_: Node, acme: Organization) -> None:
        issued.append(await acme.issue("user_a"))

    acme = await with_acme(original, issue)
    if state == "copied":
        shutil.copytree(tmp_path / "state", tmp_path / "state_of_copy")
    copy = await deployed(place.clone(), tmp_path / "state_of_copy")
    async with node_of(copy) as node:
        assert (node.incarnation.begun_now, node.incarnation.number, node.pulse.held) == ("moved", 2, True)
        there = Organization(node, acme.scope)
        await refused(node, there, issued[0])
        issued.append(await there.issue("user_a"))
    async with node_of(copy) as node:
        assert node.incarnation.begun_now == ""
        await node.cuts.check(issued[1])
    async with node_of(original) as node:
        assert (node.incarnation.begun_now, node.incarnation.number, node.pulse.held) == ("", 1, False)
        await node.cuts.check(issued[0])
        await refused(node, Organization(node, acme.scope), issued[1])


async def test_the_state_directory_of_another_deployment_isrefused(place: Place, tmp_path: Path) -> None:
    ours = await deployed(place.database, tmp_path / "state")
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    await deployed(sqlite_database(other_folder), tmp_path / "state_of_other")
    async with node_of(ours):
        pass
    with pytest.raises(Unsafe, match="another deployment"):
        async with node_of(msgspec.structs.replace(ours, state=str(tmp_path / "state_of_other"))):
            pass
