"""The registry of credential kinds, filled: what each room keeps below others, for receipts and for the proof that access is gone."""

from collections.abc import Sequence

from tenantry.core.limits import PAGE_ROWS
from tenantry.journal import Reads
from tenantry.organizations.below import BELOW, THERE
from tenantry.organizations.standing import Standings
from tenantry.sessions.kinds import OWN, Credential, Kinds

NOT_YET = frozenset({"connection", "directory", "portal_session", "family", "approval"})
"""Kinds of the tree whose rooms do not stand yet, so that nothing can be of them."""

_PRINCIPALS = ("user_", "agent_", "service_", "mcp_", "job_")


class _Recorded:
    """A kind that the records of organizations keep. Whether one can be used is its principal's standing, now, and no revision's."""

    def __init__(self, name: str, standing: Standings) -> None:
        self.name = name
        self._standing = standing

    async def children(self, reads: Reads, parents: Sequence[str], after: str, at_ms: int) -> Sequence[Credential]:
        """See `CredentialKind`."""
        rows = await reads.all(BELOW[self.name], parents=list(parents), after=after, at=at_ms, most=PAGE_ROWS)
        return [
            Credential(
                self.name,
                row.id,
                (reads.org, row.id),
                0,
                row.ends_at_ms,
                usable=await self._usable(reads.org, row.principal_id),
            )
            for row in rows
        ]

    async def exists(self, reads: Reads, branch: str) -> bool:
        """See `CredentialKind`."""
        return bool(await reads.all(THERE[self.name], id=branch))

    async def _usable(self, org: str, principal: str) -> bool:
        return not principal.startswith(_PRINCIPALS) or await self._standing.active(org, principal)


def credential_kinds(standing: Standings) -> Kinds:
    """Every kind there is."""
    return Kinds((*OWN, *(_Recorded(name, standing) for name in BELOW)))
