"""A vendor's service with the SDK, from its own key to the refusal of what was cut: nothing in between is made for the test."""

import asyncio
from typing import Any

import httpx2
import pytest

import tenantry_sdk as sdk
from tenantry.access import system
from tenantry.app.config import Config
from tenantry.app.rooms import open_rooms
from tests.oauth.keys import ISSUER
from tests.oauth.stand import API, Bearer, client, founded, resource
from tests.stand.http import served
from tests.stand.organizations import Organization
from tests.stand.verifiers import Towards


def key_of(bearer: Bearer, resource: str = "", scope: str = "") -> sdk.ClientKey:
    """What proves a service to the server, as the SDK takes it."""
    pem = bearer.pair.key.as_pem(private=True)
    return sdk.ClientKey(bearer.id, pem, bearer.key, resource=resource, scope=scope)


async def service(org: Organization, role: str) -> Bearer:
    """A service with a key of its own and a role in its organization."""
    made = await client(org, "service")
    async with org.begin() as w:
        system.give_role(w, f"organization:{org.id}", role, f"service:{made.id}")
    return made


async def test_a_service_is_verified_outside_and_refused_within_a_second_after_its_cut(fresh: Config) -> None:
    async with open_rooms(fresh) as rooms:
        node = rooms.node
        acme = await founded(node)
        await resource(acme)
        follower, owner, worker = (
            await service(acme, "can_follow_feed"),
            await service(acme, "owner"),
            await client(acme, "service"),
        )
        async with (
            served(node, fresh, routes=rooms.routes(), admit=rooms.callers.admit) as server,
            Towards(server.port) as towards,
        ):

            def http() -> httpx2.AsyncClient:
                return httpx2.AsyncClient(transport=towards)

            working = sdk.Client(ISSUER, credential=key_of(worker), http=http())
            verifier = sdk.Verifier(ISSUER, audience=API, credential=key_of(follower), http=http())
            async with verifier:
                await verifier.feed.ready()
                headers = await key_of(worker, API, "docs:read").headers(working.server)
                token = headers["Authorization"].removeprefix("Bearer ")
                verified = await verifier.verify(token)
                assert (verified.subject, verified.organization) == (worker.id, acme.id)
                acting = sdk.Client(ISSUER, credential=key_of(owner), http=http())
                with pytest.raises(sdk.Refused) as refusal:
                    await working.server.post(f"/v1/branches/{worker.id}/cut", {"reason": "by itself"})
                assert refusal.value.answer == 403
                cut = await acting.server.post(f"/v1/branches/{worker.id}/cut", {"reason": "left"})
                async with asyncio.timeout(1):
                    while True:
                        try:
                            await verifier.verify(token)
                        except sdk.Ended:
                            break
                        await node.engine.changed(0.02)
                (receipt,) = await _receipts(acting, cut["receipt"])
                assert (receipt["branch"], receipt["revision"]) == (worker.id, cut["revision"])
                assert receipt["items"][0] == {"kind": "service", "id": worker.id, "state": "closed", "at": cut["at"]}
                with pytest.raises(sdk.Refused):
                    await working.server.post(f"/v1/branches/{worker.id}/cut", {"reason": "again"})


async def _receipts(acting: sdk.Client, path: str) -> list[dict[str, Any]]:
    """The receipts at an address, once there are some."""
    async with asyncio.timeout(5):
        while True:
            url, headers = acting.server.url(path), await acting.server.own_headers()
            if items := (await acting.server.get(url, headers))["items"]:
                return items
