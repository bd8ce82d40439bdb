"""The commands of `tenantry`."""
