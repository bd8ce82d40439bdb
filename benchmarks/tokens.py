"""What it saves a verifier outside to keep what a token said: the same check on every use, without decoding and the signature.

Both sides look at expiry, audience, sender, cuts and the lease each time. One uses a token that was verified before, the other always one
that was not: it goes through more tokens than are kept.
"""

from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from itertools import cycle
from time import perf_counter
from typing import Any

from benchmarks.ground import Ground
from benchmarks.measure import Row, Side, in_turns
from tenantry.app.node import Node
from tenantry.core.ids import PLATFORM
from tenantry.keys.signing import Algorithm, Purpose, Use
from tenantry_sdk import Verifier
from tenantry_sdk.verifier import KEPT_MAX
from tests.stand.credentials import ISSUER, holders, minted, opened, resigned
from tests.stand.nodes import looked
from tests.stand.organizations import open_organization
from tests.stand.verifiers import place

GOAL = 50
AT_ONCE_S = 0.2
"""How long to go on before node and verifier, which share the loop, get their turn to hear of what was cut."""


async def rows(ground: Ground) -> list[Row]:
    """Uses of a token a second, kept against not kept."""
    config = await ground.deployment("sqlite")
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(place(config))
        verifier = await stack.enter_async_context(here.verifier())
        await verifier.feed.ready()
        acme = await open_organization(here.woods.node)
        kept = (await minted(here.tokens, acme.id, holders(acme.node, acme.id)["user"])).token
        header, claims, _ = opened(kept)
        use = Use(Purpose.ACCESS_TOKEN, ISSUER, PLATFORM)
        key, now_ms = await acme.node.keyring.signing(use, Algorithm.ES256), acme.node.clock.now_ms()
        others = cycle(
            [
                resigned(header, claims | {"jti": f"token_{number}"}, lambda signed: key.sign(signed, use, now_ms))
                for number in range(KEPT_MAX + 1)
            ]
        )
        note = (
            f"uses/s in one task; ES256, cuts and lease looked at on both sides; {ground.machine.beside(1, 'loopback')}"
        )
        return [
            await in_turns(
                "Tokens: verify one that was verified before",
                _uses(acme.node, verifier, lambda: verifier.verify(kept)),
                _uses(acme.node, verifier, lambda: verifier.verify(next(others))),
                ground.pace,
                goal=GOAL,
                note=note,
            )
        ]


def _uses(node: Node, verifier: Verifier, one: Callable[[], Coroutine[Any, Any, object]]) -> Side:
    """One task that uses tokens; what node and verifier do in between does not count."""

    async def side(seconds: float) -> float:
        done, spent = 0, 0.0
        while spent < seconds:
            await looked(node)
            await verifier.feed.ping()
            began = perf_counter()
            while (now := perf_counter()) < began + AT_ONCE_S:
                await one()
                done += 1
            spent += now - began
        return done / spent

    return side
