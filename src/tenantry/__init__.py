"""Tenantry: the enterprise identity stack for AI applications.

Rooms are imported by name (`tenantry.journal`, `tenantry.audit`, ...); nothing is exported here, so that importing
one room never pays for another.
"""
