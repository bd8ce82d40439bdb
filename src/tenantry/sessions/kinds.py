"""Which credentials there are: a registry that `app/` fills, one entry a kind of the tree, so that a receipt forgets none.

A room that keeps a kind of branch says what lies directly below others, and on what path one stands. Nothing here knows their tables.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from tenantry.core.errors import Misuse, NotFound
from tenantry.core.limits import PAGE_ROWS
from tenantry.journal import Reads
from tenantry.sessions.branches import KEPT
from tenantry.sessions.schema import BRANCH, CHILDREN
from tenantry.sessions.tree import BY_NAME, KINDS, NoBranch, side_of
from tenantry.sessions.tree import Kind as TreeKind


class Credential(msgspec.Struct, frozen=True):
    """Something that can be used, or under which something can be: a session, a run, a key, an agent.

    `path` is what it descends from, itself last, and `rev` the revision that was read before it was made: it died with whatever of
    its path was cut after that. A record (a key, an agent) is otherwise: a cut ends what it obtained, and `usable` says whether it can
    obtain anything again.
    """

    kind: str
    id: str
    path: tuple[str, ...]
    rev: int
    ends_at_ms: int | None = None
    usable: bool | None = None

    def lives(self, cuts: Mapping[str, int]) -> bool:
        """Whether it can be used, after these cuts (the last one of each branch)."""
        if self.usable is not None:
            return self.usable
        return not any(cuts.get(above, 0) > self.rev for above in self.path)


class CredentialKind(Protocol):
    """What a room tells of one kind of branch that it keeps."""

    name: str
    """Its name in `tree.KINDS`."""

    async def children(self, reads: Reads, parents: Sequence[str], after: str, at_ms: int) -> Sequence[Credential]:
        """Those directly below any of `parents` that had neither ended nor run out at `at_ms`: in order of their ids those beyond
        `after`, at most `PAGE_ROWS`; fewer only if there are no more. Cuts above them are not looked at.
        """
        ...

    async def exists(self, reads: Reads, branch: str) -> bool:
        """Whether this organization has, or had, this one."""
        ...


class Kept:
    """The kinds that this room keeps itself: sessions, grants and runs."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def children(self, reads: Reads, parents: Sequence[str], after: str, at_ms: int) -> Sequence[Credential]:
        """See `CredentialKind`."""
        rows = await reads.all(CHILDREN, kind=self.name, parents=list(parents), after=after, at=at_ms, most=PAGE_ROWS)
        return [Credential(row.kind, row.id, row.path, row.rev, row.ends_at_ms) for row in rows]

    async def exists(self, reads: Reads, branch: str) -> bool:
        """See `CredentialKind`."""
        return bool(await reads.all(BRANCH, id=branch))


class Itself:
    """The organization, below which everything is."""

    name = "organization"

    async def children(self, reads: Reads, parents: Sequence[str], after: str, at_ms: int) -> Sequence[Credential]:
        """See `CredentialKind`: an organization is below nothing."""
        del reads, parents, after, at_ms
        return ()

    async def exists(self, reads: Reads, branch: str) -> bool:
        """See `CredentialKind`."""
        return branch == reads.org


OWN: tuple[CredentialKind, ...] = (Itself(), *(Kept(name) for name in KEPT))
"""What this room brings to the registry."""


class Kinds:
    """The registry. Immutable once made."""

    def __init__(self, kinds: Iterable[CredentialKind]) -> None:
        """Take the kinds.

        Raises:
            Misuse: one is none of the tree, or comes twice.
        """
        self._kinds: dict[str, CredentialKind] = {}
        for kind in kinds:
            if kind.name not in BY_NAME or kind.name in self._kinds:
                raise Misuse(f"{kind.name} is no kind of the tree, or comes twice.")
            self._kinds[kind.name] = kind

    def missing(self) -> list[str]:
        """Kinds of the tree that can hang below something and that nobody has told of: a receipt would not name them."""
        return [kind.name for kind in KINDS if kind.parents and kind.name not in self._kinds]

    async def find(self, reads: Reads, branch: str) -> TreeKind:
        """The kind of a branch that this organization has.

        Raises:
            NotFound: it has no such branch.
        """
        try:
            side = side_of(reads.org, branch)
        except NoBranch as error:
            raise NotFound from error
        for kind in KINDS:
            told = self._kinds.get(kind.name)
            fits = kind.side is side and branch.startswith(f"{kind.prefix}_")
            if fits and told is not None and await told.exists(reads, branch):
                return kind
        raise NotFound

    async def below(self, reads: Reads, branch: str, at_ms: int) -> AsyncIterator[Credential]:
        """Everything below a branch that had neither ended nor run out at `at_ms`, each once, a level after the other.

        Holds the ids of all of them: 100,000 are about 10 MB.
        """
        seen, level = {branch}, [branch]
        while level:
            found: list[str] = []
            for first in range(0, len(level), PAGE_ROWS):
                async for credential in self._children(reads, level[first : first + PAGE_ROWS], at_ms):
                    if credential.id not in seen:
                        seen.add(credential.id)
                        found.append(credential.id)
                        yield credential
            level = found

    async def _children(self, reads: Reads, parents: list[str], at_ms: int) -> AsyncIterator[Credential]:
        for kind in self._kinds.values():
            page, after = await kind.children(reads, parents, "", at_ms), ""
            while page:
                for credential in page:
                    yield credential
                after = page[-1].id
                await asyncio.sleep(
                    0
                )  # a read of SQLite is done on the loop: others come between, the lease's renewal first
                page = await kind.children(reads, parents, after, at_ms) if len(page) == PAGE_ROWS else ()
