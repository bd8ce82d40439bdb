"""Audit events: each room declares its own beside the change that it records.

    class UserDeactivated(Event, tag="user.deactivated"):
        user: Target
        reason: Text
        email: Personal

A `Target` is an id the event is about; a `Text` came from outside and is kept clean and bounded (`core.text`); `Personal` data lies in the
detachable part of the row, and the leaf commits to its salted hash only, so that erasing it leaves every proof valid.
"""

import functools
import typing
from enum import Enum, auto

import msgspec

from tenantry.core import canonical
from tenantry.core.clock import iso
from tenantry.core.errors import TooLarge
from tenantry.core.leaf import seal
from tenantry.core.limits import EVENT_MAX_BYTES
from tenantry.core.principal import Principal
from tenantry.core.text import named, outside


class _Mark(Enum):
    TARGET = auto()
    PERSONAL = auto()
    TEXT = auto()


Target = typing.Annotated[str, _Mark.TARGET]
Personal = typing.Annotated[str, _Mark.PERSONAL]
Text = typing.Annotated[str, _Mark.TEXT]


class Event(msgspec.Struct, frozen=True, tag_field="type"):
    """What happened. Subclasses give `tag` (`room.verb`) and fields of `str`, `int`, `bool`, lists of them, or `None`.

    `outcome` is a class attribute: `done`, or `refused` for a denial that is remembered.
    """

    outcome: typing.ClassVar[str] = "done"

    def targets(self) -> list[str]:
        """The ids that the event is about, which become what its changelog row touched."""
        return [getattr(self, name) for name, mark in _fields(type(self)) if mark is _Mark.TARGET]


class Origin(msgspec.Struct, frozen=True):
    """Where a request came from: its id, the client application and, as personal data, the network address."""

    request: str = ""
    client: str = ""
    network: str = ""


class Leaf(msgspec.Struct, frozen=True):
    """A row of an organization's log before it has its place there.

    `body` is canonical JSON (RFC 8785); `personal` the canonical JSON of the detachable part, to which the body commits with
    SHA-256(salt ‖ personal). Both are `None` where there is none.
    """

    body: bytes
    salt: bytes | None
    personal: bytes | None


class Setting(msgspec.Struct, frozen=True):
    """What all events of one write set share."""

    org: str
    actor: Principal
    at_ms: int
    origin: Origin
    counterpart: str = ""


def leaf(event: Event, setting: Setting) -> Leaf:
    """Encode an event for the log of `setting.org`.

    Raises:
        TooLarge: the body passes `EVENT_MAX_BYTES`; large content enters by its digest.
        Invalid: a value has no canonical form, or what should name a thing cannot.
    """
    data, personal = _parts(event)
    if setting.origin.network:
        personal["network"] = outside(setting.origin.network)
    body: dict[str, object] = {
        "actor": [named(actor) for actor in setting.actor.chain()],
        "at": iso(setting.at_ms),
        "data": data,
        "org": setting.org,
        "outcome": event.outcome,
        "targets": [named(target) for target in event.targets()],
        "type": tag(type(event)),
    }
    if setting.origin.client:
        body["client"] = outside(setting.origin.client)
    if setting.origin.request:
        body["request"] = outside(setting.origin.request)
    if setting.counterpart:
        body["counterpart"] = setting.counterpart
    salt = detached = None
    if personal:
        sealed = seal(personal)
        salt, detached, body["personal"] = sealed.salt, sealed.data, sealed.digest
    encoded = canonical.encode(body)
    if len(encoded) > EVENT_MAX_BYTES:
        raise TooLarge(
            f"The event {body['type']} has {len(encoded)} bytes; {EVENT_MAX_BYTES} are allowed.",
            hint="Record a digest.",
        )
    return Leaf(encoded, salt, detached)


def tag(kind: type[Event]) -> str:
    """The event's name, such as `user.deactivated`."""
    found = kind.__struct_config__.tag
    if not isinstance(found, str):
        raise TypeError(f"{kind.__name__} has no tag")
    return found


def personal_fields(kind: type[Event]) -> tuple[str, ...]:
    """The fields that lie in the detachable part."""
    return tuple(name for name, mark in _fields(kind) if mark is _Mark.PERSONAL)


@functools.cache
def _fields(kind: type[Event]) -> tuple[tuple[str, _Mark | None], ...]:
    """Each field with its mark, in the order of declaration, which is the order of the targets."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return tuple((name, _mark(hint)) for name, hint in hints.items() if name in kind.__struct_fields__)


def _mark(hint: object) -> _Mark | None:
    return next((extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, _Mark)), None)


def _parts(event: Event) -> tuple[dict[str, object], dict[str, object]]:
    """The fields that stay, and those that can be erased."""
    data: dict[str, object] = {}
    personal: dict[str, object] = {}
    for name, mark in _fields(type(event)):
        value = getattr(event, name)
        if mark is _Mark.PERSONAL:
            personal[name] = outside(value)
        else:
            data[name] = outside(value) if mark is _Mark.TEXT else value
    return data, personal
