"""The catalogue: every event that the imported rooms declare, for the reference and for whoever subscribes."""

import msgspec

from tenantry.core.errors import Misuse
from tenantry.journal import Event
from tenantry.journal.event import personal_fields, tag


class Declared(msgspec.Struct, frozen=True):
    """One kind of event: its name, what it says in a sentence, its fields, and which of them can be erased."""

    name: str
    room: str
    meaning: str
    outcome: str
    fields: tuple[str, ...]
    personal: tuple[str, ...]


def catalogue() -> list[Declared]:
    """All declared events by name.

    Raises:
        Misuse: two rooms declare the same name, or one declares an event without saying what it means.
    """
    found: dict[str, Declared] = {}
    for kind in _declared(Event):
        name = tag(kind)
        if name in found or not kind.__doc__:
            raise Misuse(f"The event {name} is declared twice, or without a sentence.")
        room = kind.__module__.removeprefix("tenantry.").split(".")[0]
        meaning = kind.__doc__.strip().splitlines()[0]
        found[name] = Declared(name, room, meaning, kind.outcome, kind.__struct_fields__, personal_fields(kind))
    return [found[name] for name in sorted(found)]


def _declared(kind: type[Event]) -> list[type[Event]]:
    below = [deeper for child in kind.__subclasses__() for deeper in _declared(child)]
    return below if kind is Event else [kind, *below]
