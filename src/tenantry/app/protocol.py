"""HTTP/1.1 as uvicorn reads it, with the limits that uvicorn does not have: of a request's head, of the time it may take, of
requests sent ahead of their answers, and of connections.

Whoever passes a limit is answered and the connection closed, so that no byte after it can be taken for somebody else's request.
"""

import asyncio
from collections.abc import Mapping
from typing import ClassVar

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_MAX_BYTES = 16_384
"""The request line and all headers."""

HEADERS_MAX = 100
HEAD_S = 10.0
"""How long a head may take to arrive, from the connection's begin or its own first byte on."""

AHEAD_MAX = 16
"""Requests sent on one connection before the first of them is answered."""

CONNECTIONS_MAX = 4_096


SEND_S = 30.0
SEND_MIN_BYTES = 65_536
"""What a client must take of an answer that waits for it, in each `SEND_S`."""


class _Refused(ValueError):
    """Ends the parser, which then asks for an answer."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection."""

    answer_headers: ClassVar[Mapping[str, str]] = {}
    """What its own answers carry besides; set once, where the server is put together."""

    _unread: asyncio.TimerHandle | None = None
    _deadline: asyncio.TimerHandle | None = None
    _head_open = False
    """Whether the head of a request has begun and not ended."""

    _head_bytes = 0
    _held_bytes = 0
    """Of an unfinished head, what may wait in the parser."""

    _refusal = (400, "This is no HTTP request.")

    def connection_made(self, transport: asyncio.Transport) -> None:
        """See `asyncio.Protocol`. One connection too many takes the place of an idle one, or is closed unheard."""
        super().connection_made(transport)
        self._wait_for_head()
        if len(self.connections) > CONNECTIONS_MAX:
            idle = (other for other in self.connections if isinstance(other, LimitedProtocol) and other.idle)
            next((other for other in idle if other is not self), self).transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._stop_waiting()
        self._stop_sending()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self.transport.is_closing():
            return
        self._held_bytes = self._held_bytes + len(data) if self._head_open else 0
        super().data_received(data)
        if self._head_open and self._held_bytes > HEAD_MAX_BYTES and not self.transport.is_closing():
            self._refuse(431, "The head of the request is too large.")

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`: the client reads slower than it is written to."""
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().resume_writing()
        self._stop_sending()

    def on_message_begin(self) -> None:
        """See httptools."""
        super().on_message_begin()
        self._head_open, self._head_bytes, self._held_bytes = True, 0, 0
        if self._deadline is None:
            self._wait_for_head()

    def on_url(self, url: bytes) -> None:
        """See httptools."""
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        super().on_header(name, value)
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._head_open = False
        self._stop_waiting()
        super().on_headers_complete()
        if len(self.pipeline) > AHEAD_MAX:
            self._refusal = (429, "Too many requests are sent ahead of their answers.")
            raise _Refused

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the sentence is ours
        """What uvicorn calls for everything that its parser refuses."""
        self._refuse(*self._refusal)

    @property
    def idle(self) -> bool:
        """Whether no request of this connection is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _count(self, more: int) -> None:
        self._head_bytes += more
        if self._head_bytes > HEAD_MAX_BYTES or len(self.headers) > HEADERS_MAX:
            self._refusal = (431, "The head of the request is too large.")
            raise _Refused

    def _wait_for_head(self) -> None:
        self._deadline = self.loop.call_later(HEAD_S, self._on_slow_head)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _wait_for_reader(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        self._unread = self.loop.call_later(SEND_S, self._on_slow_reader, waiting)

    def _on_slow_reader(self, before: int) -> None:
        if before - self.transport.get_write_buffer_size() < SEND_MIN_BYTES:
            self.transport.abort()
        else:
            self._wait_for_reader()

    def _stop_sending(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _on_slow_head(self) -> None:
        if self._head_open and self.idle:
            self._refuse(408, "The head of the request did not arrive in time.")
        else:
            self.transport.close()

    def _refuse(self, status: int, detail: str) -> None:
        """Answer with a problem (RFC 9457) of no further type, and close."""
        body = msgspec.json.encode({"type": "about:blank", "status": status, "detail": detail})
        headers = {
            **self.answer_headers,
            "Content-Type": "application/problem+json",
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(b"".join([STATUS_LINE[status], head.encode(), b"\r\n", body]))
        self.transport.close()
