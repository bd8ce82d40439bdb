"""Tenantry for applications: verify access tokens, follow what is cut, ask for decisions, guard routes.

Start with `Verifier` and `Guard`; ask with `Client`. Everything that can be refused is a `TenantryError`.
"""

from tenantry_sdk.client import Client, Tuple
from tenantry_sdk.credentials import ClientKey, ClientSecret, Token
from tenantry_sdk.errors import (
    BadProof,
    BadToken,
    Denied,
    Ended,
    Expired,
    MissingScope,
    Refused,
    Stale,
    TenantryError,
    Unauthenticated,
    Unreachable,
    WrongAudience,
    WrongOrganization,
    WrongSender,
)
from tenantry_sdk.guard import Guard, caller
from tenantry_sdk.verifier import Verified, Verifier

__version__ = "0.1.0.dev0"

__all__ = [
    "BadProof",
    "BadToken",
    "Client",
    "ClientKey",
    "ClientSecret",
    "Denied",
    "Ended",
    "Expired",
    "Guard",
    "MissingScope",
    "Refused",
    "Stale",
    "TenantryError",
    "Token",
    "Tuple",
    "Unauthenticated",
    "Unreachable",
    "Verified",
    "Verifier",
    "WrongAudience",
    "WrongOrganization",
    "WrongSender",
    "caller",
]
