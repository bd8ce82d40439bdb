"""A call: what the handler of a route has of its request and of the node. It is an argument all the way; nothing of it is ambient."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Concatenate, ParamSpec, TypeVar

import msgspec

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
    """Whoever proved itself; nobody on a route that is public or authenticates its clients itself."""

    within: TenantScope | None
    """The organization that the call is about, where somebody was admitted to it."""

    on: str
    """The object that the route's permission was asked on, such as `store:store_…`; empty where nobody was admitted."""

    writes: bool
    """Whether its route may write."""

    headers: Mapping[str, str]
    """What the request carries; names in any case."""

    answer_headers: dict[str, str]
    """What the answer, or the refusal, is to carry besides what every answer does."""

    @property
    def principal(self) -> Principal:
        """Whoever proved itself.

        Raises:
            Misuse: the route admits nobody.
        """
        if self.caller is None:
            raise Misuse("A route that admits nobody has no caller.")
        return self.caller

    @property
    def scope(self) -> TenantScope:
        """The organization that the call is about: the caller's own, or one it was admitted to.

        Raises:
            Misuse: the route admits nobody.
        """
        if self.within is None:
            raise Misuse("A route that admits nobody is about no organization.")
        return self.within

    @property
    def reads(self) -> Reads:
        """Reads within that organization."""
        return self.journal.reads(self.scope)

    def begin(self) -> AbstractAsyncContextManager[WriteSet]:
        """A write set of that organization; see `Journal.begin`.

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
