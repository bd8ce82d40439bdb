"""Tenantry: the enterprise identity stack for AI applications.

Rooms are imported by name (`tenantry.journal`, `tenantry.audit`, ...); nothing but the version is here, so that importing
one room never pays for another.
"""

__version__ = "0.1.0.dev0"
