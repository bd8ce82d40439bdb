"""`tenantry serve` as a process: what it says, where it listens, that it is one, and how it ends."""

import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from tests.cli.conftest import COMMAND, Shell, environment

ANY_PORT = {"TENANTRY_HTTP_LISTEN": "127.0.0.1:0"}


class Serving(msgspec.Struct, frozen=True, eq=False):
    """A server that said where it listens."""

    process: "subprocess.Popen[str]"
    said: dict[str, Any]

    @property
    def address(self) -> str:
        """Its public address."""
        return self.said["listening"][0]


@contextmanager
def serving(shell: Shell, env: Mapping[str, str] = ANY_PORT) -> Iterator[Serving]:
    """A server in a process of its own, killed at the end of the block if it still runs."""
    process = subprocess.Popen(
        [*COMMAND, "serve"],
        cwd=shell.folder,
        env=environment(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield Serving(process, json.loads(process.stdout.readline()))
    finally:
        process.kill()
        process.communicate()


def test_a_server_says_where_it_listens_and_answers_there(deployed: Shell) -> None:
    with serving(deployed) as server:
        assert httpx2.get(f"{server.address}/health/ready").json() == {"ready": True}
        socket = Path(server.said["listening"][1])
        assert socket == deployed.folder / "tenantry.db.sock"
        assert socket.stat().st_mode & 0o777 == 0o600
        with httpx2.Client(transport=httpx2.HTTPTransport(uds=str(socket)), base_url="http://localhost") as client:
            assert client.get("/health/live").status_code == 200


def test_ops_06_a_second_server_on_one_file_is_refused_with_who_holds_it(deployed: Shell) -> None:
    """OPS-06: the second `serve` and a command that needs the file say which process has it; the first goes on."""
    with serving(deployed) as server:
        for command in ("serve", "confirm"):
            refused = deployed(command, env=ANY_PORT)
            assert refused.status == 1
            assert str(server.process.pid) in refused.err
        assert httpx2.get(f"{server.address}/health/ready").status_code == 200


def test_ops_19_a_server_ends_in_order_on_a_signal(deployed: Shell) -> None:
    """OPS-19: SIGTERM twice, then exit status 0, no socket left behind, and the next one starts."""
    with serving(deployed) as server:
        server.process.send_signal(signal.SIGTERM)
        while httpx2.get(f"{server.address}/health/ready").status_code == 200:
            pass
        server.process.send_signal(signal.SIGTERM)
        _, log = server.process.communicate(timeout=20)
        assert server.process.returncode == 0
        assert json.loads(log.splitlines()[-1])["event"] == "stopped"
        assert not Path(server.said["listening"][1]).exists()
    with serving(deployed) as again:
        again.process.send_signal(signal.SIGINT)
        again.process.communicate(timeout=20)
        assert again.process.returncode == 0


def test_a_server_that_was_killed_leaves_nothing_in_the_way(deployed: Shell) -> None:
    with serving(deployed) as server:
        server.process.kill()
        server.process.communicate()
    with serving(deployed) as server:
        assert httpx2.get(f"{server.address}/health/live").status_code == 200


def test_a_taken_address_is_refused_in_a_sentence(deployed: Shell, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Shell(tmp_path_factory.mktemp("other"))
    assert other("init", "--issuer", "https://other.example.com").status == 0
    with serving(deployed) as server:
        refused = other("serve", env={"TENANTRY_HTTP_LISTEN": server.address.removeprefix("http://")})
    assert refused.status == 2
    assert "Cannot listen" in refused.err


def test_sup_14_a_crash_leaves_no_core(deployed: Shell) -> None:
    """SUP-14: the size of a core file is 0, so no memory with keys in it reaches the disk."""
    with serving(deployed) as server:
        limits = Path(f"/proc/{server.process.pid}/limits")
        if not limits.exists():
            pytest.skip("this system has no /proc")
        (core,) = [line for line in limits.read_text().splitlines() if "core file size" in line]
        assert core.split()[4:6] == ["0", "0"]
