"""A call: what the handler of a route has of its request and of the node. It is an argument all the way; nothing of it is ambient."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Concatenate, ParamSpec, TypeVar

import msgspec

from tenantry.core import scopes
from tenantry.core.errors import Misuse
from tenantry.core.principal import Principal
from tenantry.core.scopes import TenantScope
from tenantry.journal import Journal, Origin, Reads, WriteSet, retried

T = TypeVar("T")
P = ParamSpec("P")


class Call(msgspec.Struct, frozen=True, eq=False):
    """One request, after its caller was admitted."""

    journal: Journal
    origin: Origin
    caller: Principal | None
    """Whoever proved itself; nobody on a public route."""

    writes: bool
    """Whether its route may write."""

    @property
    def principal(self) -> Principal:
        """Whoever proved itself.

        Raises:
            Misuse: the route is public.
        """
        if self.caller is None:
            raise Misuse("A public route has no caller.")
        return self.caller

    @property
    def scope(self) -> TenantScope:
        """The caller's organization."""
        return scopes.of_principal(self.principal)

    @property
    def reads(self) -> Reads:
        """Reads within the caller's organization."""
        return self.journal.reads(self.scope)

    def begin(self) -> AbstractAsyncContextManager[WriteSet]:
        """A write set of the caller's organization; see `Journal.begin`.

        Raises:
            Misuse: the route only reads.
        """
        if not self.writes:
            raise Misuse("A route that reads began to write.")
        return self.journal.begin(self.scope, self.principal, origin=self.origin)

    async def run(
        self, use_case: Callable[Concatenate[WriteSet, Reads, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a use case in a write set, again when a version guard failed; see `Journal.run`.

        Raises:
            Misuse: the route only reads.
        """
        return await retried(self.begin, self.reads, use_case, *args, **kwargs)
