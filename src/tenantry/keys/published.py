"""The public keys that a node verifies with and publishes, in memory: true to the changelog, so that verifying reads nothing.

A `kid` that the copy lacks may be a key that this node has yet to hear of: the keys are read again, once, and not more often than every
`REREAD_MS`, so that a flood of invented ones costs a look at memory each. Not checked here: whether the node's lease holds, and what
descends from a cut key (`journal.Cuts`).
"""

import asyncio
from collections import OrderedDict

import msgspec

from tenantry.core import scopes
from tenantry.core.clock import Clock
from tenantry.core.errors import NotFound
from tenantry.journal import Change, Journal
from tenantry.keys.keyring import public_key
from tenantry.keys.rotation import published, verification_key
from tenantry.keys.schema import ALIVE
from tenantry.keys.signing import PublicKey, Use

REREAD_MS = 1_000
"""How long after a read an unknown `kid` is unknown without another one."""

KEPT_MAX = 4_096
"""Uses whose keys one node holds; the longest unused go first."""


class PublishedKeys:
    """A node's copy of the public keys of each use. A follower: add it to `Following` before that starts. Owned by one event loop."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._kept: OrderedDict[Use, _Copy] = OrderedDict()
        self._reading: dict[Use, asyncio.Task[_Copy]] = {}
        self._heard = 0  # changes of keys: a read during which one was heard of is used, but not kept

    def apply(self, change: Change) -> None:
        """See `Follower`: forget the copies of an owner whose keys changed."""
        if any(touched.startswith("key_") for touched in change.touched_ids()):
            self._heard += 1
            for use in [use for use in self._kept if use.owner == change.org]:
                del self._kept[use]

    async def of(self, use: Use) -> list[PublicKey]:
        """Every key of `use` that belongs into its JWKS now: none that was cut or is gone. Empty if nothing was ever signed."""
        return published((await self._copy(use)).keys, use, self._clock.now_ms())

    async def named(self, kid: str, use: Use) -> PublicKey:
        """The published key with this `kid`.

        Raises:
            NotFound: no key of this use has it, or it was cut, or is gone.
        """
        copy = await self._copy(use)
        try:
            return verification_key(copy.keys, kid, use, self._clock.now_ms())
        except NotFound:
            if (self._clock.boottime() - copy.read_at) * 1000 < REREAD_MS:
                raise
        return verification_key((await self._read(use)).keys, kid, use, self._clock.now_ms())

    async def _copy(self, use: Use) -> "_Copy":
        kept = self._kept.get(use)
        if kept is None:
            return await self._read(use)
        self._kept.move_to_end(use)
        return kept

    async def _read(self, use: Use) -> "_Copy":
        """The keys as they are stored; all who ask meanwhile wait for one read."""
        if use not in self._reading:
            self._reading[use] = asyncio.ensure_future(self._load(use))
        return await asyncio.shield(self._reading[use])

    async def _load(self, use: Use) -> "_Copy":
        heard, began = self._heard, self._clock.boottime()
        try:
            reads = self._journal.reads(scopes.of_job(use.owner))
            rows = await reads.all(ALIVE, purpose=use.purpose.value, issuer=use.issuer)
        finally:
            del self._reading[use]
        copy = _Copy([public_key(row, use) for row in rows], began)
        if heard == self._heard:
            self._kept[use] = copy
            while len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        return copy


class _Copy(msgspec.Struct, frozen=True):
    keys: list[PublicKey]
    read_at: float
