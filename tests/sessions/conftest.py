"""What the tests of this room stand on: the access tokens of the run's node."""

import pytest

from tenantry.app.node import Node
from tenantry.sessions.tokens import AccessTokens
from tests.stand.credentials import access_tokens


@pytest.fixture
def tokens(node: Node) -> AccessTokens:
    """What mints and verifies on the run's node."""
    return access_tokens(node)
