"""Routes of manifests: what an owner declares in one file is planned, applied as it was planned, and taken to the stores."""

from typing import Annotated

import msgspec
from msgspec import Meta

from tenantry.core.clock import Clock
from tenantry.core.ids import IdSource
from tenantry.organizations import applications, manifest
from tenantry.organizations.manifest import Applied, Manifest, Plan
from tenantry.organizations.permissions import MANAGE_APPLICATIONS, READ_APPLICATIONS
from tenantry.organizations.rollout import Moved, move_stores
from tenantry.organizations.wire import ULID, ApplicationId
from tenantry.store import Engine
from tenantry.web import Call, Limits, Route, route

LIMITS = Limits(body_bytes=3 << 20)
"""A file of the commands has at most 1 MiB; its line ends and quotes are longer in JSON, and the plan comes with it."""


class Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is declared, and the plan of it that somebody agreed to."""

    manifest: Manifest
    plan: Plan


class AfterOrganization(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to go on: the `next` of the answer before; empty at the start."""

    after: Annotated[str, Meta(pattern=f"^(org_{ULID})?$", max_length=30)] = ""


def manifest_routes(ids: IdSource, clock: Clock, engine: Engine) -> tuple[Route, ...]:
    """The routes of this file."""

    @route("POST", "/v1/manifests/plan", READ_APPLICATIONS, asks=True, limits=LIMITS)
    async def plan_manifest(call: Call, body: Manifest) -> Plan:
        """What applying a manifest would change now."""
        revision = (await call.journal.head(call.scope)).rev
        return await manifest.plan(call.reads, body, revision, ids, clock.now_ms())

    @route("POST", "/v1/manifests/apply", MANAGE_APPLICATIONS, limits=LIMITS)
    async def apply_manifest(call: Call, body: Declared) -> Applied:
        """Make what was planned, all of it or nothing, if the owner has not changed since."""
        async with call.begin() as w:
            done = await manifest.apply(w, call.reads, body.manifest, body.plan, ids, clock.now_ms())
        return msgspec.structs.replace(done, revision=w.revision or done.revision)

    @route("POST", "/v1/applications/{application_id}/stores/move", MANAGE_APPLICATIONS)
    async def move_application_stores(call: Call, application_id: ApplicationId, body: AfterOrganization) -> Moved:
        """Move the stores that organizations have in an application to its newest model, some organizations at a time."""
        await applications.application(call.reads, application_id)
        return await move_stores(
            call.journal,
            engine,
            call.scope,
            call.principal,
            call.origin,
            application=application_id,
            after=body.after,
            now_ms=clock.now_ms(),
        )

    return (plan_manifest, apply_manifest, move_application_stores)
