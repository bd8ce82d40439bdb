"""Who is named in a leaf: the actor chain and the targets, for search and for erasure."""

import msgspec


class _Named(msgspec.Struct):
    actor: list[str]
    targets: list[str]


_DECODER = msgspec.json.Decoder(_Named)


def names_of(body: bytes) -> list[str]:
    """The ids that acted or were acted on in an event, each once."""
    named = _DECODER.decode(body)
    return list(dict.fromkeys(named.actor + named.targets))
