"""Server-sent events as a test reads them."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import msgspec


class Sent(msgspec.Struct, frozen=True):
    """One event, or a comment by its empty name."""

    name: str
    data: Any = None
    id: str = ""


async def events(response: httpx2.Response) -> AsyncIterator[Sent]:
    """The events of a stream as they come."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line.startswith(":"):
            yield Sent("")
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield Sent(fields["event"], msgspec.json.decode(fields["data"]), fields.get("id", ""))
            fields = {}
