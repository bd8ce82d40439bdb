"""What a play is made of: steps that prove something, each with twins that differ in one thing and must be refused."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

import msgspec

from tenantry.core.clock import SystemClock
from tenantry.core.errors import TenantryError


class Twin(msgspec.Struct, frozen=True):
    """The same as what was allowed but for one thing, and whether it was refused."""

    name: str
    refused: bool


class Step(msgspec.Struct, frozen=True):
    """A step as it went: `proof` says what was seen, or why it failed."""

    name: str
    ok: bool
    ms: int
    proof: str
    twins: list[Twin] = []


class Played(msgspec.Struct, frozen=True):
    """The whole play."""

    steps: list[Step]

    @property
    def ok(self) -> bool:
        """Whether every step held and every twin was refused."""
        return all(step.ok for step in self.steps)


class Proved(msgspec.Struct, frozen=True):
    """What a scene saw."""

    proof: str
    twins: Sequence[Twin] = ()


class NotAsPromised(TenantryError):
    """The play saw something else than what stands in its text."""

    code = "not_as_promised"


class Told(Protocol):
    """Whoever watches."""

    def began(self, name: str) -> None:
        """A step begins."""
        ...

    def went_on(self, done: int, total: int) -> None:
        """The step that runs is this far."""
        ...

    def ended(self, step: Step) -> None:
        """A step ended."""
        ...


Advance = Callable[[int, int], None]


class Scene(msgspec.Struct, frozen=True):
    """A step before it is played; `play` is told how to report how far it is."""

    name: str
    play: Callable[[Advance], Awaitable[Proved]]


async def perform(scenes: Iterable[Scene], watcher: Told) -> Played:
    """Play the scenes in order. After one that failed nothing more is played: the next would only fail for its reasons."""
    clock, steps = SystemClock(), list[Step]()
    for scene in scenes:
        watcher.began(scene.name)
        began = clock.boottime()
        try:
            proved = await scene.play(watcher.went_on)
        except Exception as error:  # noqa: BLE001 - whatever a scene dies of is its result, and what was played is still told
            proved, held = Proved(_told(error)), False
        else:
            held = all(twin.refused for twin in proved.twins)
        ms = round((clock.boottime() - began) * 1000)
        steps.append(Step(scene.name, held, ms, proved.proof, list(proved.twins)))
        watcher.ended(steps[-1])
        if not held:
            break
    return Played(steps)


def _told(error: Exception) -> str:
    """A refusal in its own words; what nobody foresaw also by its name."""
    return str(error) if isinstance(error, TenantryError) else f"{type(error).__name__}: {error}"


def expect(holds: bool, otherwise: str) -> None:
    """Refuse to go on unless what was promised holds.

    Raises:
        NotAsPromised: it does not.
    """
    if not holds:
        raise NotAsPromised(otherwise)


def accepted(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer that must be a yes.

    Raises:
        NotAsPromised: it is a refusal.
    """
    expect(answer["ok"], f"a node refused what it should do: {answer.get('error')} {answer.get('message')}")
    return answer


def refused(name: str, answer: dict[str, Any], error: str) -> Twin:
    """A twin that must be refused with this code and no other."""
    return Twin(name, not answer["ok"] and answer["error"] == error)
