"""Following what is cut, and the lease to say yes.

The stream tells each cut within moments. The lease is renewed by pings alone: it runs from the moment a ping was *sent*, less the age of
the node's last completed read that the answer states. So the time from a commit to the last yes is one budget, however it is spent: a
node that is 699 ms behind leaves 1 ms here.
"""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx2

from tenantry_sdk.errors import Ended, Refused, Stale, TenantryError, WrongOrganization
from tenantry_sdk.lineage import Lineage
from tenantry_sdk.server import Server

LEASE_S = 0.7
"""From the commit of a cut to the last yes."""

PING_EVERY_S = 0.2
SLACK_MS = 250
"""How much further back a ping asks than it must: two clocks do not run alike."""

REACH_MS = 60_000
"""How far back a ping can ask; beyond it the stream is opened again."""

AGAIN_S = (0.1, 0.3, 1.0, 3.0)
"""How long to wait before the stream is opened again: after it ended, after one failure, two, and from then on."""

SILENCE_S = 15.0
"""A stream that brings nothing for so long, not even a heartbeat, is dead."""


class Feed:
    """What has been cut, as far as is known here. Owned by one event loop; its two tasks live from `start` to `close`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._clock = server.clock
        self._cuts: dict[str, dict[str, int]] = {}
        self._older: dict[str, dict[str, int]] = {}
        self._turned = self._clock.boottime()
        self._window_s = 0.0
        self._complete: float | None = None  # everything committed before this moment is known; boot time
        self._withheld: frozenset[str] = frozenset()
        self._incarnation: int | None = None
        self._organization: str | None = None
        self._last_id = ""
        self._reopen = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._whole = asyncio.Event()
        self.checkpoint = ""
        """The newest checkpoint of the log, as it was signed. Keep it: it proves later that nothing before it was changed."""

    def start(self) -> None:
        """Begin to follow."""
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._ping())]

    async def close(self) -> None:
        """Stop following."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def ready(self, within_s: float = 5.0) -> None:
        """Wait until it is known what has been cut.

        Raises:
            Stale: it was not, in time.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._whole.wait()
        except TimeoutError:
            raise Stale from None

    def holds(self) -> bool:
        """Whether a yes may be said now."""
        return self._complete is not None and self._clock.boottime() - self._complete < LEASE_S

    def check(self, org: str, lineage: Lineage) -> None:
        """Refuse what descends from a cut. Holds for this moment only.

        Raises:
            Ended: something of its path was cut after it was made, or it is of another life of the deployment.
            WrongOrganization: the feed does not tell of this organization.
            Stale: it is not known.
        """
        for known in (self._cuts, self._older):
            _refuse_cut(known.get(org), lineage.path, lineage.rev)
            _refuse_cut(known.get(_PLATFORM), lineage.platform_path, lineage.platform_rev)
        if self._organization not in (None, org):
            raise WrongOrganization
        if not self.holds() or (self._withheld and (org in self._withheld or _PLATFORM in self._withheld)):
            raise Stale
        if lineage.incarnation != self._incarnation:
            raise Ended

    async def _follow(self) -> None:
        """Keep a stream open."""
        failures = 0
        while True:
            self._reopen.clear()
            reading = asyncio.create_task(self._read())
            asked = asyncio.create_task(self._reopen.wait())
            try:
                await asyncio.wait({reading, asked}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                asked.cancel()
                reading.cancel()
                await asyncio.wait({reading, asked})
            failures = min(failures + 1, len(AGAIN_S) - 1) if _failed(reading) else 0
            await asyncio.sleep(AGAIN_S[failures])

    async def _read(self) -> None:
        """One stream, until it ends."""
        opened = self._clock.boottime()
        headers = await self._server.own_headers()
        if self._last_id:
            headers["Last-Event-ID"] = self._last_id
        timeout = httpx2.Timeout(10, read=SILENCE_S)
        async with self._server.http.stream("GET", self._server.url("/v1/feed"), headers=headers, timeout=timeout) as r:
            if r.status_code != 200:
                raise Refused(f"The feed was answered {r.status_code}.", r.status_code)
            async for name, data, place in _events(r):
                if name == "hello":
                    self._meet(data["incarnation"])
                    self._organization, self._window_s = data["organization"], data["window_ms"] / 1000
                elif name == "cuts":
                    self._learn(data)
                elif name == "now":
                    self._extend(opened)
                elif name == "checkpoint":
                    self.checkpoint = data["note"]
                elif name in ("over", "dropped", "ended"):
                    return
                self._last_id = place or self._last_id

    async def _ping(self) -> None:
        """Renew the lease, but while a stream has yet to tell what lies between."""
        while True:
            await self._whole.wait()
            with suppress(TenantryError, TimeoutError):
                async with asyncio.timeout(LEASE_S):
                    await self.ping()
            await asyncio.sleep(PING_EVERY_S)

    async def ping(self) -> None:
        """Ask once; the lease then runs from now, less the age that is answered.

        Raises:
            Unreachable, Refused: there is no answer, and the lease runs on as it was.
        """
        sent, complete = self._clock.boottime(), self._complete
        if complete is None:
            return
        within_ms = math.ceil((sent - complete) * 1000) + SLACK_MS
        if within_ms > REACH_MS:
            self._ask_anew()
            return
        url = self._server.url(f"/v1/feed/ping?within_ms={within_ms}")
        pong = await self._server.get(url, await self._server.own_headers())
        if pong["incarnation"] != self._incarnation or not pong["whole"]:
            self._ask_anew()
            return
        self._learn(pong["cuts"])
        self._withheld = frozenset(pong["withheld"])
        self._extend(sent - pong["age_ms"] / 1000)

    def _meet(self, incarnation: int) -> None:
        """Another life of the deployment counts its revisions anew: nothing of what was known holds."""
        if self._incarnation != incarnation:
            self._cuts, self._older = {}, {}
            self._incarnation, self._complete, self._last_id = incarnation, None, ""

    def _learn(self, told: list[dict[str, Any]]) -> None:
        """Keep cuts for as long as a token can live that they end."""
        now = self._clock.boottime()
        if now >= self._turned + self._window_s:
            self._older, self._cuts, self._turned = self._cuts, {}, now
        for cut in told:
            known = self._cuts.setdefault(cut["org"], {})
            known[cut["id"]] = max(cut["rev"], known.get(cut["id"], 0))

    def _extend(self, complete: float) -> None:
        self._complete = complete if self._complete is None else max(complete, self._complete)
        self._whole.set()

    def _ask_anew(self) -> None:
        """What lies between is not known: let a stream tell it. Until then the lease runs on as it was."""
        self._whole.clear()
        self._last_id = ""
        self._reopen.set()


_PLATFORM = "org_" + "0" * 26


def _refuse_cut(cuts: dict[str, int] | None, path: tuple[str, ...], rev: int) -> None:
    """Refuse a path of which something was cut after `rev`; most organizations have cut nothing lately."""
    if cuts:
        for branch in path:
            if cuts.get(branch, 0) > rev:
                raise Ended


def _failed(reading: asyncio.Task[None]) -> bool:
    """Whether a stream broke, rather than ended by itself or because another was wanted."""
    error = None if reading.cancelled() else reading.exception()
    if error is not None and not isinstance(
        error, httpx2.HTTPError | TenantryError | ValueError | KeyError | TypeError
    ):
        raise error
    return error is not None


async def _events(response: httpx2.Response) -> AsyncIterator[tuple[str, Any, str]]:
    """Name, data and id of each server-sent event."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line and not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif not line and "data" in fields:
            yield fields.get("event", ""), json.loads(fields["data"]), fields.get("id", "")
            fields = {}
