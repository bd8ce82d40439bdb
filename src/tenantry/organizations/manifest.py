"""What an owner (the platform, or an organization) declares in one file: its applications with their models and roles, and its resources.

A plan says what would change; applying it makes exactly that, in one set, at the revision that was planned at. What a file does not name
stays as it is. Applications are told apart by their names, resources by their indicators.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Annotated, Literal

import msgspec

from tenantry.access.graph import Names
from tenantry.access.language import parse
from tenantry.access.limits import MODEL_MAX_BYTES
from tenantry.access.model import Model
from tenantry.access.plan import compile_model
from tenantry.access.roles import with_roles
from tenantry.access.stores import add_model, newest_model
from tenantry.access.wire import decode_model, encode_model
from tenantry.core.errors import Conflict, Invalid, TooLarge
from tenantry.core.ids import PLATFORM, IdSource
from tenantry.journal import Reads, WriteSet
from tenantry.organizations import applications, resources
from tenantry.organizations.applications import Application, ApplicationKind, NewApplication
from tenantry.organizations.resources import NewResource, Resource

ENTRIES_MAX = 50
DETAILS_MAX = 100
"""Differences of one step that are told; how many more there are is told, too."""

THE_PLATFORM = "platform"
"""What the platform's organization is called in a file."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class DeclaredApplication(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An application as it should be; its model is in OpenFGA's language, its roles by type and name."""

    kind: ApplicationKind
    redirect_uris: tuple[str, ...] = ()
    model: Annotated[str, msgspec.Meta(max_length=262_144)] = ""
    roles: dict[Name, dict[Name, tuple[Name, ...]]] = {}


class DeclaredResource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A resource as it should be."""

    name: Name
    scopes: tuple[str, ...] = ()
    follows_feed: bool = False


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file. `tenantry` is the version of its form, `owner` the platform or the id of an organization."""

    tenantry: Literal[1]
    owner: Name
    applications: Annotated[dict[Name, DeclaredApplication], msgspec.Meta(max_length=ENTRIES_MAX)] = {}
    resources: Annotated[dict[str, DeclaredResource], msgspec.Meta(max_length=ENTRIES_MAX)] = {}


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that a plan does."""

    action: Literal["add", "change"]
    kind: Literal["application", "model", "resource"]
    name: str
    details: tuple[str, ...]


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What applying would do, at the revision it was worked out at; no steps where everything is as declared."""

    revision: int
    steps: tuple[Step, ...]


class Applied(msgspec.Struct, frozen=True):
    """What was done, in this revision; an application's id by its name."""

    revision: int
    steps: tuple[Step, ...]
    applications: dict[str, str]


_Write = Callable[[WriteSet], Awaitable[None]]


class _Change(msgspec.Struct, frozen=True, eq=False):
    """A step, and how it is written."""

    step: Step
    write: _Write


async def plan(reads: Reads, manifest: Manifest, revision: int, ids: IdSource, now_ms: int) -> Plan:
    """What applying the file would change in the organization of `reads`. Take the revision first.

    Raises:
        Invalid, InvalidModel, BadRole: something in it cannot be.
    """
    _refuse_another(manifest.owner, reads.org)
    known = await _Known.read(reads, ids, now_ms)
    return Plan(revision, tuple([change.step async for change in known.changes(manifest)]))


async def apply(w: WriteSet, reads: Reads, manifest: Manifest, planned: Plan, ids: IdSource, now_ms: int) -> Applied:
    """Make what was planned; where that is nothing, `w` stays empty. `w.revision` is the owner's after the set.

    Raises:
        Conflict: the owner has moved on since, or another plan comes of it now.
        Invalid, InvalidModel, BadRole: as `plan`.
    """
    _refuse_another(manifest.owner, reads.org)
    known = await _Known.read(reads, ids, now_ms)
    changes = [change async for change in known.changes(manifest)]
    if tuple(change.step for change in changes) != planned.steps:
        raise Conflict("Another plan comes of this file now.", hint="Look at the plan again.")
    if changes:
        w.expect_revision(planned.revision)
    for change in changes:
        await change.write(w)
    named = {name: known.id_of(name) for name in manifest.applications}
    return Applied(planned.revision, planned.steps, named)


def _refuse_another(owner: str, org: str) -> None:
    """A file changes its owner alone, wherever it is sent."""
    mine = THE_PLATFORM if org == PLATFORM else org
    if owner != mine:
        raise Invalid(f"This file's owner is {owner}, and you are in {mine}.", hint="Enter the owner first.")


class _Known:
    """What the owner has."""

    def __init__(
        self,
        reads: Reads,
        ids: IdSource,
        now_ms: int,
        owned: dict[str, Application],
        held: dict[str, Resource],
    ) -> None:
        self._reads = reads
        self._ids = ids
        self._now_ms = now_ms
        self._owned = owned
        self._held = held
        self._new: dict[str, str] = {}

    @classmethod
    async def read(cls, reads: Reads, ids: IdSource, now_ms: int) -> "_Known":
        owned: dict[str, Application] = {}
        async for one in applications.all_of(reads):
            if one.name in owned:
                raise Conflict(
                    f"Two applications are called {one.name}, so no file can name one.",
                    hint="Rename one of them first.",
                )
            owned[one.name] = one
        held = {one.indicator: one async for one in resources.all_of(reads)}
        return cls(reads, ids, now_ms, owned, held)

    def id_of(self, name: str) -> str:
        """The id of an application that was there, or was made."""
        return self._owned[name].id if name in self._owned else self._new[name]

    async def changes(self, manifest: Manifest) -> AsyncIterator[_Change]:
        for name, declared in manifest.applications.items():
            async for change in self._application(name, declared):
                yield change
        for text, declared in manifest.resources.items():
            async for change in self._resource(text, declared):
                yield change

    async def _application(self, name: str, declared: DeclaredApplication) -> AsyncIterator[_Change]:
        known = self._owned.get(name)
        if known is None:
            new = NewApplication(name, declared.kind, declared.redirect_uris)
            made = self._new[name] = self._ids.new("app")

            async def add(w: WriteSet) -> None:
                applications.add(w, made, new, self._now_ms)

            yield _Change(Step("add", "application", name, (declared.kind.value, *declared.redirect_uris)), add)
        elif known.kind != declared.kind.value:
            raise Invalid(
                f"The application {name} is {known.kind}, and stays it.", hint="Give the new one another name."
            )
        elif known.redirect_uris != declared.redirect_uris:

            async def change(w: WriteSet) -> None:
                await applications.change(w, self._reads, known.id, name, declared.redirect_uris)

            yield _Change(Step("change", "application", name, declared.redirect_uris), change)
        if declared.roles and not declared.model:
            raise Invalid(f"The application {name} has roles and no model for them.")
        if declared.model:
            async for step in self._model(name, declared):
                yield step

    async def _model(self, name: str, declared: DeclaredApplication) -> AsyncIterator[_Change]:
        model = await asyncio.to_thread(_model, name, declared)
        body = encode_model(model)
        before = await newest_model(self._reads, self._owned[name].id) if name in self._owned else None
        if before is not None and before.body == body:
            return

        async def write(w: WriteSet) -> None:
            add_model(w, self._ids, self.id_of(name), model, self._now_ms)

        told = _told(_differences(decode_model(before.body) if before else None, model))
        yield _Change(Step("change" if before else "add", "model", name, told), write)

    async def _resource(self, text: str, declared: DeclaredResource) -> AsyncIterator[_Change]:
        known = self._held.get(text)
        details = (declared.name, *declared.scopes, *(["follows the feed"] if declared.follows_feed else []))
        if known is None:
            new = NewResource(declared.name, text, declared.scopes, declared.follows_feed)

            async def add(w: WriteSet) -> None:
                resources.add(w, self._ids.new("resource"), new, self._now_ms)

            yield _Change(Step("add", "resource", text, details), add)
        elif (known.name, known.scopes, known.follows_feed) != (declared.name, declared.scopes, declared.follows_feed):

            async def change(w: WriteSet) -> None:
                await resources.change(
                    w, self._reads, known.id, declared.name, declared.scopes, follows_feed=declared.follows_feed
                )

            yield _Change(Step("change", "resource", text, details), change)


def _model(name: str, declared: DeclaredApplication) -> Model:
    """The model of an application with its roles. Takes the time that its size asks for: not on the event loop."""
    parsed = parse(declared.model)
    compile_model(parsed.model, Names(), parsed.places)
    model = with_roles(parsed.model, declared.roles)
    compile_model(model, Names())
    if (size := len(encode_model(model))) > MODEL_MAX_BYTES:
        raise TooLarge(f"The model of {name} has {size} bytes in JSON; at most {MODEL_MAX_BYTES} are taken.")
    return model


def _differences(before: Model | None, after: Model) -> Iterator[str]:
    """What is another thing than before: `+` came, `~` means something else, `-` went."""
    if before is None:
        yield from (f"+ {type_.name}" for type_ in after.types)
        return
    old, new = _named(before), _named(after)
    yield from (f"{'~' if name in old else '+'} {name}" for name, one in new.items() if old.get(name) != one)
    yield from (f"- {name}" for name in old if name not in new)


def _named(model: Model) -> dict[str, object]:
    """The parts of a model by the names that a person knows them by."""
    named: dict[str, object] = {}
    for type_ in model.types:
        named[type_.name] = type_.name
        named |= {f"{type_.name}#{relation.name}": relation for relation in type_.relations}
    return named | {f"condition {condition.name}": condition for condition in model.conditions}


def _told(differences: Iterator[str]) -> tuple[str, ...]:
    told = tuple(differences)
    more = len(told) - DETAILS_MAX
    return (*told[:DETAILS_MAX], f"and {more} more") if more > 0 else told
