"""Whatever a request says about an organization, its verified credential decides."""

import pytest

from tests.stand.assembled import Headers, Home, House


@pytest.mark.parametrize("place", ["host", "header", "entry", "query", "body", "cookie"])
async def test_ten_02_no_name_in_a_request_leads_to_another_organization(
    house: House, acme: Home, globex: Home, place: str
) -> None:
    """TEN-02: host, headers, query, cookie and body that name Acme beside Globex's token: Globex's own answer, or a refusal."""
    before = await acme.ledger.holdings()
    named: dict[str, Headers] = {
        "host": {"Host": "acme.example", "X-Forwarded-Host": acme.org},
        "header": {"Tenantry-Organization": acme.org, "X-Organization": acme.org, "X-Tenant-Id": acme.org},
        "entry": {"Tenantry-Entry": f"{acme.org}/{acme.have['entry_id']}"},
        "cookie": {"Cookie": f"organization={acme.org}"},
    }
    headers = globex.admin | named.get(place, {})
    query = {"organization": acme.org, "org": acme.org} if place == "query" else None
    for path in ("/v1/organization", f"/v1/stores/{globex.have['store_id']}/check"):
        question = {"subject": "user:anne", "relation": "viewer", "object": "document:1"}
        more = {"org": acme.org, "organization_id": acme.org} if place == "body" else {}
        method, sent = ("GET", None) if path == "/v1/organization" else ("POST", question | more)
        answer = await house.client.request(method, path, headers=headers, params=query, json=sent)
        assert acme.org not in answer.text
        assert answer.status_code in (200, 400, 401, 403, 404, 421), answer.text
        if answer.status_code == 200 and method == "GET":
            assert answer.json()["id"] == globex.org
    renamed = await house.client.patch(
        "/v1/organization", headers=headers, params=query, json={"name": "Taken"} | ({"id": acme.org} if query else {})
    )
    assert acme.org not in renamed.text
    assert await acme.ledger.holdings() == before


async def test_ten_11_a_conflict_in_one_organization_says_nothing_of_another(
    house: House, acme: Home, globex: Home
) -> None:
    """TEN-11: what collides with Acme's (domain, address of an agent, indicator, key) is answered without a word of Acme's."""
    secrets = {acme.org, *acme.have.values(), "acme.example"}
    fresh = {"name": "acme.example"}
    for method, path, sent in (
        ("POST", "/v1/domains", fresh),
        ("POST", "/v1/resources", {"name": "R", "indicator": "https://mcp.acme.example/"}),
        ("POST", "/v1/users", {"email": "c@acme.example"}),
        ("POST", "/v1/groups", {"name": "Others"}),
        ("PATCH", f"/v1/groups/{acme.have['group_id']}", {"name": "Others"}),
        ("PUT", f"/v1/groups/{globex.have['group_id']}/members/{acme.have['user_id']}", None),
    ):
        answer = await globex.ask(method, path, sent)
        if not answer.is_success:
            told = {one for one in secrets if one in answer.text and one not in (path, str(sent))}
            assert not told, (path, answer.text)
    assert not any(
        acme.org in str(line) for line in house.server.log() if line.get("caller") == globex.have["admin_id"]
    )
