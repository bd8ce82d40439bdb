"""How long a nonce counts, whoever made it."""

import pytest

from tenantry.app.node import Node
from tenantry.oauth.nonces import STRETCH_MS, Nonces
from tests.stand.clock import ManualClock


@pytest.mark.parametrize(
    ("stretches", "taken"), [(-2, False), (-1, True), (0, True), (1, True), (2, False), (1_000, False)]
)
async def test_a_nonce_counts_in_its_stretch_of_time_and_in_those_beside_it(
    node: Node, clock: ManualClock, stretches: int, taken: bool
) -> None:
    nonces = Nonces(node.keyring, clock)
    nonce = (await nonces.near()).now
    clock.advance(stretches * STRETCH_MS)
    assert (await nonces.near()).takes(nonce) is taken


async def test_whatever_is_no_nonce_of_ours_is_not_taken(node: Node, clock: ManualClock) -> None:
    near = await Nonces(node.keyring, clock).near()
    assert near.takes(near.now)
    for other in ("", near.now[:-1], near.now + "A", near.now.swapcase(), "\u00e9", "x" * 10_000):
        assert not near.takes(other)
