"""The journal: the one way to write. `begin` collects a write set and sends it; `run` reads again and retries what only collided."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Concatenate, ParamSpec, TypeVar

from tenantry.core.clock import Clock
from tenantry.core.errors import Conflict, Misuse, NotFound, StorageFull
from tenantry.core.ids import PLATFORM
from tenantry.core.principal import SYSTEM, Principal
from tenantry.core.scopes import TenantScope
from tenantry.journal.compose import compose, settle
from tenantry.journal.duties import Duty
from tenantry.journal.event import Origin
from tenantry.journal.pulse import Pulse
from tenantry.journal.schema import HEAD, Head
from tenantry.journal.writeset import WriteSet
from tenantry.store import Engine, Program, Read, Survey, each_organization

T = TypeVar("T")
P = ParamSpec("P")
TRIES = 4
"""One try and three more, when only a version guard failed."""

_NOWHERE = Origin()
_Send = Callable[[WriteSet, Principal, Origin], Awaitable[None]]
_ORGANIZATIONS = Survey(
    "organizations",
    "SELECT org FROM heads WHERE org > :after ORDER BY org LIMIT :most",
    {"after": str, "most": int},
    role="worker",
)


class Reads:
    """Reads of one organization, from the primary. Nothing here can reach another's rows."""

    def __init__(self, engine: Engine, scope: TenantScope) -> None:
        if not isinstance(scope, TenantScope):
            raise Misuse("Reading needs the scope of a tenant.")
        self._engine = engine
        self.org = scope.org

    async def all(self, read: Read[T], **args: Any) -> list[T]:
        """Every row of a registered read."""
        return await self._engine.read(read, self.org, args)

    async def one(self, read: Read[T], otherwise: type[Exception] = NotFound, **args: Any) -> T:
        """The single row of a registered read.

        Raises:
            NotFound (or `otherwise`): this organization has no such row.
        """
        rows = await self._engine.read(read, self.org, args)
        if not rows:
            raise otherwise()
        return rows[0]


class Journal:
    """Writes of a node. One per opened store."""

    def __init__(self, engine: Engine, clock: Clock, pulse: Pulse) -> None:
        self._engine = engine
        self._clock = clock
        self._pulse = pulse

    def reads(self, scope: TenantScope) -> Reads:
        """Reads within a scope."""
        return Reads(self._engine, scope)

    async def head(self, scope: TenantScope) -> Head:
        """The organization's last revision and number of leaves.

        Raises:
            NotFound: no such organization.
        """
        return await self.reads(scope).one(HEAD)

    def organizations(self) -> AsyncIterator[str]:
        """Every organization in the order of its id, the platform among them, for a job of a set an organization."""
        return each_organization(self._engine, _ORGANIZATIONS)

    def begin(
        self, scope: TenantScope, actor: Principal, *, origin: Origin = _NOWHERE, with_platform: bool = False
    ) -> "_Writing":
        """Collect a write set in the block and send it at its end; an exception in the block sends nothing.

        `with_platform` also opens the platform's part, `w.platform`, in the same transaction.

        Raises:
            TenantryError: a guard's refusal; nothing was written. `Ended`: the actor's credential was cut.
            Unavailable, StorageFull, Throttled: nothing was written; try again later.
            Unknown: the connection broke in the commit; read back before trying again.
        """
        if not isinstance(scope, TenantScope):
            raise Misuse("Writing needs the scope of a tenant.")
        w = WriteSet(scope.org, WriteSet(PLATFORM) if with_platform and scope.org != PLATFORM else None)
        return _Writing(w, self._send, actor, origin)

    def begin_duty(self, scope: TenantScope, duty: Duty) -> "_Writing":
        """A write set of a follower, sequencer or reaper: it commits only while this node holds the duty, and it alone may write
        derived tables and cursors. On PostgreSQL it runs as `worker`.

        Raises:
            NotOurs: another node has taken the duty; nothing was written.
        """
        w = WriteSet(scope.org)
        duty.hold(w)
        return _Writing(w, self._send_duty, SYSTEM, _NOWHERE)

    async def run(
        self,
        scope: TenantScope,
        actor: Principal,
        use_case: Callable[Concatenate[WriteSet, Reads, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a use case in a write set of its own, again from its reads on when a version guard failed (up to three times more).

        Raises:
            Conflict: somebody else was faster four times.
        """
        return await retried(lambda: self.begin(scope, actor), self.reads(scope), use_case, *args, **kwargs)

    async def _send(self, w: WriteSet, actor: Principal, origin: Origin) -> None:
        if w.is_empty() and (w.platform is None or w.platform.is_empty()):
            return
        now = self._clock.now_ms()
        self._pulse.refuse_backlog(now)
        await self._run(w, compose(w, actor, origin, now, dialect=self._engine.dialect))

    async def _send_duty(self, w: WriteSet, actor: Principal, origin: Origin) -> None:
        now = self._clock.now_ms()
        await self._run(w, compose(w, actor, origin, now, dialect=self._engine.dialect, role="worker"))

    async def _run(self, w: WriteSet, program: Program) -> None:
        try:
            outcome = await self._engine.run(program)
        except StorageFull:
            self._pulse.full_at = self._clock.boottime()
            raise
        settle(w, program, outcome)


class _Writing:
    """The block of a write set: it is sent at the end, and not at all if the block raises."""

    __slots__ = ("_actor", "_origin", "_send", "_w")

    def __init__(self, w: WriteSet, send: _Send, actor: Principal, origin: Origin) -> None:
        self._w = w
        self._send = send
        self._actor = actor
        self._origin = origin

    async def __aenter__(self) -> WriteSet:
        return self._w

    async def __aexit__(self, raised: object, *_: object) -> None:
        if raised is None:
            await self._send(self._w, self._actor, self._origin)


async def retried(
    begin: Callable[[], AbstractAsyncContextManager[WriteSet]],
    reads: Reads,
    use_case: Callable[Concatenate[WriteSet, Reads, P], Awaitable[T]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Run a use case in write sets that `begin` makes; see `Journal.run`, which does so for an actor and no request."""
    for _ in range(TRIES - 1):
        try:
            async with begin() as w:
                result = await use_case(w, reads, *args, **kwargs)
        except Conflict:
            continue
        return result
    async with begin() as w:
        return await use_case(w, reads, *args, **kwargs)
