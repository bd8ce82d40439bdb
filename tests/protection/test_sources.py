"""Where a request comes from, and as whose coming it counts."""

import pytest

from tenantry.core.errors import Invalid
from tenantry.protection.sources import HOPS_MAX, client_of, networks, source

PROXIES = networks(["10.0.0.0/8", "2001:db8:aaaa::/48"])
ALICE = "203.0.113.7"


def test_pro_01_the_address_is_the_rightmost_hop_that_is_no_named_proxy() -> None:
    """PRO-01: what stands left of the first unnamed hop anybody could have written."""
    assert client_of("10.0.0.1", ["198.51.100.1, 203.0.113.7, 10.9.9.9"], PROXIES) == ALICE
    assert client_of("10.0.0.1", ["198.51.100.1", "203.0.113.7"], PROXIES) == ALICE
    assert client_of("2001:db8:aaaa::1", [f"::ffff:{ALICE}"], PROXIES) == ALICE


@pytest.mark.parametrize("proxies", [(), networks(["192.0.2.0/24"])])
def test_pro_01_without_a_named_proxy_the_header_is_nothing(proxies: tuple[()]) -> None:
    """PRO-01: a header from somebody who is no proxy of ours moves no address."""
    assert client_of("10.0.0.1", [ALICE], proxies) == "10.0.0.1"


@pytest.mark.parametrize("said", ["", "unknown", "_hidden", "203.0.113.7:4711", "for=203.0.113.7", "203.0.113.7 x"])
def test_pro_01_a_hop_that_is_no_address_is_not_read_past(said: str) -> None:
    """PRO-01: where a named proxy wrote no address, the proxy itself is where the request comes from."""
    assert client_of("10.0.0.1", [f"{ALICE}, {said}"], PROXIES) == "10.0.0.1"
    assert client_of("10.0.0.1", [f"{ALICE}, {said}, 10.0.0.2"], PROXIES) == "10.0.0.2"


def test_pro_01_a_thousand_hops_are_not_looked_at() -> None:
    """PRO-01: the walk ends after a bounded number of named proxies."""
    assert client_of("10.0.0.1", [", ".join([ALICE, *["10.0.0.2"] * 1_000])], PROXIES) == "10.0.0.2"
    assert client_of("10.0.0.1", [", ".join([ALICE, *["10.0.0.2"] * (HOPS_MAX - 1)])], PROXIES) == ALICE


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::"),
        ("2001:DB8:1:2:0:0:0:1", "2001:db8:1:2::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("::ffff:cb00:7107", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_pro_02_one_subscriber_is_one_source_however_it_is_spelled(one: str, other: str) -> None:
    """PRO-02: the key is the canonical network, /64 of IPv6 and the address of IPv4."""
    assert source(one).narrow == source(other).narrow


@pytest.mark.parametrize(
    ("one", "other", "wide"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:3::1", "2001:db8:1::/48"),
        ("203.0.113.7", "203.0.113.8", "203.0.113.0/24"),
    ],
)
def test_pro_02_neighbours_are_two_sources_of_one_wider_network(one: str, other: str, wide: str) -> None:
    """PRO-02: beside the subscriber's own network there is a coarser step."""
    assert source(one).narrow != source(other).narrow
    assert source(one).wide == source(other).wide == wide


@pytest.mark.parametrize("text", ["10.0.0.1/8", "proxy.example.com", "10.0.0.0/33", ""])
def test_what_is_no_network_is_refused_as_a_proxy(text: str) -> None:
    networks(["10.0.0.0/8"])
    with pytest.raises(Invalid):
        networks([text])
