"""What was seen of an organization, over HTTP."""

from typing import Annotated

import msgspec
from msgspec import Meta

from tenantry.protection.signals import Signal, SignalKind, signals
from tenantry.web import Call, Permission, Route, route

READ_SIGNALS = Permission("can_read_audit", writes=False)
SignalId = Annotated[str, Meta(pattern="^(signal_[0-7][0-9A-HJKMNP-TV-Z]{25})?(?!\n)$", max_length=33)]


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which signals, the newest first."""

    kind: SignalKind | None = None
    after: SignalId = ""
    limit: Annotated[int, Meta(ge=1, le=100)] = 50


class SignalPage(msgspec.Struct, frozen=True):
    """A page of signals."""

    items: list[Signal]
    next: str | None


def routes() -> tuple[Route, ...]:
    """The routes of this room."""

    @route("GET", "/v1/signals", READ_SIGNALS)
    async def list_signals(call: Call, query: Wanted) -> SignalPage:
        """What was seen, counted by kind and subject; it is written once a minute."""
        kind = query.kind.value if query.kind else ""
        rows = await signals(call.reads, kind, query.after, query.limit + 1)
        return SignalPage(rows[: query.limit], rows[query.limit - 1].id if len(rows) > query.limit else None)

    return (list_signals,)
