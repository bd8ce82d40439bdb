"""What a caller must be allowed to, for each route of this room: relations of the system model, asked on the organization."""

from tenantry.web import Permission

READ_ORGANIZATION = Permission("can_read_organization", writes=False)
MANAGE_ORGANIZATION = Permission("can_manage_organization", writes=True)
READ_USERS = Permission("can_read_users", writes=False)
MANAGE_USERS = Permission("can_manage_users", writes=True)
READ_GROUPS = Permission("can_read_groups", writes=False)
MANAGE_GROUPS = Permission("can_manage_groups", writes=True)
READ_AGENTS = Permission("can_read_agents", writes=False)
MANAGE_AGENTS = Permission("can_manage_agents", writes=True)
READ_WORKLOADS = Permission("can_read_workloads", writes=False)
MANAGE_WORKLOADS = Permission("can_manage_workloads", writes=True)
READ_APPLICATIONS = Permission("can_read_applications", writes=False)
MANAGE_APPLICATIONS = Permission("can_manage_applications", writes=True)
INVITE = Permission("can_invite", writes=True)
READ_ROLES = Permission("can_read_roles", writes=False)
MANAGE_ROLES = Permission("can_manage_roles", writes=True)
END_ACCESS = Permission("can_end_access", writes=True)

# Of the platform's organization. A route that asks for one of these also refuses callers of any other.
LIST_ORGANIZATIONS = Permission("can_read_organization", writes=False)
CREATE_ORGANIZATIONS = Permission("can_create_organizations", writes=True)
DELETE_ORGANIZATIONS = Permission("can_delete_organizations", writes=True)
ENTER_ORGANIZATIONS = Permission("can_enter_organizations", writes=True)
VERIFY_DOMAINS = Permission("can_verify_domains", writes=True)
