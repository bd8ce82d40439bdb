"""Raw bytes on a connection: what is no HTTP, too large, too slow or too much is answered and closed; others are served meanwhile."""

import asyncio
import signal

import pytest

from tenantry.app import protocol
from tests.app.conftest import Caller
from tests.stand.http import BIG_BYTES, Served

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)

GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
CLOSE = b"Connection: close\r\n\r\n"
POST = b"POST /v1/sneaky HTTP/1.1\r\nHost: x\r\n"


def statuses(answer: bytes) -> list[int]:
    """The status of each answer on a connection."""
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize(
    "request_",
    [
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: +3\r\n\r\nabc",
        POST + b"Content-Length: 0x3\r\n\r\nabc",
        POST + b"Content-Length: 99999999999999999999999999\r\n\r\n",
        POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        GET + b"Folded: a\r\n b\r\n" + CLOSE,
        GET + b"No colon\r\n" + CLOSE,
        GET + b"Nul: a\x00b\r\n" + CLOSE,
        b"GET /health/live HTTP/1.1\nHost: x\nConnection: close\n\n",
        b"GET /health/live HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET /health/live HTTP/3.7\r\nHost: x\r\n" + CLOSE,
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
    ],
    ids=lambda request: request.decode(errors="replace").encode("unicode_escape").decode()[-50:],
)
async def test_pro_10_a_request_that_a_proxy_may_read_otherwise_is_refused_and_closed(
    server: Served, request_: bytes
) -> None:
    """PRO-10: both lengths, doubled or negative ones, folded lines, bare line feeds: one refusal, and nothing after it is a request."""
    assert statuses(await server.raw(GET + CLOSE)) == [200]
    smuggled = request_ + GET + CLOSE
    assert statuses(await server.raw(smuggled)) == [400]


async def test_pro_10_a_head_of_too_many_bytes_or_lines_is_refused(server: Served) -> None:
    """PRO-10: a megabyte in one header, ten thousand headers, an address without end; one of ordinary size passes."""
    fits = b"X: " + b"a" * (protocol.HEAD_MAX_BYTES - 200) + b"\r\n"
    assert statuses(await server.raw(GET + fits + CLOSE)) == [200]
    over = [
        GET + b"X: " + b"a" * 1_000_000 + b"\r\n" + CLOSE,
        GET + b"X: a\r\n" * 10_000 + CLOSE,
        GET + b"X: a\r\n" * protocol.HEADERS_MAX + CLOSE,
        b"GET /" + b"a" * protocol.HEAD_MAX_BYTES + b" HTTP/1.1\r\nHost: x\r\n" + CLOSE,
    ]
    for head in over:
        assert statuses(await sent(server, head)) == [431]


async def sent(server: Served, head: bytes) -> bytes:
    """What is answered, although the server may close before it has read everything."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    answer = b""
    try:
        for begin in range(0, len(head), 8_192):
            writer.write(head[begin : begin + 8_192])
            await writer.drain()
        while chunk := await reader.read(65_536):
            answer += chunk
    except ConnectionError:
        pass
    finally:
        writer.close()
    return answer


async def test_pro_10_a_slow_head_is_not_waited_for(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """PRO-10: who sends nothing, or half a head, is closed in time, on a new connection as on one that was used; who is quick is served."""
    monkeypatch.setattr(protocol, "HEAD_S", 0.2)
    assert await server.raw() == b""
    assert statuses(await server.raw(GET)) == [408]
    used = await server.raw(GET + b"\r\n" + GET)
    assert statuses(used) == [200, 408]
    assert (await server.client.get("/health/live")).status_code == 200


async def test_pro_10_requests_ahead_of_their_answers_are_answered_in_order_up_to_a_bound(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PRO-10: sixteen pipelined requests are answered; ten thousand are not kept."""
    few = GET + b"\r\n"
    assert statuses(await server.raw(few * 15 + GET + CLOSE)) == [200] * 16
    assert 429 in statuses(await sent(server, few * 10_000))


async def test_pro_10_a_connection_too_many_takes_the_place_of_an_idle_one(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PRO-10: with every connection taken by idle clients, a new client is served."""
    monkeypatch.setattr(protocol, "CONNECTIONS_MAX", 8)
    idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(12)]
    assert statuses(await server.raw(GET + CLOSE)) == [200]
    ends = {asyncio.create_task(reader.read()) for reader, _ in idle}
    closed = 0
    async with asyncio.timeout(protocol.HEAD_S / 2):  # those that stay would be closed for their slow head later
        while closed < 4:
            ended, ends = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            closed += len(ended)
    for _, writer in idle:
        writer.close()


async def test_pro_10_a_client_that_does_not_read_its_answer_is_given_up(
    server: Served, ann: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PRO-10: an answer larger than all buffers, to a client that reads nothing, does not keep the connection; who reads gets all of it."""
    assert len((await server.client.get("/v1/big", headers=ann.headers)).content) == BIG_BYTES
    monkeypatch.setattr(protocol, "SEND_S", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1_024)
    writer.write(
        b"GET /v1/big HTTP/1.1\r\nHost: x\r\nAuthorization: " + ann.headers["Authorization"].encode() + b"\r\n\r\n"
    )
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    server.ending.tell(signal.SIGINT)
    await server.ended()  # which waits for every connection
    writer.transport.abort()


@pytest.mark.parametrize(
    "path",
    [
        *("/health//live", "//health/live", "/health/live/", "/health/./live", "/health/x/../live", "/Health/live"),
        *(
            "/health/live;x=y",
            "/health%2flive",
            "/health%252flive",
            "/health/live.",
            "/health/live%00",
            "/health\\live",
        ),
    ],
)
async def test_ten_18_another_spelling_of_a_path_is_no_route(server: Served, path: str) -> None:
    """TEN-18: dots, doubled and encoded slashes, parameters of segments, case: 404, as for a path that never was."""
    assert statuses(await server.raw(GET + CLOSE)) == [200]
    answer = await server.raw(GET.replace(b"/health/live", path.encode()) + CLOSE)
    assert statuses(answer) == [404]


@pytest.mark.parametrize("header", ["X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Uri", "X-HTTP-Method-Override"])
async def test_ten_18_no_header_moves_a_request_to_another_route(server: Served, header: str) -> None:
    """TEN-18: headers that some proxies and frameworks obey mean nothing here."""
    for value in ("/health/live", "DELETE"):
        nowhere = await server.client.get("/nowhere", headers={header: value})
        assert nowhere.status_code == 404
        live = await server.client.get("/health/live", headers={header: value})
        assert live.status_code == 200
