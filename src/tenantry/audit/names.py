"""Who is named in a leaf: the actor chain and the targets, for search and for erasure."""

import msgspec

from tenantry.core.errors import Damaged


class _Named(msgspec.Struct):
    actor: list[str]
    targets: list[str]


_DECODER = msgspec.json.Decoder(_Named)


def names_of(body: bytes) -> list[str]:
    """The ids that acted or were acted on in an event, each once.

    Raises:
        Damaged: this is no event that the journal wrote.
    """
    try:
        named = _DECODER.decode(body)
    except msgspec.DecodeError as error:
        raise Damaged("A leaf of the log is no event.", hint="Run `tenantry doctor`, then restore a backup.") from error
    return list(dict.fromkeys(named.actor + named.targets))
