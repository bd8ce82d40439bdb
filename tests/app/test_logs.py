"""The server's log: a line of JSON or of text, never a secret, never in the way."""

import io
import os
import threading
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from tenantry.app.logs import QUEUE_MAX_LINES, Sink, logger
from tenantry.core.ids import PLATFORM
from tenantry.core.secrets import Secret
from tests.stand.clock import ManualClock


def logged(clock: ManualClock, *, readable: bool = False, **fields: object) -> str:
    """What one event looks like."""
    said = io.StringIO()
    sink = Sink(said)
    logger(sink, clock, readable=readable).info("event", **fields)
    sink.close()
    return said.getvalue()


def test_a_line_is_one_object_with_its_time(clock: ManualClock) -> None:
    line = msgspec.json.decode(logged(clock, route="/v1/x", status=200))
    assert (line["event"], line["level"], line["route"], line["status"]) == ("event", "info", "/v1/x", 200)
    assert line["at"].endswith("Z")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"got {Secret.issue(PLATFORM).reveal()} from", "tnk_"),
        ("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", "eyJ"),
        ("Authorization: Bearer abcdefgh12345678", "abcdefgh"),
        ("DPoP abcdefgh12345678", "abcdefgh"),
        ("postgresql://app:hunter2@db/x", "hunter2"),
    ],
    ids=["a secret of ours", "a token", "a bearer", "a proof", "a connection string"],
)
@pytest.mark.parametrize("readable", [False, True])
def test_sup_02_what_looks_like_a_credential_is_masked_at_the_sink(
    clock: ManualClock, text: str, secret: str, readable: bool
) -> None:
    """SUP-02: whoever logs it, in whatever field; the rest of the text stays."""
    assert secret not in logged(clock, readable=readable, why=f"before {text} after")
    assert "before" in logged(clock, readable=readable, why=f"before {text} after")


def test_what_is_shown_to_a_person_cannot_move_the_cursor(clock: ManualClock) -> None:
    assert "\x1b[2J" not in logged(clock, readable=True, why="a\x1b[2Jb\nfake line")
    assert len(logged(clock, readable=True, why="a\x1b[2Jb\nfake line").splitlines()) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full disk to write to")
def test_ops_27_a_log_on_a_full_disk_is_counted_and_holds_nobody_up(clock: ManualClock) -> None:
    """OPS-27: the disk of the log is full: nothing is raised, and what could not be written is counted."""
    full = Path("/dev/full").open("w")  # noqa: SIM115 - closing it raises what could not be written
    sink = Sink(full)
    logger(sink, clock, readable=False).info("event")
    sink.settle()
    assert sink.dropped == 1
    sink.close()
    with suppress(OSError):
        full.close()


def test_ops_27_a_log_that_nobody_reads_holds_nobody_up_and_counts_what_it_drops(clock: ManualClock) -> None:
    """OPS-27: a full pipe: whoever logs goes on, the queue is bounded, the rest is counted."""
    read, write = os.pipe()
    with os.fdopen(write, "w") as full, os.fdopen(read, "rb", buffering=0) as reader:
        sink = Sink(full)
        log = logger(sink, clock, readable=False)
        for _ in range(QUEUE_MAX_LINES + 2_000):
            log.info("event", why="x" * 100)
        assert sink.dropped > 0
        draining = threading.Thread(target=reader.readall)
        draining.start()
        sink.close()
        full.close()
        draining.join()
