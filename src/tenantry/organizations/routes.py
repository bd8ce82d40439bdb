"""Every route of this room."""

from tenantry.core.clock import Clock
from tenantry.core.ids import IdSource
from tenantry.keys.keyring import Keyring
from tenantry.organizations.routes_agents import agent_routes
from tenantry.organizations.routes_applications import application_routes
from tenantry.organizations.routes_keys import key_routes
from tenantry.organizations.routes_people import people_routes
from tenantry.organizations.routes_platform import platform_routes
from tenantry.organizations.routes_stores import store_routes
from tenantry.organizations.routes_workloads import workload_routes
from tenantry.store import Engine
from tenantry.web import Route


def routes(ids: IdSource, clock: Clock, engine: Engine, keyring: Keyring) -> tuple[Route, ...]:
    """The routes of organizations and of everyone in them, over what they need of the node."""
    return (
        *platform_routes(ids, clock, engine, keyring),
        *people_routes(ids, clock),
        *agent_routes(ids, clock),
        *workload_routes(ids, clock),
        *key_routes(ids, clock),
        *application_routes(ids, clock),
        *store_routes(ids, clock),
    )
