"""The server's own log: JSON a line to a pipe, readable to a person, never a secret, and never in the way.

Whoever logs does not wait: lines go through a bounded queue to a thread of its own, and are dropped and counted where nobody reads them
fast enough. What is logged of a request is its route, never its path, query, headers or body.
"""

import logging
import queue
import re
import threading
import traceback
from collections.abc import MutableMapping
from typing import Any, TextIO

import msgspec
import structlog
from structlog.typing import FilteringBoundLogger, Processor

from tenantry.core.clock import Clock, iso
from tenantry.core.text import display

QUEUE_MAX_LINES = 10_000
WRITE_MAX_LINES = 256
CLOSE_S = 2.0
"""How long the end of the process waits for whoever reads the log."""

_SECRETS = re.compile(
    r"tnk_[0-9A-Z]{26}_[\w-]{43}"  # ours
    r"|eyJ[\w-]+\.[\w-]+\.[\w-]*"  # a JWT
    r"|(?i:bearer|basic|dpop)\s+[\w.~+/=-]{8,}"  # what stands in an Authorization header
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"  # of a connection string
)


class Sink:
    """Lines to a stream, written by a thread of its own, which alone counts what it could not write and sees the end; whoever logs counts
    the rest.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(QUEUE_MAX_LINES)
        self._refused = 0
        self._unwritten = 0
        self._ended = False
        self._thread = threading.Thread(target=self._write_for_ever, name="tenantry-log", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Take a line; never waits."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._refused += 1

    @property
    def dropped(self) -> int:
        """Lines that found the queue full, or could not be written."""
        return self._refused + self._unwritten

    def settle(self) -> None:
        """Wait until every line taken so far is written."""
        self._lines.join()

    def close(self) -> None:
        """Write what waits, unless nobody reads it for `CLOSE_S`."""
        try:
            self._lines.put(None, timeout=CLOSE_S)
        except queue.Full:
            return
        self._thread.join(CLOSE_S)

    def _write_for_ever(self) -> None:
        while lines := self._taken():
            try:
                self._stream.write("".join(f"{line}\n" for line in lines))
                self._stream.flush()
            except (OSError, ValueError):  # a full disk, a reader that is gone, a stream that was closed
                self._unwritten += len(lines)
            finally:
                for _ in lines:
                    self._lines.task_done()

    def _taken(self) -> list[str]:
        """What waits, in one go: each write takes the interpreter from whoever answers requests. Nothing at the end."""
        lines: list[str] = []
        while not self._ended and len(lines) < WRITE_MAX_LINES and (not lines or not self._lines.empty()):
            line = self._lines.get()
            if line is None:
                self._ended = True
            else:
                lines.append(line)
        return lines


class _Lines:
    """What structlog writes to."""

    def __init__(self, sink: Sink) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = sink.write


def logger(sink: Sink, clock: Clock, *, readable: bool) -> FilteringBoundLogger:
    """A logger of what happens, with fields; `readable` for a person at a terminal."""

    def stamped(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {"at": iso(clock.now_ms()), **event}

    processors: list[Processor] = [structlog.processors.add_log_level, _masked, stamped]
    if readable:
        processors += [_displayed, structlog.dev.ConsoleRenderer(timestamp_key="at", sort_keys=False)]
    else:
        processors.append(_as_json)
    return structlog.wrap_logger(
        _Lines(sink), processors=processors, wrapper_class=structlog.make_filtering_bound_logger(logging.INFO)
    ).bind()  # put together once, not at each line


class Libraries(logging.Handler):
    """What libraries log, in the same form. Of an exception: its class and where it was, not what it says, which may quote anything."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        fields: dict[str, object] = {"from": record.name}
        if record.exc_info and record.exc_info[1] is not None:
            fields |= unforeseen(record.exc_info[1])
        self._log.log(record.levelno, record.getMessage().strip(), **fields)


def unforeseen(error: BaseException) -> dict[str, object]:
    """The fields that tell of an exception nobody foresaw."""
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "exception": type(error).__qualname__,
        "where": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-12:]],
        "notes": list(getattr(error, "__notes__", ())),
    }


def _masked(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {name: _SECRETS.sub("…", value) if isinstance(value, str) else value for name, value in event.items()}


def _displayed(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {name: display(value) if isinstance(value, str) else value for name, value in event.items()}


def _as_json(_: object, __: str, event: MutableMapping[str, Any]) -> str:
    return msgspec.json.encode(event).decode()
