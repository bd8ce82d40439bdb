"""Duties: which node sequences, derives, sends or reaps. A row a duty, fenced: each taking raises its number, and every write made under
the duty checks that number in its own transaction, so that a node which was stopped and wakes up cannot write for its successor.
"""

import msgspec

from tenantry.core.clock import Clock
from tenantry.core.errors import Denied
from tenantry.core.limits import CLOCK_SKEW_MS
from tenantry.journal.schema import HOLD_DUTY, RENEW_DUTY, TAKE_DUTY
from tenantry.journal.writeset import WriteSet
from tenantry.store import Engine, Program, Step

DUTY_MS = 3 * CLOCK_SKEW_MS
"""How long a duty is held without renewal. Fencing makes it safe; this only decides how soon another node takes over."""


SEQUENCING = "sequence"
"""The duty of whoever puts the logs under checkpoints. Without a holder for long, nothing is recorded any more (`Pulse`)."""


class NotOurs(Denied):
    """Another node holds the duty."""

    code = "not_ours"
    sentence = "Another node holds this duty."


class Duty(msgspec.Struct, frozen=True):
    """A duty this node took, with the number that fences it."""

    name: str
    fence: int

    def hold(self, w: WriteSet) -> None:
        """Refuse the set with `NotOurs` unless the duty is still this node's when it commits."""
        w.locks.append(self.step(w.org))

    def step(self, org: str = "") -> Step:
        """The guard itself, for a program that belongs to no organization."""
        return Step(org, HOLD_DUTY, {"name": self.name, "fence": self.fence}, NotOurs)


class Duties:
    """Takes and renews duties for one node."""

    def __init__(self, engine: Engine, clock: Clock, node: str) -> None:
        self._engine = engine
        self._clock = clock
        self._node = node

    async def take(self, name: str) -> Duty:
        """Take a duty that is free or lapsed.

        Raises:
            NotOurs: another node holds it.
        """
        now = self._clock.now_ms()
        args = {"name": name, "holder": self._node, "until": now + DUTY_MS, "now": now}
        (fence,) = (await self._engine.run(Program(name, [Step("", TAKE_DUTY, args, NotOurs)], "worker"))).made
        assert fence is not None  # else it was refused
        return Duty(name, fence)

    async def renew(self, duty: Duty) -> None:
        """Hold a duty for another `DUTY_MS`.

        Raises:
            NotOurs: it lapsed and another node took it.
        """
        args = {"name": duty.name, "fence": duty.fence, "until": self._clock.now_ms() + DUTY_MS}
        await self._engine.run(Program(duty.name, [Step("", RENEW_DUTY, args, NotOurs)], "worker"))

    async def release(self, duty: Duty) -> None:
        """Let a duty go at once, so that its successor need not wait until it lapses; nothing if it was lost already."""
        args = {"name": duty.name, "fence": duty.fence, "until": self._clock.now_ms() - 1}
        await self._engine.run(Program(duty.name, [Step("", RENEW_DUTY, args)], "worker"))
