"""Scopes: the only way to hold a tenant's data, made in this file and nowhere else.

A store cannot be called without one. There is no ambient scope (no ContextVar): a scope is an argument all the way down.
Each function below names the reason for which a scope may exist.
"""

from typing import Final, final

from tenantry.core.errors import Denied
from tenantry.core.ids import PLATFORM, parse
from tenantry.core.principal import Principal

_SEAL: Final = object()


class _Scope:
    __slots__ = ("org",)

    def __init__(self, org: str, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("Scopes are made by the functions of tenantry.core.scopes.")
        self.org = parse("org", org)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.org})"


@final
class TenantScope(_Scope):
    """Everything of one organization, within what the caller's permissions allow."""


@final
class DoorScope(_Scope):
    """What may be read of an organization before anybody has proved anything: branding, connections, sign-in policy."""


@final
class ClaimScope(_Scope):
    """The one read that verifies a secret or client id which names its organization."""


def of_principal(principal: Principal) -> TenantScope:
    """The scope of a verified credential: its own organization."""
    return TenantScope(principal.org, _SEAL)


def of_job(org: str) -> TenantScope:
    """The scope of background work, which carries its organization from where it was asked for."""
    return TenantScope(org, _SEAL)


def of_entry(operator: Principal, org: str) -> TenantScope:
    """The scope of an operator who entered an organization. The caller has recorded the entry in that organization's log.

    Raises:
        Denied: the principal is not of the platform.
    """
    if operator.org != PLATFORM:
        raise Denied("Only an operator of the platform can enter an organization.")
    return TenantScope(org, _SEAL)


def of_provider(service: Principal, org: str) -> TenantScope:
    """The scope of a platform's principal in an organization that uses one of the platform's applications, for its store there alone.

    The caller has found that store, and asked whether the principal may, on the application.

    Raises:
        Denied: the principal is not of the platform.
    """
    if service.org != PLATFORM:
        raise Denied("Only the platform serves other organizations.")
    return TenantScope(org, _SEAL)


def of_platform() -> TenantScope:
    """The platform's own organization, for its own records."""
    return TenantScope(PLATFORM, _SEAL)


def of_door(org: str) -> DoorScope:
    """The scope that a door (host name, mail domain, client id, entity id) leads to."""
    return DoorScope(org, _SEAL)


def of_claim(org: str) -> ClaimScope:
    """The scope of an organization that presented material names but has not proved yet."""
    return ClaimScope(org, _SEAL)


def to_verify(claim: ClaimScope) -> TenantScope:
    """The scope of the reads that verify what was presented: they prove the claim, or nothing comes of them."""
    return TenantScope(claim.org, _SEAL)
