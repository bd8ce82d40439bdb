"""What becomes of a refusal in each dialect, where a request of the other tests does not show it."""

import msgspec
import pytest

from tenantry.app.dialects import INSIDE, refusal
from tenantry.core.errors import Misuse, Stale, TenantryError, Unknown
from tenantry.web import Dialect

ISSUER = "https://id.example.com"


@pytest.mark.parametrize("dialect", Dialect)
def test_a_node_that_has_not_heard_is_unavailable_and_nobody_asked_too_much(dialect: Dialect) -> None:
    refused = refusal(Stale(), dialect, ISSUER)
    assert refused.status == 503
    assert int(refused.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("dialect", Dialect)
def test_a_commit_of_which_nobody_knows_is_told_as_that(dialect: Dialect) -> None:
    refused = refusal(Unknown("The connection broke.", hint="Read back what was written."), dialect, ISSUER)
    assert refused.status == 500
    assert b"Read back what was written." in refused.body
    assert b"outcome_unknown" in refused.body or dialect is not Dialect.PROBLEM


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("fault", [Misuse("table users"), TenantryError("table users")], ids=["misuse", "unnamed"])
def test_a_fault_of_ours_says_nothing_of_the_inside(dialect: Dialect, fault: TenantryError) -> None:
    refused = refusal(fault, dialect, ISSUER)
    assert refused.status == 500
    assert b"table users" not in refused.body
    assert INSIDE.encode() in refused.body


def test_each_dialect_has_its_content_type_and_members() -> None:
    found = {
        dialect: (answer.media, sorted(msgspec.json.decode(answer.body)))
        for dialect in Dialect
        if dialect is not Dialect.AUTHZEN and (answer := refusal(Stale(), dialect, ISSUER))
    }
    assert found == {
        Dialect.PROBLEM: ("application/problem+json", ["code", "detail", "status", "title", "type"]),
        Dialect.OAUTH: ("application/json", ["error", "error_description"]),
        Dialect.SCIM: ("application/scim+json", ["detail", "schemas", "status"]),
        Dialect.OPENFGA: ("application/json", ["code", "message"]),
    }
    sentence = refusal(Stale(), Dialect.AUTHZEN, ISSUER)
    assert (sentence.media, msgspec.json.decode(sentence.body)) == ("application/json", str(Stale()))
