"""Who acts: a principal of one organization, what it acts through, and the branches its credential descends from."""

import msgspec

from tenantry.core.errors import Invalid
from tenantry.core.ids import PLATFORM
from tenantry.core.limits import ACT_DEPTH, PATH_MAX_IDS


class Lineage(msgspec.Struct, frozen=True):
    """The branches a credential descends from, and what its minting node had heard when it made it.

    `path` holds ids of the credential's own organization, `platform_path` ids of the platform (account, application, signing key).
    Any cut of one of them at a revision above `rev` (`platform_rev` for the platform's) ends the credential, and so does a new
    incarnation of the deployment's data.
    """

    incarnation: int
    path: tuple[str, ...]
    rev: int
    platform_path: tuple[str, ...] = ()
    platform_rev: int = 0

    def __post_init__(self) -> None:
        if len(self.path) + len(self.platform_path) > PATH_MAX_IDS:
            raise Invalid(f"A credential descends from at most {PATH_MAX_IDS} branches.")


class Principal(msgspec.Struct, frozen=True):
    """The subject of a credential and, in `acts_for`, the chain of those it acts for, outermost last (RFC 8693, 4.1).

    Only whoever verified the credential makes one. `lineage` is `None` for the server itself (migrations, duties), which
    holds no credential that could be cut.
    """

    id: str
    org: str
    lineage: Lineage | None
    acts_for: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.acts_for) > ACT_DEPTH:
            raise Invalid(f"A chain of actors is at most {ACT_DEPTH} deep.")

    def chain(self) -> tuple[str, ...]:
        """The actor first, then those it acts for."""
        return (self.id, *self.acts_for)


SYSTEM = Principal(id="system", org=PLATFORM, lineage=None)
"""The server acting for itself."""
