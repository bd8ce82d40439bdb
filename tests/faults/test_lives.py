"""A database that is not the one it was: restored, copied, promoted, of another deployment. What was issued before is refused."""

import asyncio
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tenantry.app.node import Node
from tenantry.audit import log
from tenantry.audit.proof import ProofFailed
from tenantry.audit.verify import verify_export
from tenantry.cli.demo import ledger
from tenantry.cli.demo.cluster import Cluster
from tenantry.core.clock import SystemClock
from tenantry.core.errors import Ended, TenantryError
from tenantry.core.principal import SYSTEM, Principal
from tenantry.journal import foresee
from tenantry.keys.schema import DATA_KEYS_OF
from tenantry.store import open_store
from tests.faults.places import Place, refused, with_acme
from tests.faults.storage import until
from tests.faults.whole import in_postgres
from tests.stand.copies import caught_up, cut_off, promote, receives, standby_of
from tests.stand.databases import postgres_database
from tests.stand.nodes import ALL_ROOMS, deployed, node_of
from tests.stand.organizations import Organization, open_organization
from tests.stand.wire import Wire


async def _nothing(_: Node, __: Organization) -> None:
    pass


def _begun(event: dict[str, Any], reason: str) -> bool:
    return event["type"] == "incarnation.begun" and event["data"]["reason"] == reason


async def test_ops_12_nothing_issued_before_a_restore_works_after_it(place: Place, tmp_path: Path) -> None:
    """OPS-12: yesterday's copy put back begins a new incarnation, in which old credentials are dead and the log goes on."""
    config = await deployed(place.database, tmp_path / "state")
    credentials: list[Principal] = []

    async def issue(_: Node, acme: Organization) -> None:
        credentials.append(await acme.issue("user_a"))
        credentials.append(await acme.issue("user_b"))
        await acme.add_entry()

    acme = await with_acme(config, issue)
    place.back_up()
    async with node_of(config) as node:
        later = Organization(node, acme.scope)
        await node.cuts.check(credentials[0])
        await later.cut("user_b")
        credentials.append(await later.issue("user_a"))
        for _ in range(3):
            await later.add_entry()
        gone = await later.holdings()
    place.restore()
    async with node_of(config) as node:
        restored = Organization(node, acme.scope)
        assert (node.incarnation.begun_now, node.incarnation.number, node.pulse.held) == ("restored", 2, True)
        for credential in credentials:
            await refused(node, restored, credential)
        told = [event for event in (await restored.holdings()).events() if _begun(event, "restored")]
        assert [event["data"]["seen_revision"] for event in told] == [gone.head.rev]
        await node.cuts.check(await restored.issue("user_a"))
        await restored.add_entry()
        await restored.checkpointed()
        await restored.export(tmp_path / "out")
    assert verify_export(tmp_path / "out").org == acme.id
    place.stored(acme.id).check()
    newcomer = await with_acme(config, issue)
    async with node_of(config) as node:
        assert (node.incarnation.begun_now, node.incarnation.number) == ("", 2)
        events = (await Organization(node, newcomer.scope).holdings()).events()
        assert not any(_begun(event, "restored") for event in events)


async def test_ops_12_a_restore_that_took_back_no_change_but_what_was_only_recorded_is_found_too(
    place: Place, tmp_path: Path
) -> None:
    """OPS-12: what follows a backup may be credentials alone, which make no revision."""
    config = await deployed(place.database, tmp_path / "state")

    async def record(_: Node, acme: Organization) -> None:
        await acme.spend("before")

    acme = await with_acme(config, record)
    place.back_up()
    async with node_of(config) as node:
        credential = await Organization(node, acme.scope).issue("user_a")
    place.restore()
    async with node_of(config) as node:
        assert node.incarnation.begun_now == "restored"
        await refused(node, Organization(node, acme.scope), credential)


async def test_aud_05_a_log_put_back_says_so_in_its_next_leaf(place: Place, tmp_path: Path) -> None:
    """AUD-05: the first leaf after the restored ones is `incarnation.begun`, in every log, and names what had been seen."""
    config = await deployed(place.database, tmp_path / "state")

    async def write(_: Node, acme: Organization) -> None:
        await acme.add_entry()

    acme = await with_acme(config, write)
    globex = await with_acme(config, write)
    place.back_up()
    async with node_of(config) as node:
        await Organization(node, acme.scope).add_entry()
        leaves = (await Organization(node, globex.scope).holdings()).head.leaves
    place.restore()
    async with node_of(config) as node:
        for organization in (acme, globex):
            events = (await Organization(node, organization.scope).holdings()).events()
            assert _begun(events[leaves], "restored")
            assert events[leaves]["data"]["last_leaves"] == leaves


async def test_aud_05_whoever_holds_a_checkpoint_of_what_a_restore_took_back_finds_it_out(
    place: Place, tmp_path: Path
) -> None:
    """AUD-05: the log that goes on after a restore verifies by itself and against the backup, not against what came between."""
    config = await deployed(place.database, tmp_path / "state")
    kept: list[bytes] = []

    async def write(_: Node, acme: Organization) -> None:
        await acme.add_entry()
        kept.append((await acme.checkpointed()).note)

    acme = await with_acme(config, write)
    place.back_up()
    async with node_of(config) as node:
        await write(node, Organization(node, acme.scope))
    place.restore()
    async with node_of(config) as node:
        restored = Organization(node, acme.scope)
        for out in ("as long", "longer"):
            await restored.checkpointed()
            await restored.export(tmp_path / out)
    before, between = kept
    for out in ("as long", "longer"):
        assert verify_export(tmp_path / out, against=before).held == 2
        with pytest.raises(ProofFailed) as found:
            verify_export(tmp_path / out, against=between)
        assert found.value.kind == "consistency"


async def test_ops_08_a_promoted_standby_that_lost_commits_begins_a_new_life(tmp_path: Path) -> None:
    """OPS-08: nodes see the other timeline and stop; the next start says what was lost, and nothing issued before works."""
    with Cluster() as primary:
        config = await deployed(postgres_database(primary, "promoted"), tmp_path / "state")
        with standby_of(primary) as standby:
            async with Wire(primary.directory, tmp_path / "line") as wire:
                through = wire.through(config)
                async with node_of(through) as node:
                    acme = await open_organization(node)
                    credential = await acme.issue("user_a")
                    await acme.add_entry()
                    await acme.spend("seen before the fail-over")

                    async def all_there() -> bool:
                        return caught_up(primary, standby)

                    await until(all_there, 20, "the standby has everything")
                    cut_off(standby)

                    async def alone() -> bool:
                        return not receives(standby)

                    await until(alone, 10, "the standby receives nothing more")
                    lost = await acme.cut("user_a")
                    with pytest.raises(Ended):
                        await acme.spend("a voucher", credential)

                    async def marked() -> bool:
                        return b'"rev":%d' % lost in (tmp_path / "state" / "mark.json").read_bytes()

                    await until(marked, 5, "the mark names the cut")
                    primary.kill()
                    promote(standby)
                    wire.lead_to(standby.directory)
                    await asyncio.wait_for(node.ended.wait(), 5)
                    with pytest.raises(TenantryError):
                        await node.cuts.check(credential)
                async with node_of(through) as node:
                    assert (node.incarnation.begun_now, node.incarnation.number) == ("rewound", 2)
                    survivor = Organization(node, acme.scope)
                    await refused(node, survivor, credential)
                    with pytest.raises(ledger.AlreadySpent):
                        await survivor.spend("seen before the fail-over")
                    told = [event for event in (await survivor.holdings()).events() if _begun(event, "rewound")]
                    assert [event["data"]["seen_revision"] for event in told] == [lost]
                in_postgres(standby.conninfo("promoted"))(acme.id).check()
        primary.start()


@pytest.mark.parametrize(("standbys", "reason"), [("", "rewound"), ("another", "")])
async def test_ops_08_a_promoted_standby_goes_on_in_the_same_life_only_if_it_was_synchronous(
    tmp_path: Path, standbys: str, reason: str
) -> None:
    """OPS-08: another timeline without a loss that this node knows of: what an asynchronous one lost nobody can know."""
    with Cluster() as primary:
        config = await deployed(postgres_database(primary, "promoted"), tmp_path / "state")
        with standby_of(primary) as standby:
            await with_acme(config, _nothing)

            async def all_there() -> bool:
                return caught_up(primary, standby)

            await until(all_there, 20, "the standby has everything")
            with psycopg.connect(standby.conninfo(), autocommit=True) as connection:
                connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{standbys}'".encode())
                connection.execute("SELECT pg_reload_conf()")
            primary.stop()
            promote(standby)
            async with Wire(standby.directory, tmp_path / "line") as wire:
                where = wire.through(config).where()
                engine = await open_store(where, ALL_ROOMS, SystemClock(), development=True, on_broken=lambda: None)
                assert await foresee(engine, tmp_path / "state", config.issuer) == reason
                await engine.close()
        primary.start()


async def test_aud_13_what_was_erased_since_the_backup_is_erased_again_before_anybody_is_answered(
    place: Place, tmp_path: Path
) -> None:
    """AUD-13: the destruction list, outside the database, is applied to a restored one: persons and organizations."""
    config = await deployed(place.database, tmp_path / "state")
    async with node_of(config) as node:
        acme, globex = await open_organization(node), await open_organization(node)
        entry = node.ids.new("ledger")
        async with acme.begin() as w:
            ledger.add_entry(w, entry, "cash", 1, payer="Alice Aachen")
        await node.keyring.data_key(globex.id)
        await acme.checkpointed()
    place.back_up()
    async with node_of(config) as node:
        await log.erase_person(node.journal, acme.scope, SYSTEM, entry)
        async with Organization(node, globex.scope).begin() as w:
            node.keyring.destroy(w)
    place.restore()
    async with node_of(config) as node:
        leaves = (await Organization(node, acme.scope).holdings()).leaves
        assert [leaf.personal for leaf in leaves if leaf.personal] == []
        assert await Organization(node, globex.scope).reads.all(DATA_KEYS_OF) == []


async def test_aud_13_a_node_that_comes_later_erases_what_its_own_list_names(place: Place, tmp_path: Path) -> None:
    """AUD-13: what one node alone saw erased is erased again when that node enters the life that another began."""
    first = await deployed(place.database, tmp_path / "state")
    second = await deployed(place.database, tmp_path / "state_of_second")
    async with node_of(first) as node:
        acme, entry = await open_organization(node), node.ids.new("ledger")
        async with acme.begin() as w:
            ledger.add_entry(w, entry, "cash", 1, payer="Alice Aachen")
        await acme.checkpointed()
    place.back_up()
    async with node_of(first) as node:
        await Organization(node, acme.scope).add_entry()
    async with node_of(second) as node:
        await log.erase_person(node.journal, acme.scope, SYSTEM, entry)
    place.restore()
    for config, begun, personal in ((first, "restored", 1), (second, "", 0)):
        async with node_of(config) as node:
            assert node.incarnation.begun_now == begun
            leaves = (await Organization(node, acme.scope).holdings()).leaves
            assert len([leaf for leaf in leaves if leaf.personal]) == personal
