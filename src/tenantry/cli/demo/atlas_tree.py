"""An explanation as a person reads it: what was tried, each step below the one that led to it, and what is missing."""

from collections.abc import Iterator, Mapping
from typing import Any

LINES_MAX = 16


def drawn(explanation: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """The tree of steps, with names for ids where they are known."""
    lines = list(_lines(explanation["tried"], ""))
    if len(lines) > LINES_MAX:
        lines = [*lines[:LINES_MAX], f"  and {len(lines) - LINES_MAX} steps more"]
    missing = [" and ".join(_tuple(key) for key in way) for way in explanation["missing"][:3]]
    text = "\n".join([*lines, *(f"would suffice: {way}" for way in missing)])
    for id_, name in names.items():
        text = text.replace(id_, name)
    return text


def _lines(tried: Mapping[str, Any], indent: str) -> Iterator[str]:
    mark = {"yes": "✓", "no": "✗"}.get(tried["outcome"], "?")
    found = f"  {', '.join(tried['found'])}" if tried["found"] else ""
    yield f"{indent}{mark} {tried['by']} of {tried['of'].partition('#')[0]}{found}"
    for part in tried["parts"]:
        yield from _lines(part, indent + "  ")


def _tuple(key: Mapping[str, Any]) -> str:
    return f"{key['user']} {key['relation']} {key['object']}"
