"""The key of a node's commands: registered once, and never again once it was ended."""

import json
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from tenantry.app.enrollment import FILE, enroll, read_operator_key
from tenantry.app.node import Node
from tenantry.core import scopes
from tenantry.core.errors import Unsafe
from tenantry.core.principal import SYSTEM
from tenantry.organizations import keys
from tenantry.organizations.keys import KEY_OF_THUMBPRINT


async def test_a_key_is_registered_once_and_one_that_was_revoked_stays_so(node: Node, tmp_path: Path) -> None:
    assert await enroll(node.journal, node.ids, node.clock, tmp_path)
    assert not await enroll(node.journal, node.ids, node.clock, tmp_path)
    mine, reads = read_operator_key(tmp_path), node.journal.reads(scopes.of_platform())
    registered = await reads.one(KEY_OF_THUMBPRINT, thumbprint=mine.kid)
    assert (registered.principal_id, registered.status) == (mine.client_id, "active")
    await node.journal.run(scopes.of_platform(), SYSTEM, keys.revoke, mine.client_id, registered.id)
    assert not await enroll(node.journal, node.ids, node.clock, tmp_path)
    assert (await reads.one(KEY_OF_THUMBPRINT, thumbprint=mine.kid)).status == "revoked"


async def test_a_key_that_a_crash_left_unregistered_is_registered_by_the_next_run(node: Node, tmp_path: Path) -> None:
    left = {"client_id": node.ids.new("service"), "jwk": ECKey.generate_key("P-256").as_dict(private=True)}
    (tmp_path / FILE).touch(mode=0o600)
    (tmp_path / FILE).write_text(json.dumps(left))
    assert await enroll(node.journal, node.ids, node.clock, tmp_path)
    assert read_operator_key(tmp_path).client_id == left["client_id"]


def test_what_is_no_key_or_readable_by_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsafe):
        read_operator_key(tmp_path)
    (tmp_path / FILE).touch(mode=0o600)
    for content in ("", "{}", '{"client_id": "service_", "jwk": {"kty": "EC"}}'):
        (tmp_path / FILE).write_text(content)
        with pytest.raises(Unsafe, match="no operator's key"):
            read_operator_key(tmp_path)
