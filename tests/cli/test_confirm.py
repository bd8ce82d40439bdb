"""`tenantry confirm`: an operator's word, asked for once a life."""

import pytest

from tenantry.app.config import load
from tenantry.app.node import open_node
from tenantry.keys.root import ENVIRONMENT
from tests.cli.conftest import ISSUER, Shell


async def test_a_copied_database_is_confirmed_once(deployed: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    assert deployed("confirm").status == 1
    config = deployed.folder / "tenantry.toml"
    config.write_text(config.read_text().replace(ISSUER, "https://staging.example.com"))
    early = deployed("confirm")
    assert early.status == 1
    assert "Start a server first" in early.err
    monkeypatch.delenv(ENVIRONMENT, raising=False)  # here the key is in a file
    async with open_node(load(config)) as node:
        assert node.pulse.held
    assert _incarnation(deployed)["status"] == "warn"
    assert "tenantry confirm" in _incarnation(deployed)["next"]
    assert deployed("confirm").answer == {"incarnation": 2}
    assert _incarnation(deployed)["status"] == "ok"
    again = deployed("confirm")
    assert again.status == 1
    assert "already_done" in again.err


def _incarnation(shell: Shell) -> dict[str, str]:
    (found,) = [check for check in shell("doctor").answer["checks"] if check["name"] == "incarnation"]
    return found
