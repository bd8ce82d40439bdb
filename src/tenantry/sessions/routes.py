"""Ending access, the receipts of it, and the feed, over HTTP."""

from typing import Annotated

import msgspec

from tenantry.core.clock import Clock, iso
from tenantry.core.errors import Invalid
from tenantry.core.limits import LEASE_MS
from tenantry.journal import Event, Target, Text
from tenantry.keys.signing import Jwk
from tenantry.sessions import branches
from tenantry.sessions.feed import RECENT_S, Feed, Pong
from tenantry.sessions.kinds import Kinds
from tenantry.sessions.permissions import CAN_END_ACCESS, CAN_FOLLOW_FEED, CAN_READ_RECEIPTS
from tenantry.sessions.receipts import Receipt, Receipts, prove_gone
from tenantry.sessions.schema import END_BRANCH, RECEIPTS_OF
from tenantry.web import PUBLIC, Call, Limits, Route, Stream, route

URGENT = Limits(urgent=True)
SHOWN_MAX = 100
"""Credentials that one answer names."""

BranchId = Annotated[str, msgspec.Meta(pattern="^[a-z]{2,16}_[0-9A-HJKMNP-TV-Z]{26}$", max_length=43)]
_PLACE = "^[0-9]{1,16}\\.[0-9]{1,16}$"


class BranchCut(Event, tag="branch.cut", frozen=True):
    """Everything below a branch was ended at once."""

    branch: Target
    kind: str
    reason: Text


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why access is ended."""

    reason: Annotated[str, msgspec.Meta(max_length=256)] = ""


class CutMade(msgspec.Struct, frozen=True):
    """A cut, as it was made. What descends from the branch is dead everywhere `bound_ms` after `at`; the receipt says where it is not."""

    branch: str
    org: str
    revision: int
    at: str
    bound_ms: int
    receipt: str


class ReceiptPage(msgspec.Struct, frozen=True):
    """Parts of receipts in order of their revision."""

    items: list[Receipt]
    next: str | None


class After(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a page begins."""

    after: Annotated[str, msgspec.Meta(pattern=_PLACE)] = "0.0"
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10


class Within(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far back a ping asks, in milliseconds."""

    within_ms: Annotated[int, msgspec.Meta(ge=1, le=RECENT_S * 1000)]


class Living(msgspec.Struct, frozen=True):
    """A credential that nothing has ended."""

    kind: str
    id: str
    ends_at_ms: int | None


class GoneAnswer(msgspec.Struct, frozen=True):
    """What stands below a branch now: nothing, if it is gone. `revision` is that of the last cut of the branch itself, if it was cut.

    `live` counts the credentials that can still be used, `shown` holds the first of them; `ended` counts those whose rows look open and
    that a cut above them has ended.
    """

    branch: str
    org: str
    revision: int | None
    live: int
    shown: list[Living]
    ended: int


class Keys(msgspec.Struct, frozen=True):
    """A JWK Set (RFC 7517, 5)."""

    keys: list[Jwk]


def routes(kinds: Kinds, receipts: Receipts, feed: Feed, clock: Clock) -> tuple[Route, ...]:
    """The routes of this room."""

    @route("POST", "/v1/branches/{branch_id}/cut", CAN_END_ACCESS, limits=URGENT)
    async def cut_branch(call: Call, branch_id: BranchId, body: Reason) -> CutMade:
        """End everything that descends from a branch, at once and everywhere."""
        kind = await kinds.find(call.reads, branch_id)
        now_ms = clock.now_ms()
        async with call.begin() as w:
            if kind.name in branches.KEPT:
                w.write(END_BRANCH, id=branch_id, ended_at=now_ms)
            w.cut(branch_id)
            w.record(BranchCut(branch_id, kind.name, body.reason))
        where = f"/v1/branches/{branch_id}/receipts?after={w.revision}.0"
        return CutMade(branch_id, call.scope.org, w.revision, iso(now_ms), LEASE_MS, where)

    @route("GET", "/v1/branches/{branch_id}/receipts", CAN_READ_RECEIPTS)
    async def list_receipts(call: Call, branch_id: BranchId, query: After) -> ReceiptPage:
        """The receipts of a branch: one for each time it was cut, in parts."""
        await kinds.find(call.reads, branch_id)
        revision, part = (int(number) for number in query.after.split("."))
        rows = await call.reads.all(RECEIPTS_OF, branch=branch_id, revision=revision, part=part, most=query.limit)
        following = f"{rows[-1].revision}.{rows[-1].part}" if len(rows) == query.limit else None
        return ReceiptPage([msgspec.json.decode(row.body, type=Receipt) for row in rows], following)

    @route("GET", "/v1/branches/{branch_id}/gone", CAN_READ_RECEIPTS)
    async def prove_branch_gone(call: Call, branch_id: BranchId) -> GoneAnswer:
        """What still lives below a branch, from the primary."""
        gone = await prove_gone(call.reads, kinds, branch_id, clock.now_ms())
        shown = [Living(one.kind, one.id, one.ends_at_ms) for one in gone.live[:SHOWN_MAX]]
        return GoneAnswer(gone.branch, gone.org, gone.revision, len(gone.live), shown, gone.ended)

    @route("GET", "/v1/receipts/keys", PUBLIC)
    async def receipt_keys(_: Call) -> Keys:
        """The public keys that verify receipts, without us."""
        return Keys(await receipts.keys())

    @route("GET", "/v1/feed", CAN_FOLLOW_FEED)
    async def follow_feed(call: Call) -> Stream:
        """The cuts of the organization and the platform as server-sent events, from `Last-Event-ID` on or from the oldest that count."""
        last = call.headers.get("last-event-id", "")
        if len(last) > 40:
            raise Invalid("This Last-Event-ID is none of ours.")
        call.answer_headers["X-Accel-Buffering"] = "no"
        return Stream(feed.follow(call.principal, call.scope.org, last), "text/event-stream")

    @route("GET", "/v1/feed/ping", CAN_FOLLOW_FEED, limits=URGENT)
    async def ping_feed(call: Call, query: Within) -> Pong:
        """How old this node's last completed read is, and the cuts it has applied lately."""
        return feed.pong(call.scope.org, query.within_ms)

    return cut_branch, list_receipts, prove_branch_gone, receipt_keys, follow_feed, ping_feed
