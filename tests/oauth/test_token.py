"""The token endpoint over HTTP: who gets what, bound to what, and that everything else is refused by name and gives nothing."""

import pytest

from tenantry.keys.signing import Purpose, Use
from tests.oauth.stand import API, CLASSES, Server, client
from tests.stand.credentials import access_tokens
from tests.stand.organizations import Organization


@pytest.mark.parametrize("named", CLASSES)
async def test_a_client_of_each_class_gets_a_bound_token_for_itself(
    server: Server, acme: Organization, named: str
) -> None:
    bearer = await client(acme, named)
    answer = await server.token(bearer)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["token_type"], said["scope"]) == ("DPoP", "docs:read")
