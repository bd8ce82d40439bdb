"""Where a request comes from, in the steps in which limits count it.

One who has an IPv6 network has 2^64 addresses, and one address has many spellings. So a source is a network in its one spelling:
`narrow` is what one subscriber has, `wide` what one site may have.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network

import msgspec

from tenantry.core.errors import Invalid

Network = IPv4Network | IPv6Network
HOPS_MAX = 32
"""Addresses of one header that are looked at."""

_NARROW = {4: 32, 6: 64}
_WIDE = {4: 24, 6: 48}


class Source(msgspec.Struct, frozen=True):
    """An address as limits count it. All three are empty on the local socket."""

    address: str = ""
    narrow: str = ""
    wide: str = ""


def source(text: str) -> Source:
    """The source that an address belongs to; one that is none is a source of its own.

    An IPv4 address written as IPv6 (`::ffff:192.0.2.1`) is the IPv4 address (RFC 4291, 2.5.5.2).
    """
    try:
        address = ip_address(text)
    except ValueError:
        return Source(text, text, text)
    mapped = None if isinstance(address, IPv4Address) else address.ipv4_mapped
    plain = mapped or type(address)(
        int(address)
    )  # an IPv6 address may name an interface of its own machine: not a part of it
    narrow = ip_network((plain, _NARROW[plain.version]), strict=False)
    wide = ip_network((plain, _WIDE[plain.version]), strict=False)
    return Source(str(plain), str(narrow), str(wide))


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks of proxies that the configuration names.

    Raises:
        Invalid: one is no network.
    """
    try:
        return tuple(ip_network(text) for text in texts)
    except ValueError as error:
        raise Invalid(f"This is no network: {error}.", hint="Write it as 10.0.0.0/8 or 2001:db8::/32.") from error


def client_of(peer: str, forwarded: Iterable[str], proxies: tuple[Network, ...]) -> str:
    """The address that a request comes from: the connection's own, or, where that is a named proxy's, the rightmost one of
    `X-Forwarded-For` that is none. Whatever stands left of it anybody could have written. `forwarded` are the header's lines.
    """
    if not _named(peer, proxies):
        return peer
    hops = [hop.strip() for line in forwarded for hop in line.rsplit(",", HOPS_MAX)]
    for hop in reversed(hops[-HOPS_MAX:]):
        if not _is_address(hop):
            return peer  # whoever stands behind a proxy that does not say is the proxy
        if not _named(hop, proxies):
            return source(hop).address
        peer = hop
    return peer


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _named(text: str, proxies: tuple[Network, ...]) -> bool:
    if not proxies or not _is_address(text):
        return False
    address = ip_address(source(text).address)
    return any(address.version == network.version and address in network for network in proxies)
