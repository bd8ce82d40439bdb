"""What every request meets: a caller, limits, headers, an id, and refusals in the words of its protocol."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tenantry.cli.demo.ledger import ENTRY
from tests.app.conftest import Caller
from tests.stand.http import Served, local_client
from tests.stand.organizations import Organization

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)

UNKNOWN = "ledger_01K0000000000000000000000Z"


async def test_what_was_written_by_a_route_is_read_by_another_and_stands_in_the_log(
    server: Served, ann: Caller
) -> None:
    body = {"account": "cash", "amount": 5}
    added = await server.client.post("/v1/entries", headers=ann.headers, json=body)
    assert added.status_code == 201
    got = await server.client.get(f"/v1/entries/{added.json()['id']}", headers=ann.headers)
    assert (got.status_code, got.json()) == (200, added.json())
    event = (await ann.org.holdings()).events()[-1]
    assert event["request"] == added.headers["X-Request-Id"]
    assert event["actor"][0] == server.known["tok-ann"].id


async def test_a_use_case_of_a_route_runs_with_the_request_in_its_event(server: Served, ann: Caller) -> None:
    entry = await ann.org.add_entry()
    corrected = await server.client.post(f"/v1/entries/{entry}/correct", headers=ann.headers)
    assert corrected.status_code == 200
    assert (await ann.org.reads.one(ENTRY, id=entry)).amount == 2
    assert (await ann.org.holdings()).events()[-1]["request"] == corrected.headers["X-Request-Id"]


async def test_an_entry_of_another_organization_is_answered_like_one_that_never_was(
    server: Served, ann: Caller, globex: Organization
) -> None:
    theirs = await globex.add_entry()
    foreign = await server.client.get(f"/v1/entries/{theirs}", headers=ann.headers)
    unknown = await server.client.get(f"/v1/entries/{UNKNOWN}", headers=ann.headers)
    assert (foreign.status_code, foreign.content) == (404, unknown.content)
    own = {"X-Request-Id", "date"}
    assert {k: v for k, v in foreign.headers.items() if k not in map(str.lower, own)} == {
        k: v for k, v in unknown.headers.items() if k not in map(str.lower, own)
    }


async def test_a_malformed_id_in_the_path_is_an_unknown_one(server: Served, ann: Caller) -> None:
    unknown = await server.client.get(f"/v1/entries/{UNKNOWN}", headers=ann.headers)
    for spelled in (UNKNOWN.lower(), UNKNOWN + "%0A", "x", "%FF"):
        malformed = await server.client.get(f"/v1/entries/{spelled}", headers=ann.headers)
        assert (malformed.status_code, malformed.content) == (404, unknown.content)


async def test_who_proves_nothing_is_refused_before_the_body_is_read(server: Served, ann: Caller) -> None:
    nobody = await server.client.post("/v1/entries", content=b"{")
    assert (nobody.status_code, nobody.headers["WWW-Authenticate"]) == (401, 'Bearer realm="tenantry"')
    assert nobody.json()["code"] == "unauthenticated"
    assert (await server.client.post("/v1/entries", headers=ann.headers, content=b"{")).status_code == 415


async def test_who_may_only_read_does_not_write(server: Served, acme: Organization) -> None:
    weak = server.enter("weak-bob", await acme.issue("user_bob"))
    assert (await server.client.get("/v1/entries", headers=weak)).status_code == 200
    before = await acme.holdings()
    refused = await server.client.post("/v1/entries", headers=weak, json={"account": "cash", "amount": 5})
    assert (refused.status_code, refused.json()["code"]) == (403, "denied")
    assert await acme.holdings() == before


async def test_a_route_that_reads_cannot_write_and_says_nothing_of_the_inside(server: Served, ann: Caller) -> None:
    before = await ann.org.holdings()
    refused = await server.client.post("/v1/sneaky", headers=ann.headers)
    assert (refused.status_code, refused.json()["code"]) == (500, "error")
    assert "write" not in refused.text
    assert await ann.org.holdings() == before
    line = server.log()[-1]
    assert (line["code"], line["level"]) == ("misuse", "error")
    assert "write" in line["why"]


async def test_a_cut_credential_is_refused_where_it_writes(server: Served, ann: Caller) -> None:
    body = {"account": "cash", "amount": 5}
    assert (await server.client.post("/v1/entries", headers=ann.headers, json=body)).status_code == 201
    await ann.org.cut("user_ann")
    ended = await server.client.post("/v1/entries", headers=ann.headers, json=body)
    assert (ended.status_code, ended.json()["code"]) == (401, "ended")
    assert 'error="invalid_token"' in ended.headers["WWW-Authenticate"]


# Dialects


async def test_our_own_interface_says_problems(server: Served, ann: Caller) -> None:
    problem = await server.client.get(f"/v1/entries/{UNKNOWN}", headers=ann.headers)
    assert problem.headers["Content-Type"] == "application/problem+json"
    said = problem.json()
    assert (said["status"], said["code"], said["title"]) == (404, "not_found", "Not found")
    assert said["type"] == "https://id.example.com/problems/not_found"
    page = await server.client.get("/problems/not_found")
    assert page.json()["status"] == 404


async def test_oauth_says_oauth_errors(server: Served, ann: Caller) -> None:
    good = {"grant_type": "x", "scope": "", "unknown": "ignored"}
    assert (await server.client.post("/oauth/token", headers=ann.headers, data=good)).json()["grant_type"] == "x"
    twice = {**ann.headers, "Content-Type": "application/x-www-form-urlencoded"}
    refused = await server.client.post("/oauth/token", headers=twice, content="grant_type=x&grant_type=y")
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")
    assert set(refused.json()) == {"error", "error_description"}
    nobody = await server.client.post("/oauth/token", data=good)
    assert (nobody.status_code, nobody.json()["error"]) == (401, "invalid_client")
    assert nobody.headers["WWW-Authenticate"].startswith("Basic ")


async def test_scim_says_scim_errors(server: Served, ann: Caller) -> None:
    refused = await server.client.get("/scim/Users/2819c223", headers=ann.headers)
    assert refused.headers["Content-Type"] == "application/scim+json"
    said = refused.json()
    assert said["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
    assert (refused.status_code, said["status"]) == (404, "404")


# Headers


async def test_every_answer_carries_the_security_headers_and_an_id_of_its_own(server: Served, ann: Caller) -> None:
    answers = [
        await server.client.get("/health/live"),
        await server.client.get("/nowhere"),
        await server.client.get("/v1/broken", headers=ann.headers),
        await server.client.post("/oauth/token"),
        await server.client.put("/health/live"),
    ]
    assert [a.status_code for a in answers] == [200, 404, 500, 401, 405]
    for answer in answers:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "server" not in answer.headers
    assert len({a.headers["X-Request-Id"] for a in answers}) == len(answers)
    refused = await server.raw(b"nonsense\r\n\r\n")
    assert refused.startswith(b"HTTP/1.1 400")
    assert b"X-Content-Type-Options: nosniff" in refused


async def test_a_method_that_a_path_does_not_take_is_told_those_it_does(server: Served) -> None:
    refused = await server.client.delete("/health/live")
    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET")


async def test_head_is_answered_like_get_without_a_body(server: Served) -> None:
    head = await server.client.head("/health/live")
    got = await server.client.get("/health/live")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == got.headers["Content-Length"]


async def test_pro_01_without_a_named_proxy_no_header_says_where_a_request_comes_from(server: Served) -> None:
    """PRO-01: the address is the socket's, whatever a client says in its headers."""
    lies = [(name, "203.0.113.9") for name in ("X-Forwarded-For", "X-Real-IP", "X_Forwarded_For", "Forwarded")]
    await server.client.get("/health/live", headers=lies)
    assert server.log()[-1]["address"] == "127.0.0.1"


async def test_a_header_that_must_stand_once_is_refused_twice(server: Served, ann: Caller) -> None:
    once = list(ann.headers.items())
    assert (await server.client.get("/v1/entries", headers=once)).status_code == 200
    refused = await server.client.get("/v1/entries", headers=once * 2)
    assert (refused.status_code, refused.json()["code"]) == (400, "malformed")


# Limits


async def test_a_body_over_the_limit_is_refused_by_its_length_and_by_its_bytes(server: Served, ann: Caller) -> None:
    def body(size: int) -> bytes:
        return msgspec.json.encode({"account": "x" * size, "amount": 1})

    headers = {**ann.headers, "Content-Type": "application/json"}
    fits = body(1_000 - len(body(0)))
    assert (await server.client.post("/v1/entries", headers=headers, content=fits)).status_code == 201
    over = body(1_001 - len(body(0)))
    by_length = await server.client.post("/v1/entries", headers=headers, content=over)
    assert (by_length.status_code, by_length.json()["code"]) == (413, "too_large")
    assert by_length.headers["Connection"] == "close"

    async def chunks() -> AsyncIterator[bytes]:
        for begin in range(0, len(over), 100):
            yield over[begin : begin + 100]

    by_bytes = await server.client.post("/v1/entries", headers=headers, content=chunks())
    assert by_bytes.status_code == 413


async def test_a_body_that_does_not_arrive_is_not_waited_for(server: Served, ann: Caller) -> None:
    head = (
        f"POST /v1/entries HTTP/1.1\r\nHost: x\r\nAuthorization: {ann.headers['Authorization']}\r\n"
        "Content-Type: application/json\r\nContent-Length: 30\r\n\r\n"
    )
    answer = await server.raw(head.encode(), b'{"account":')
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"too_slow" in answer


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"account":"cash","amount":1,"amount":2}', "malformed"),
        (b'{"account":"cash","amount":1,"\\u0061mount":2}', "malformed"),
        (b'{"account":"cash","amount":1,"tags":{"a":1,"a":1}}', "malformed"),
        (b'{"account":"cash","amount":1,"extra":2}', "invalid"),
        (b'{"account":"cash","amount":"1"}', "invalid"),
        (b'{"account":"cash","amount":9007199254740992}', "too_large"),
        (b'{"account":"cash","amount":1,"tags":{"a":1e400}}', "too_large"),
        (b'{"account":"cash","amount":1,"tags":{"a":NaN}}', "malformed"),
        (b'{"account":"cash","amount":1,"tags":{"a":' + b"[" * 200 + b"]" * 200 + b"}}", "too_large"),
        (b'{"account":"cash","amount":' + b"9" * 900 + b"}", "too_large"),
        (b'{"account":"\\ud800","amount":1}', "malformed"),
        (b'{"account":"\xff","amount":1}', "malformed"),
        (b'\xef\xbb\xbf{"account":"cash","amount":1}', "malformed"),
        (b'{"account":"cash","amount":1} x', "malformed"),
        (b"", "malformed"),
    ],
)
async def test_pro_11_a_hostile_body_is_refused_and_nothing_comes_of_it(
    server: Served, ann: Caller, body: bytes, code: str
) -> None:
    """PRO-11: nested, huge, doubled, not finite, not UTF-8: refused with a code, and nothing is written."""
    headers = {**ann.headers, "Content-Type": "application/json"}
    good = await server.client.post("/v1/entries", headers=headers, content=b'{"account":"cash","amount":1}')
    assert good.status_code == 201
    before = await ann.org.holdings()
    refused = await server.client.post("/v1/entries", headers=headers, content=body)
    assert refused.json()["code"] == code
    assert refused.status_code in (400, 413)
    assert await ann.org.holdings() == before


@pytest.mark.parametrize("media", ["text/plain", "application/jsonp", "application/json; charset=utf-16", ""])
async def test_a_body_of_another_content_type_is_refused(server: Served, ann: Caller, media: str) -> None:
    content = b'{"account":"cash","amount":1}'
    good = {**ann.headers, "Content-Type": "Application/JSON; charset=UTF-8"}
    assert (await server.client.post("/v1/entries", headers=good, content=content)).status_code == 201
    bad = {**ann.headers, "Content-Type": media}
    assert (await server.client.post("/v1/entries", headers=bad, content=content)).status_code == 415
    packed = {**good, "Content-Encoding": "gzip"}
    assert (await server.client.post("/v1/entries", headers=packed, content=content)).status_code == 415


async def test_a_query_is_typed_bounded_and_strict(server: Served, ann: Caller) -> None:
    await ann.org.add_entry("cash")
    await ann.org.add_entry("bank")

    async def asked(query: str) -> tuple[int, object]:
        answer = await server.client.get(f"/v1/entries?{query}", headers=ann.headers)
        said = answer.json()
        return answer.status_code, len(said) if isinstance(said, list) else said["code"]

    assert await asked("limit=1") == (200, 1)
    assert await asked("account=cash&account=bank") == (200, 2)
    assert await asked("limit=0") == (400, "invalid")
    assert await asked("limit=1&limit=2") == (400, "malformed")
    assert await asked("other=1") == (400, "invalid")
    assert await asked("limit=%FF") == (400, "malformed")
    assert await asked("&".join(["account=x"] * 65)) == (413, "too_large")


async def test_sup_03_a_credential_in_the_address_is_refused_by_name_and_logged_nowhere(
    server: Served, ann: Caller
) -> None:
    """SUP-03: `token_in_url`; the log names routes, never paths or queries."""
    for headers in (ann.headers, {}):
        refused = await server.client.get("/v1/entries?access_token=s3cr3t-value", headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (400, "token_in_url")
    server.log()
    assert "s3cr3t" not in server.said.getvalue()


# What nobody foresaw, and what is logged


async def test_sup_02_what_nobody_foresaw_is_told_by_its_place_and_not_by_what_it_quotes(
    server: Served, ann: Caller
) -> None:
    """SUP-02: an exception in a route is logged by class and place under the request's id; its text, which quotes a secret, is not."""
    broken = await server.client.get("/v1/broken", headers=ann.headers)
    assert (broken.status_code, broken.json()["code"]) == (500, "error")
    lines = server.log()
    (fault,) = [line for line in lines if "exception" in line]
    assert fault["exception"] == "Unforeseen"
    assert fault["notes"] == [broken.headers["X-Request-Id"]]
    assert any("tests/stand/http.py" in place for place in fault["where"])
    for secret in ("hunter2", "tok-ann"):
        assert secret not in server.said.getvalue()
        assert secret not in broken.text
    assert (await server.client.get("/health/live")).status_code == 200


async def test_each_request_is_one_line_with_its_id_route_status_and_caller(server: Served, ann: Caller) -> None:
    answer = await server.client.get(f"/v1/entries/{UNKNOWN}", headers=ann.headers)
    line = server.log()[-1]
    assert line["request"] == answer.headers["X-Request-Id"]
    assert (line["route"], line["status"], line["caller"]) == (
        "/v1/entries/{entry_id}",
        404,
        server.known["tok-ann"].id,
    )
    assert UNKNOWN not in server.said.getvalue()


async def test_ops_20_a_client_that_goes_in_the_middle_of_its_body_leaves_nothing_under_way(
    server: Served, ann: Caller
) -> None:
    """OPS-20: two hundred clients reset in mid body; nothing stays under way, and the next one is served."""
    head = (
        f"POST /v1/entries HTTP/1.1\r\nHost: x\r\nAuthorization: {ann.headers['Authorization']}\r\n"
        "Content-Type: application/json\r\nContent-Length: 30\r\n\r\n{"
    ).encode()

    async def vanish() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head)
        await writer.drain()
        writer.transport.abort()

    await asyncio.gather(*(vanish() for _ in range(200)))
    good = await server.client.post("/v1/entries", headers=ann.headers, json={"account": "cash", "amount": 1})
    assert good.status_code == 201
    under_way = await under_way_of(server)
    while under_way > 1:
        under_way = await under_way_of(server)
    assert under_way == 1


async def under_way_of(server: Served) -> float:
    """Requests being answered, the one that asks among them."""
    async with local_client(Path(server.names[-1])) as client:
        text = (await client.get("/metrics")).text
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("tenantry_requests_under_way "))
