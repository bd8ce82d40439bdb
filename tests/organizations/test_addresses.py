"""Registered addresses, as text."""

import pytest

from tenantry.core.errors import Invalid
from tenantry.organizations.addresses import client_metadata_url, indicator, redirect_uri

LONG = "https://a.example/" + "a" * 2_048


@pytest.mark.parametrize(
    "uri",
    ["https://a.example/back?x=1", "http://127.0.0.1/back", "http://[::1]:8080/back", "com.example.app:/back"],
)
def test_a_redirect_uri_is_taken_as_it_is(uri: str) -> None:
    assert redirect_uri(uri) == uri


@pytest.mark.parametrize(
    "uri",
    [
        *("http://a.example/back", "http://localhost/back", "https://a.example/#x", "https://a.example/#", "/back", ""),
        *("https://user@a.example/", "https://a.example\\@b.example/", "javascript:alert(1)", "data:text/html,x"),
        *("https:///back", "https://a.example/ b", "https://ä.example/", "https://a.example:x/", "app:/back", LONG),
        *("com.example.app://host/back", "file:///etc/passwd", "https://a.example/\n"),
    ],
)
def test_what_is_no_redirect_uri_is_refused(uri: str) -> None:
    with pytest.raises(Invalid):
        redirect_uri(uri)


@pytest.mark.parametrize("uri", ["https://api.example", "https://api.example/v1", "http://127.0.0.1:8000/mcp"])
def test_a_resource_indicator_is_taken_as_it_is(uri: str) -> None:
    assert indicator(uri) == uri


@pytest.mark.parametrize(
    "uri", ["api", "http://api.example", "https://api.example/#x", "urn:example:api", "com.example:/x"]
)
def test_what_is_no_resource_indicator_is_refused(uri: str) -> None:
    with pytest.raises(Invalid):
        indicator(uri)


@pytest.mark.parametrize("url", ["https://a.example/client.json", "https://a.example/x/client?v=1"])
def test_the_address_of_a_metadata_document_is_taken_as_it_is(url: str) -> None:
    assert client_metadata_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        *("https://a.example", "https://a.example/", "http://a.example/client", "https://a.example/x/../client"),
        *("https://a.example/./client", "https://a.example/client#x", "https://u:p@a.example/client"),
    ],
)
def test_what_is_no_address_of_a_metadata_document_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        client_metadata_url(url)
