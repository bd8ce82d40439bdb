"""Text from outside, made safe to store and to show (CWE-117): names, user agents, reasons, tool arguments.

`outside` and `outside_json` bound what an event keeps: clean short values stay as they are, everything else becomes an
`Excerpt` that says so and carries the digest of the original. `display` escapes for terminals and plain logs.
"""

import hashlib
import json
import re

import msgspec

from tenantry.core import canonical
from tenantry.core.errors import Invalid
from tenantry.core.limits import NAME_MAX_CHARACTERS, TEXT_MAX_CHARACTERS

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufff9-\ufffb]"
)
"""Controls, line and paragraph separators, bidirectional and invisible formatting, surrogates."""


class Excerpt(msgspec.Struct, frozen=True):
    """What an event keeps of a text that was too long or not clean: the beginning, escaped; never the text itself."""

    excerpt: str
    bytes: int
    """Length of the original in UTF-8."""
    sha256: str
    """Of the original, in lower-case hexadecimal."""


def display(text: str) -> str:
    """Escape what could move a cursor, break a line or hide text; for showing, not for parsing back."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def outside(value: str | bytes, limit: int = TEXT_MAX_CHARACTERS) -> str | Excerpt:
    """Return `value` if it is clean UTF-8 of at most `limit` characters, else an `Excerpt` of that many."""
    if type(value) is str and len(value) <= limit and value.isascii() and value.isprintable():
        return value  # most values; none of these characters is unsafe, and each is one byte
    data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    text = data[: 4 * limit + 4].decode("utf-8", "backslashreplace")
    if len(data) <= 4 * limit and len(text) <= limit and not _UNSAFE.search(text) and text.encode() == data:
        return text
    return excerpt(data, limit)


def named(value: str) -> str:
    """`value` if it can name a thing: at most `NAME_MAX_CHARACTERS`, none of them unsafe.

    Raises:
        Invalid: it cannot.
    """
    if len(value) > NAME_MAX_CHARACTERS or not (value.isprintable() or not _UNSAFE.search(value)):
        raise Invalid(f"A name has at most {NAME_MAX_CHARACTERS} characters, and none that cannot be seen.")
    return value


def excerpt(data: bytes, limit: int = TEXT_MAX_CHARACTERS) -> Excerpt:
    """The first `limit` characters of `data`, escaped, with its length and digest."""
    text = data[: 4 * limit].decode("utf-8", "backslashreplace")
    return Excerpt(display(text[:limit])[:limit], len(data), hashlib.sha256(data).hexdigest())


def outside_json(value: object, limit: int = TEXT_MAX_CHARACTERS) -> object:
    """Return decoded JSON from outside as it is while its text is short, clean and canonical, else an `Excerpt` of it.

    So a hundred thousand keys, or one of ten megabytes, cost an event no more than `limit` characters, and a number
    that has no canonical form does not fail the write that mentions it.
    """
    try:
        text = outside(canonical.encode(value), limit)
    except canonical.NotCanonical:
        return excerpt(json.dumps(value, default=str).encode(), limit)
    return text if isinstance(text, Excerpt) else value
