"""What is spent once stays spent, and what must be remembered of a refusal outlives it."""

import pytest

from tenantry.app.config import Config
from tenantry.cli.demo import ledger
from tenantry.core.errors import Denied
from tests.stand.nodes import node_of
from tests.stand.organizations import Organization, on, open_organization


async def test_ops_26_what_was_spent_once_is_spent_after_a_restart(fresh: Config) -> None:
    """OPS-26: a voucher spent before the node ended is refused by the next one; another voucher is not."""
    async with node_of(fresh) as node:
        acme = await open_organization(node)
        await acme.spend("seen")
    async with node_of(fresh) as node:
        again = on(node, acme)
        with pytest.raises(ledger.AlreadySpent):
            await again.spend("seen")
        await again.spend("unseen")


async def test_ops_28_what_a_refusal_leaves_behind_is_committed_although_the_request_fails(acme: Organization) -> None:
    """OPS-28: the consequence of a refusal is a set of its own: the error raised afterwards does not undo it."""

    async def refuse_a_replay() -> None:
        async with acme.begin() as w:
            ledger.cut(w, "family_1", "a voucher came back")
        raise Denied("The voucher was replayed.")

    credential = await acme.issue("family_1")
    await acme.spend("first use", credential)
    with pytest.raises(Denied, match="replayed"):
        await refuse_a_replay()
    with pytest.raises(Denied):
        await acme.spend("second use", credential)
    assert (await acme.holdings()).events()[-1]["type"] == "ledger.branch_cut"
