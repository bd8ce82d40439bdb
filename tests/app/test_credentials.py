"""No kind of credential is forgotten: whatever the tree knows is either told of, or of a room that does not stand yet."""

from tenantry.app.credentials import NOT_YET, credential_kinds
from tenantry.app.node import Node
from tenantry.organizations.standing import Standings


async def test_every_kind_of_the_tree_is_in_the_registry(node: Node) -> None:
    assert set(credential_kinds(Standings(node.journal, node.clock)).missing()) == NOT_YET
