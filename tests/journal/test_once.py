"""What is spent once stays spent, and what must be remembered of a refusal outlives it."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tenantry.app.config import Config
from tenantry.cli.demo import ledger
from tenantry.core.errors import Denied
from tests.journal.test_concurrency import writes_held
from tests.stand.nodes import deployed, node_of
from tests.stand.organizations import Organization, on, open_organization


async def test_ops_26_what_was_spent_once_is_spent_on_every_node_and_after_a_restart(
    fresh: Config, tmp_path: Path
) -> None:
    """OPS-26: a voucher spent on one node is refused by the others and by the next one to start; another voucher is not."""
    async with AsyncExitStack() as nodes:
        acme = await open_organization(await nodes.enter_async_context(node_of(fresh)))
        await acme.spend("seen")
        if not fresh.database.file:
            other = await deployed(fresh.where(), tmp_path / "state of another")
            with pytest.raises(ledger.AlreadySpent):
                await on(await nodes.enter_async_context(node_of(other)), acme).spend("seen")
    async with node_of(fresh) as node:
        again = on(node, acme)
        with pytest.raises(ledger.AlreadySpent):
            await again.spend("seen")
        await again.spend("unseen")


async def refuse_a_replay(acme: Organization) -> None:
    """End the family of a voucher that came back, then refuse."""
    async with acme.begin() as w:
        ledger.cut(w, "family_1", "a voucher came back")
    raise Denied("The voucher was replayed.")


async def test_ops_28_what_a_refusal_leaves_behind_is_committed_although_the_request_fails(
    fresh: Config, tmp_path: Path
) -> None:
    """OPS-28: the consequence of a refusal is a set of its own: the error raised afterwards does not undo it, here, on another node,
    or after a restart."""
    async with AsyncExitStack() as nodes:
        acme = await open_organization(await nodes.enter_async_context(node_of(fresh)))
        credential = await acme.issue("family_1")
        await acme.spend("first use", credential)
        with pytest.raises(Denied, match="replayed"):
            await refuse_a_replay(acme)
        seen_by = [acme]
        if not fresh.database.file:
            other = await deployed(fresh.where(), tmp_path / "state of another")
            seen_by.append(on(await nodes.enter_async_context(node_of(other)), acme))
        for organization in seen_by:
            with pytest.raises(Denied):
                await organization.spend("second use", credential)
        assert (await acme.holdings()).events()[-1]["type"] == "ledger.branch_cut"
    async with node_of(fresh) as node:
        with pytest.raises(Denied):
            await on(node, acme).spend("second use", credential)


async def test_ops_28_a_client_that_is_gone_before_the_answer_does_not_undo_the_consequence(
    deployment: Config, acme: Organization
) -> None:
    """OPS-28: the caller vanishes while the consequence is being written: it is committed, and the credential is dead."""
    credential = await acme.issue("family_1")
    async with writes_held(deployment, acme):
        refusing = asyncio.create_task(refuse_a_replay(acme))
        await asyncio.wait({refusing}, timeout=0.1)
        refusing.cancel()
        await asyncio.wait({refusing})
        assert refusing.cancelled()
    await acme.add_member("what was under way has come before this")
    with pytest.raises(Denied):
        await acme.spend("second use", credential)
    assert [cut.id for cut in (await acme.holdings()).cuts] == ["family_1"]
