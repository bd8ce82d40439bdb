"""The edge: the ASGI application. It finds the route, admits the caller, decodes, calls, encodes, and says refusals in the route's dialect.

Checks come in this order: the table, the count of what is under way, the caller, the body. A refusal costs no more than what was done
before it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Container, Mapping
from contextlib import ExitStack
from typing import Any

import msgspec
from starlette.datastructures import Headers
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from tenantry.app.dialects import refusal
from tenantry.core.clock import Clock
from tenantry.core.errors import NotFound, TenantryError, TooLarge, Unavailable
from tenantry.core.ids import IdSource
from tenantry.core.principal import Principal
from tenantry.core.scopes import TenantScope
from tenantry.core.tasks import end
from tenantry.journal import Journal, Origin
from tenantry.protection.places import Places
from tenantry.protection.rates import Rates
from tenantry.protection.sources import Network, client_of
from tenantry.web import CLIENT, INSIDE, PUBLIC, Call, Dialect, Raw, Route, Stream, Table
from tenantry.web.decoding import body_value, path_values, query_values, refuse_credentials
from tenantry.web.refusals import Malformed, TooSlow, Unauthenticated, WrongMedia

UNDER_WAY_MAX = 1_024
"""Requests answered at one time; more are told to come back."""

STREAMS_MAX = 4_096
"""Streams open at one time, which are not under way: they wait most of their time."""

COME_BACK_MS = 3_000
"""When those come back who found the node full: between this and twice as long, so that they do not all come at once."""

CLIENT_GONE = 499
"""What log and metrics say of a request whose client went before its body was whole; it is never sent."""

REQUEST_ID = "X-Request-Id"
UNKNOWN = "none"
"""What log and metrics call the route of a request that no route has."""

LOCAL = None
"""The port, as it were, of the socket beside the database."""

_NOWHERE = -1
_ONCE = frozenset({b"host", b"content-type", b"content-encoding", b"authorization", b"cookie", b"dpop"})


class Asked(msgspec.Struct, frozen=True, eq=False):
    """What is known of a request before its caller is admitted."""

    route: Route
    values: Mapping[str, Any]
    """The parameters of its path."""

    method: str
    path: str
    """As it was sent, without the query."""

    headers: Headers
    address: str
    """Where the connection comes from, empty on the local socket. No header counts."""

    local: bool
    """Whether it came by the socket beside the database, which only the server's own user may open."""

    request: str
    """Its id."""

    hold: Callable[[Principal, str], None]
    """Takes the place of a caller who proved itself, and of the organization that it asks about, before anything is read for it. Again, it
    does nothing.

    Raises:
        TooManyAtOnce: one of them has none left.
    """


class Admitted(msgspec.Struct, frozen=True, eq=False):
    """Whoever may call, and the organization that its call is about."""

    caller: Principal
    within: TenantScope
    on: str = ""
    """The object that the permission was asked on."""


Admit = Callable[[Asked], Awaitable[Admitted]]
"""Says who calls, once that is proved and its permission held; raises a refusal otherwise."""


async def admit_nobody(asked: Asked) -> Admitted:
    """Nobody has a credential while no room gives one.

    Raises:
        Unauthenticated: always.
    """
    raise Unauthenticated(f"{asked.route.method} {asked.route.path} needs a credential.")


class _Served(msgspec.Struct):
    """What becomes of one request; owned by the task that answers it."""

    request: str
    method: str
    route: Route | None = None
    status: int = 500
    code: str = ""
    message: str = ""
    caller: str = ""
    address: str = ""
    """Where it comes from."""

    read: bool = False
    """Whether the body, if there is one, was taken whole."""

    headers: dict[str, str] = {}
    """What the operation wants its answer to carry."""

    stream: Stream | None = None

    places: ExitStack = msgspec.field(default_factory=ExitStack)
    """What its caller takes for as long as the answer is sent."""


class Edge:
    """Answers requests by a table. `under_way` counts those being answered."""

    def __init__(
        self,
        table: Table,
        journal: Journal,
        clock: Clock,
        ids: IdSource,
        *,
        issuer: str,
        admit: Admit,
        log: FilteringBoundLogger,
        answered: Callable[[str, str, int, float], None],
        inside: Container[int | None],
        proxies: tuple[Network, ...],
        refused: Callable[[Admitted, TenantryError], None],
        stopping: asyncio.Event,
    ) -> None:
        """`inside` are the ports of the listeners that are for operators alone, `proxies` whose word on an address is believed;
        `refused` hears what somebody who was admitted was refused; `stopping` ends the streams.
        """
        self._table = table
        self._journal = journal
        self._clock = clock
        self._ids = ids
        self._issuer = issuer
        self._admit = admit
        self._log = log
        self._answered = answered
        self._inside = inside
        self._proxies = proxies
        self._refused = refused
        self._stopping = stopping
        self._rates = Rates(clock)
        self._places = Places()
        self._open = Places(streams=True)
        self._headers = security_headers(issuer)
        self._streams = 0
        self.under_way = 0

    def application(self) -> ASGIApp:
        """The ASGI application: this, and an answer for what nobody foresaw, which the server then logs."""
        return ServerErrorMiddleware(self, handler=self._on_unforeseen)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        began = self._clock.boottime()
        request = Request(scope, receive)
        served = _Served(self._ids.new("request"), scope["method"])
        if request.client is not None:
            served.address = client_of(request.client.host, request.headers.getlist("x-forwarded-for"), self._proxies)
        scope["tenantry"] = served
        self.under_way += 1
        try:
            response = await self._respond(request, served)
            served.status = response.status_code
            if served.stream and isinstance(response, StreamingResponse):
                await self._stream(served.stream, response, (scope, receive, send))
            else:
                await response(scope, receive, send)
        except ClientDisconnect:
            served.status, served.code = CLIENT_GONE, "client_gone"
        finally:
            served.places.close()
            self.under_way -= 1
            self._tell(served, self._clock.boottime() - began)

    async def _respond(self, request: Request, served: _Served) -> Response:
        try:
            return self._reply(served, await self._answer(request, served))
        except TenantryError as error:
            served.code, served.message = error.code, error.message
            return self._refuse(served, error, closes=_has_body(request) and not served.read)

    async def _answer(self, request: Request, served: _Served) -> Any:
        scope = request.scope
        route, values = self._table.find(scope["method"], scope["raw_path"])
        arrived = scope["server"][1] if scope["server"] else _NOWHERE
        if route.permission is INSIDE and arrived not in self._inside:
            raise NotFound
        served.route = route
        _check_headers(request)
        refuse_credentials(scope["query_string"])
        full = self._streams >= STREAMS_MAX if route.answer is Stream else self.under_way > UNDER_WAY_MAX
        if full and not route.limits.urgent:
            raise Unavailable(
                "This node is answering as many requests as it can.",
                hint="Come back a little later.",
                retry_after_ms=COME_BACK_MS,
            )
        typed = path_values(route, values)
        if route.permission in (PUBLIC, CLIENT, INSIDE):
            return await self._run(request, served, typed, None)
        path = scope["raw_path"].decode("ascii", "replace")
        with ExitStack() as held:
            asked = Asked(
                route=route,
                values=typed,
                method=served.method,
                path=path,
                headers=request.headers,
                address=served.address,
                local=arrived is LOCAL,
                request=served.request,
                hold=self._holding(held, route),
            )
            admitted = await self._admit(asked)
            served.caller = admitted.caller.id
            try:
                asked.hold(admitted.caller, admitted.within.org)
                return await self._for(admitted, request, served, typed)
            except TenantryError as error:
                self._refused(admitted, error)
                raise

    def _holding(self, held: ExitStack, route: Route) -> Callable[[Principal, str], None]:
        """Takes a place in `held`, once; what is urgent needs none."""
        waiting = [] if route.limits.urgent else [self._places]

        def hold(caller: Principal, org: str) -> None:
            while waiting:
                held.enter_context(waiting.pop().taken(caller, org))

        return hold

    async def _for(self, admitted: Admitted, request: Request, served: _Served, typed: Mapping[str, Any]) -> Any:
        """Answer somebody who was admitted, within the limits."""
        route = served.route
        assert route is not None
        if route.limits.rate is not None:
            self._rates.take(((route.name, admitted.caller.org, served.caller), route.limits.rate))
        if route.answer is Stream:
            served.places.enter_context(self._open.taken(admitted.caller, admitted.within.org))
        return await self._run(request, served, typed, admitted)

    async def _run(self, request: Request, served: _Served, typed: Mapping[str, Any], admitted: Admitted | None) -> Any:
        """Decode what the route takes and call it."""
        route, scope = served.route, request.scope
        assert route is not None
        query = query_values(route, scope["query_string"])
        body = body_value(route, request.headers.get("content-type", ""), await _read(request, route))
        served.read = True
        origin = Origin(request=served.request, network=served.address)
        caller, within, on = (admitted.caller, admitted.within, admitted.on) if admitted else (None, None, "")
        call = Call(self._journal, origin, caller, within, on, route.writes, request.headers, served.headers)
        given = {"query": query, "body": body}
        return await route.run(call, **typed, **{name: value for name, value in given.items() if value is not None})

    async def _stream(self, stream: Stream, response: StreamingResponse, to: tuple[Scope, Receive, Send]) -> None:
        """Send a stream, which is not under way but open, until it ends or the server stops."""
        self.under_way -= 1
        self._streams += 1
        sending = asyncio.create_task(response(*to))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({sending, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            whole = sending.done()
            for task in (sending, stopping):
                await end(task)
            await stream.pieces.aclose()
            self._streams -= 1
            self.under_way += 1
        if not whole:
            await to[2]({"type": "http.response.body", "body": b"", "more_body": False})
        elif not sending.cancelled():
            sending.result()

    def _reply(self, served: _Served, answer: Any) -> Response:
        assert served.route is not None
        headers = {**self._headers, REQUEST_ID: served.request, **served.headers}
        if served.route.answer is None:
            return Response(None, served.route.status, headers)
        if isinstance(answer, Stream):
            if served.method == "HEAD":
                return Response(None, served.route.status, headers, answer.media)
            served.stream = answer
            return StreamingResponse(answer.pieces, served.route.status, headers, answer.media)
        if isinstance(answer, Raw):
            return Response(answer.body, served.route.status, headers, answer.media)
        return Response(msgspec.json.encode(answer), served.route.status, headers, "application/json")

    async def _on_unforeseen(self, request: Request, error: Exception) -> Response:
        served: _Served = request.scope["tenantry"]
        error.add_note(served.request)
        return self._refuse(served, TenantryError(), closes=True)

    def _refuse(self, served: _Served, error: TenantryError, *, closes: bool) -> Response:
        refused = refusal(error, served.route.dialect if served.route else Dialect.PROBLEM, self._issuer)
        closing = {"Connection": "close"} if closes else {}
        headers = {**self._headers, REQUEST_ID: served.request, **served.headers, **refused.headers, **closing}
        return Response(refused.body, refused.status, headers, refused.media)

    def _tell(self, served: _Served, seconds: float) -> None:
        route = served.route.path if served.route else UNKNOWN
        method = served.method if served.route else UNKNOWN
        self._answered(method, route, served.status, seconds)
        fields: dict[str, object] = {
            "request": served.request,
            "method": method,
            "route": route,
            "status": served.status,
            "ms": round(seconds * 1000, 1),
            "address": served.address,
        }
        if served.caller:
            fields["caller"] = served.caller
        if served.code:
            fields["code"] = served.code
        if served.status >= 500 and served.message:
            fields["why"] = served.message
        self._log.log(logging.ERROR if served.status == 500 else logging.INFO, "request", **fields)


def security_headers(issuer: str) -> dict[str, str]:
    """What every answer carries. A page says for itself what it needs beyond nothing."""
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
    if issuer.startswith("https:"):
        headers["Strict-Transport-Security"] = "max-age=31536000"
    return headers


def _has_body(request: Request) -> bool:
    headers = request.headers
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _check_headers(request: Request) -> None:
    """Refuse headers that a proxy in front may have read otherwise."""
    given = [name for name, _ in request.scope["headers"] if name in _ONCE]
    if len(given) != len(set(given)):
        raise Malformed(f"One of the headers {', '.join(sorted(name.decode() for name in _ONCE))} is given twice.")
    if b"host" not in given and request.scope["http_version"] == "1.1":
        raise Malformed("A request names its host (RFC 9112, 3.2).")


async def _read(request: Request, route: Route) -> bytes:
    """The body, within the limits of its route.

    Raises:
        TooLarge, TooSlow: it passes one.
        WrongMedia: it is compressed.
    """
    if not _has_body(request):
        return b""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise WrongMedia("The body must not be compressed.")
    most = route.limits.body_bytes if route.body is not None else 0
    said = f"The body may have at most {most} bytes."
    if int(request.headers.get("content-length", "0")) > most:
        raise TooLarge(said)
    body = bytearray()
    try:
        async with asyncio.timeout(route.limits.body_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise TooLarge(said)
    except TimeoutError as error:
        raise TooSlow from error
    return bytes(body)
