"""What the parameters of a condition hold: JSON values, read as the types of OpenFGA (openfga.v1.ConditionParamTypeRef).

As there, a number may be written as text, and within `any` every number is a double. An address is unmapped first, so that
an IPv4 address within IPv6 is the IPv4 address. What has no such reading is refused, never bent: text with NUL among it,
since what evaluates the condition would read no further.
"""

import math
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from tenantry.access.model import Parameter

TYPES = ("bool", "string", "int", "uint", "double", "duration", "timestamp", "ipaddress", "any")
CONTAINERS = ("list", "map")

_ANY_MAX_DEPTH = 20
_UNSPEAKABLE = re.compile("[\0\ud800-\udfff]")
_WHOLE = re.compile(r"[+-]?\d{1,20}")
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_MICROSECONDS = {
    "ns": 1e-3,
    "us": 1,
    "µs": 1,
    "μs": 1,
    "ms": 1e3,
    "s": 1e6,
    "m": 6e7,
    "h": 3.6e9,
}
_PREFIX = re.compile(r"(.+)/(0|[1-9]\d{0,2})", re.ASCII)


def read_value(parameter: Parameter, value: object) -> object:
    """The value that a parameter is given.

    Raises:
        ValueError: it is not of the parameter's type; the message says what was expected.
    """
    match parameter.type, value:
        case "list", list():
            return [_READ[parameter.item](one) for one in value]
        case "map", dict():
            return {_text(key): _READ[parameter.item](one) for key, one in value.items()}
        case ("list" | "map") as container, _:
            raise ValueError(f"expected a {container}")
        case type_, _:
            return _READ[type_](value)


def address(text: str) -> bytes:
    """An address in one form, whatever way it is written: hexadecimal, 8 digits or 32.

    Raises:
        ValueError: it is none, or one with a zone, which lies in no network.
    """
    return _unmapped(_address(text)).packed.hex().encode()


def in_cidr(form: bytes, cidr: str) -> bool:
    """Whether an address (in the form that `address` gives) lies in the network.

    Raises:
        ValueError: the network is not written `address/bits`.
    """
    written = _PREFIX.fullmatch(cidr)
    if not written:
        raise ValueError(f"'{cidr}' is a malformed CIDR string")
    return ip_address(bytes.fromhex(form.decode())) in _network(_address(written[1]), int(written[2]))


def _address(text: str) -> IPv4Address | IPv6Address:
    found = ip_address(text)
    if isinstance(found, IPv6Address) and found.scope_id is not None:
        raise ValueError(f"'{text}' has a zone")
    return found


def _network(base: IPv4Address | IPv6Address, bits: int) -> IPv4Network | IPv6Network:
    """The network; one of mapped IPv4 addresses is that of the IPv4 addresses."""
    plain = _unmapped(base)
    if plain is not base and bits >= 96:
        return ip_network((plain, bits - 96), strict=False)
    return ip_network((base, bits), strict=False)


def _unmapped(found: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def _bool(value: object) -> bool:
    match value:
        case bool():
            return value
        case _:
            raise ValueError("expected true or false")


def _text(value: object) -> str:
    match value:
        case str() if not _UNSPEAKABLE.search(value):
            return value
        case _:
            raise ValueError("expected a string, without NUL and lone surrogates")


def _int(value: object) -> int:
    return _within(value, -(2**63), 2**63 - 1)


def _uint(value: object) -> int:
    return _within(value, 0, 2**64 - 1)


def _within(value: object, least: int, most: int) -> int:
    match value:
        case int() if not isinstance(value, bool):
            number = value
        case str() if _WHOLE.fullmatch(value):
            number = int(value)
        case _:
            number = _double(value)
    if number != int(number) or not least <= number <= most:
        raise ValueError(f"expected a whole number from {least} to {most}")
    return int(number)


def _double(value: object) -> float:
    match value:
        case int() | float() if not isinstance(value, bool):
            written = value
        case str() if _DECIMAL.fullmatch(value):
            written = value
        case _:
            raise ValueError("expected a number")
    try:
        number = float(written)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("expected a finite number")
    return number


def _duration(value: object) -> timedelta:
    """As Go's time.ParseDuration reads it, to the microsecond."""
    text = _text(value)
    unsigned = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    parts = _PART.findall(unsigned)
    if unsigned != "0" and (not parts or "".join(number + unit for number, unit in parts) != unsigned):
        raise ValueError("expected a duration, such as 1h30m")
    microseconds = sum(float(number) * _MICROSECONDS[unit] for number, unit in parts)
    try:
        return timedelta(microseconds=-microseconds if text.startswith("-") else microseconds)
    except OverflowError:
        raise ValueError("expected a shorter duration") from None


def _timestamp(value: object) -> datetime:
    """RFC 3339, 5.6, as Go reads it: upper case, with an offset."""
    text = _text(value)
    if not _TIMESTAMP.fullmatch(text):
        raise ValueError("expected a timestamp of RFC 3339")
    return datetime.fromisoformat(text)


def _any(value: object, left: int = _ANY_MAX_DEPTH) -> object:
    if left == 0:
        raise ValueError(f"expected a value that is at most {_ANY_MAX_DEPTH} deep")
    match value:
        case None | bool():
            return value
        case str():
            return _text(value)
        case list():
            return [_any(one, left - 1) for one in value]
        case dict():
            return {_text(key): _any(one, left - 1) for key, one in value.items()}
        case _:
            return _double(value)


_READ: dict[str, Callable[[object], object]] = {
    "bool": _bool,
    "string": _text,
    "int": _int,
    "uint": _uint,
    "double": _double,
    "duration": _duration,
    "timestamp": _timestamp,
    "ipaddress": lambda value: address(_text(value)),
    "any": _any,
}
