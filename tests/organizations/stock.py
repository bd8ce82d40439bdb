"""One of everything in an organization, by the name of the path's parameter that leads to it, and a body for each route that takes one."""

from typing import Any

from joserfc.jwk import ECKey

from tenantry.access.stores import make_store_in
from tenantry.core.ids import PLATFORM
from tenantry.core.principal import Principal
from tenantry.organizations import (
    applications,
    domains,
    entries,
    invitations,
    jobs,
    keys,
    mcp_servers,
    resources,
    visitors,
)
from tenantry.organizations.applications import ApplicationKind, NewApplication
from tenantry.organizations.keys import PublicJwk
from tenantry.organizations.resources import NewResource
from tests.organizations.tenants import HOUR_MS, NARROW, Tenant

OPERATOR = Principal("user_00000000000000000000000001", PLATFORM, None)
CEILING = {"allow": [{"type": "document", "relation": "viewer"}]}


def a_jwk() -> PublicJwk:
    """A fresh public key."""
    fresh = ECKey.generate_key("P-256").as_dict(private=False)
    return PublicJwk(kty="EC", crv="P-256", x=str(fresh["x"]), y=str(fresh["y"]))


async def stocked(tenant: Tenant) -> dict[str, str]:
    """One of everything."""
    made = {
        name: tenant.new(prefix)
        for name, prefix in (
            ("domain_id", "domain"),
            ("invitation_id", "invitation"),
            ("visitor_id", "agent"),
            ("server_id", "mcp"),
            ("job_id", "job"),
            ("application_id", "app"),
            ("resource_id", "resource"),
            ("entry_id", "entry"),
            ("key_id", "key"),
            ("agent_key_id", "key"),
        )
    }
    made["user_id"] = await tenant.user()
    made["service_id"] = await tenant.service()
    made["group_id"] = await tenant.group("", made["user_id"])
    made["blueprint_id"] = await tenant.blueprint()
    made["agent_id"] = await tenant.agent(
        tenant.owner, made["user_id"], blueprint_id=made["blueprint_id"], delegators=(made["user_id"],)
    )
    now, later = tenant.now, tenant.now + HOUR_MS
    async with tenant.begin(with_platform=True) as w:
        domains.claim(w, made["domain_id"], "acme.example", now)
        invitations.invite(w, made["invitation_id"], tenant.owner, "bob@acme.example", "", now_ms=now, ends_at_ms=later)
        url = "https://agents.example/client.json"
        visitors.let_in(w, made["visitor_id"], "Visitor", url, NARROW, (made["user_id"],), now_ms=now)
        mcp_servers.add(
            w, made["server_id"], tenant.new("resource"), NewResource("MCP", "https://mcp.example/sse"), now
        )
        jobs.add(w, made["job_id"], tenant.new("run"), "Nightly", made["user_id"], now_ms=now, ends_at_ms=later)
        applications.add(w, made["application_id"], NewApplication("App", ApplicationKind.FIRST_PARTY), now)
        resources.add(w, made["resource_id"], NewResource("API", "https://api.example/", ("read",)), now)
        entries.enter(w, made["entry_id"], OPERATOR, "A ticket.", now_ms=now, ends_at_ms=now + 60_000)
        keys.register(w, made["key_id"], made["service_id"], a_jwk(), now_ms=now)
        keys.register(w, made["agent_key_id"], made["agent_id"], a_jwk(), now_ms=now)
    async with tenant.begin() as w:
        made["store_id"] = make_store_in(w, tenant.node.ids, tenant.id, made["application_id"], "", "Notes", now).id
    return made


def body_of(name: str, tenant: Tenant, have: dict[str, str]) -> dict[str, Any] | None:
    """What the operation of this name can be sent in an organization that has this stock; `None` if it takes no body."""
    later = tenant.now + HOUR_MS
    declaration = {"model": "m", "ceiling": CEILING, "agent_life_ms": HOUR_MS, "run_life_ms": 1_000}
    jwk = {"kty": "EC", "crv": "P-256", "x": (fresh := a_jwk()).x, "y": fresh.y}
    bodies: dict[str, dict[str, Any]] = {
        "create_organization": {"name": "New", "owner": {"email": "o@new.example"}},
        "prove_domain": {"word": "Seen."},
        "enter_organization": {"reason": "A ticket."},
        "rename_organization": {"name": "Other"},
        "claim_domain": {"name": "other.example"},
        "add_user": {"email": "c@acme.example", "display_name": "C"},
        "change_user": {"display_name": "Ann"},
        "add_group": {"name": "Others"},
        "rename_group": {"name": "Same"},
        "invite": {"email": "d@acme.example", "ends_at_ms": later},
        "invite_with_role": {"email": "d@acme.example", "ends_at_ms": later},
        "add_blueprint": {"name": "B", "declaration": {**declaration, "invokers": [have["user_id"]]}},
        "add_blueprint_version": {**declaration, "invokers": [have["group_id"]]},
        "add_agent": {
            "blueprint_id": have["blueprint_id"],
            "blueprint_version": 1,
            "name": "A",
            "purpose": "P",
            "owner_id": have["user_id"],
            "sponsors": [have["user_id"]],
            "delegators": [have["group_id"]],
            "ends_at_ms": later,
        },
        "change_agent": {"purpose": "Another.", "owner_id": have["user_id"]},
        "let_in_visiting_agent": {
            "name": "V",
            "client_id": "https://other.example/client.json",
            "ceiling": CEILING,
            "behind": [have["user_id"]],
        },
        "limit_visiting_agent": {"ceiling": {"allow": []}},
        "add_service": {"name": "S"},
        "rename_service": {"name": "T"},
        "add_mcp_server": {"name": "M", "indicator": "https://mcp2.example/"},
        "add_job": {"name": "J", "ends_at_ms": later, "initiator_id": have["service_id"]},
        "register_workload_key": {"jwk": jwk},
        "register_agent_key": {"jwk": jwk},
        "issue_secret": {},
        "retire_workload_key": {"overlap_ms": 1_000},
        "retire_agent_key": {"overlap_ms": 1_000},
        "add_application": {"name": "N", "kind": "mcp", "redirect_uris": ["https://app.example/back"]},
        "change_application": {"name": "O", "redirect_uris": ["http://127.0.0.1:7/back"]},
        "create_store_in_application": {"name": "Notes"},
        "add_resource": {"name": "R", "indicator": "https://other.example/", "scopes": ["a", "b"]},
        "change_resource": {"name": "R2", "scopes": ["c"], "follows_feed": True},
    }
    manifest = {"tenantry": 1, "owner": tenant.id}
    bodies |= {
        "plan_manifest": manifest,
        "apply_manifest": {"manifest": manifest, "plan": {"revision": 0, "steps": []}},
        "move_application_stores": {},
    }
    reasoned = name.startswith(("deactivate_", "end_job", "revoke_", "suspend_", "delete_organization"))
    return {"reason": "Because."} if reasoned else bodies.get(name)
