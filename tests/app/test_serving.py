"""A server from its first answer to its last: listeners, what is for operators alone, overload, and an orderly end."""

import asyncio
import signal
from pathlib import Path

import msgspec
import pytest

from tenantry.app import edge, serving
from tenantry.app.config import Config, HttpConfig
from tenantry.app.listening import beside, listening
from tenantry.app.node import Node
from tenantry.core.errors import Invalid, Unavailable, Unsafe
from tests.app.conftest import Caller
from tests.stand.http import Served, local_client, served
from tests.stand.organizations import Organization

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)


async def test_ops_19_what_is_under_way_is_finished_and_readiness_goes_first(
    server: Served, ann: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OPS-19: after SIGTERM the node is not ready while it still listens; the request under way is answered; then nobody is."""
    assert (await server.client.get("/health/ready")).status_code == 200
    slow = asyncio.create_task(server.client.get("/v1/slow", headers=ann.headers))
    await server.gate.entered.wait()

    server.ending.tell(signal.SIGTERM)
    red = await server.client.get("/health/ready")
    assert (red.status_code, red.json()["code"]) == (503, "not_ready")
    assert "stopping" in red.json()["detail"]
    assert (await server.client.get("/health/live")).status_code == 200

    server.ending.tell(signal.SIGTERM)
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.close()
        except ConnectionError:
            break
    assert not slow.done()
    server.gate.opened.set()
    answer = await slow
    assert (answer.status_code, answer.json()) == (200, 1)
    assert answer.headers["Connection"] == "close"
    await server.ended()


async def test_ops_19_a_request_that_does_not_end_is_given_up(
    node: Node, deployment: Config, acme: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OPS-19: a stuck request does not keep the process for ever."""
    monkeypatch.setattr(serving, "FINISH_S", 0.2)
    async with served(node, deployment) as server:
        ann = server.enter("tok-ann", await acme.issue("user_ann"))
        stuck = asyncio.create_task(server.client.get("/v1/slow", headers=ann))
        await server.gate.entered.wait()
        server.ending.tell(signal.SIGINT)
        await server.ended()
        assert not server.gate.opened.is_set()
        assert (await stuck).status_code == 500


async def test_sup_12_the_measures_are_answered_to_operators_alone(node: Node, deployment: Config) -> None:
    """SUP-12: `/metrics` does not exist on the public address; it does on the inside one and on the socket beside the database."""
    async with served(node, deployment, inside=True) as server:
        public = await server.client.get("/metrics")
        assert (public.status_code, public.content) == (404, (await server.client.get("/nowhere")).content)
        inside = await server.client.get(f"{server.names[1]}/metrics")
        assert inside.status_code == 200
        async with local_client(Path(server.names[2])) as local:
            text = (await local.get("/metrics")).text
    assert "tenantry_ready 1.0" in text.splitlines()


async def test_ops_27_no_client_makes_new_series(server: Served) -> None:
    """OPS-27: a hundred made-up paths and values are one series each; routes are told apart by their declarations."""

    async def series() -> set[str]:
        for number in range(100):
            await server.client.get(f"/made-up/{number}")
            await server.client.get(f"/problems/{number}")
        async with local_client(Path(server.names[-1])) as local:
            return {line.rpartition(" ")[0] for line in (await local.get("/metrics")).text.splitlines()}

    await series()
    before = await series()
    assert 'tenantry_requests_total{method="GET",route="/problems/{code}",status="404"}' in before
    assert await series() == before


async def test_ops_18_a_full_node_says_so_early_and_spreads_those_who_come_back(
    server: Served, ann: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OPS-18: past the bound a request is told when to come back, not all at one second; health is still answered."""
    monkeypatch.setattr(edge, "UNDER_WAY_MAX", 1)
    slow = asyncio.create_task(server.client.get("/v1/slow", headers=ann.headers))
    await server.gate.entered.wait()
    refused = [await server.client.get("/v1/entries", headers=ann.headers) for _ in range(40)]
    assert {(r.status_code, r.json()["code"]) for r in refused} == {(503, "unavailable")}
    assert len({r.headers["Retry-After"] for r in refused}) > 1
    assert (await server.client.get("/health/live")).status_code == 200
    server.gate.opened.set()
    assert (await slow).status_code == 200
    assert (await server.client.get("/v1/entries", headers=ann.headers)).status_code == 200


async def test_a_node_that_must_end_ends_its_server(node: Node, deployment: Config) -> None:
    broken = msgspec.structs.replace(node, ended=asyncio.Event())
    with pytest.raises(Unavailable, match="had to end"):
        async with served(broken, deployment) as server:
            assert (await server.client.get("/health/live")).status_code == 200
            broken.ended.set()
            await server.ended()


def test_a_socket_of_a_server_that_was_killed_is_replaced_and_another_file_is_not(
    deployment: Config, tmp_path: Path
) -> None:
    file = tmp_path / "x.db"
    config = msgspec.structs.replace(
        deployment,
        http=HttpConfig(listen="127.0.0.1:0"),
        database=msgspec.structs.replace(deployment.database, file=str(file)),
    )
    with listening(config) as first:
        assert beside(file).stat().st_mode & 0o777 == 0o600
        with listening(config) as second:
            assert second.names != first.names
    assert not beside(file).exists()
    beside(file).write_text("mine")
    with pytest.raises(Unsafe, match="is no socket"), listening(config):
        pass
    assert beside(file).read_text() == "mine"


@pytest.mark.parametrize("listen", ["8080", ":8080", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:-1", "203.0.113.1:80"])
def test_an_address_that_cannot_be_had_is_refused_in_a_sentence(deployment: Config, listen: str) -> None:
    config = msgspec.structs.replace(deployment, http=HttpConfig(listen=listen))
    with pytest.raises(Invalid, match=listen), listening(config):
        pass
