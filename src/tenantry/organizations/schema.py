"""The room's schema, put together of what each file keeps.

Who writes each table, who follows it and what a crash leaves: docs/explanation/architecture.md.
"""

from tenantry.organizations import (
    accounts,
    agents,
    applications,
    below,
    blueprints,
    domains,
    doors,
    entries,
    groups,
    invitations,
    jobs,
    keys,
    mcp_servers,
    organization,
    parties,
    resources,
    roles,
    services,
    standing,
    ties,
    users,
    visitors,
)
from tenantry.store import Migration, Schema

PARTS = (
    organization.PART,
    parties.PART,  # before whatever points to it
    doors.PART,
    domains.PART,
    accounts.PART,
    users.PART,
    groups.PART,
    invitations.PART,
    blueprints.PART,
    agents.PART,
    ties.PART,
    visitors.PART,
    services.PART,
    resources.PART,
    mcp_servers.PART,
    jobs.PART,
    applications.PART,
    keys.PART,
    entries.PART,
    standing.PART,
    roles.PART,
    below.PART,
)

SCHEMA = Schema(
    room="organizations",
    tables=tuple(table for part in PARTS for table in part.tables),
    statements=tuple(statement for part in PARTS for statement in part.statements),
    reads=tuple(read for part in PARTS for read in part.reads),
    migrations=(
        Migration(
            1,
            "expand",
            "organizations, doors, domains and every party with its keys",
            "".join(part.ddl for part in PARTS),
        ),
    ),
)
