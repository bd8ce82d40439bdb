"""The signing keys of a deployment as they lie in its database: read, opened while the root key allows, made when a line has none.

Opened keys are kept with the data key that opened them; `UnwrappedKeys` says at every use whether that one may still be used.
"""

from tenantry.core import scopes
from tenantry.core.clock import Clock
from tenantry.core.errors import Conflict
from tenantry.core.ids import IdSource
from tenantry.core.principal import SYSTEM
from tenantry.journal import Event, Journal, Reads, Target, WriteSet
from tenantry.keys.envelope import DataKey, version_of, wrap_data_key
from tenantry.keys.root import RootKey
from tenantry.keys.rotation import active_key, rotate
from tenantry.keys.schema import (
    ADD_DATA_KEY,
    ADD_SIGNING_KEY,
    DATA_KEY,
    LINE,
    NEWEST_DATA_KEY,
    DataKeyRow,
    SigningKeyRow,
)
from tenantry.keys.signing import Algorithm, PublicKey, Purpose, Schedule, SigningKey, Use
from tenantry.keys.unwrapped import UnwrappedKeys


class DataKeyMade(Event, tag="key.data_key_made", frozen=True):
    """An organization got a data key of its own."""

    organization: Target
    version: int
    root_key: str


class SigningKeyMade(Event, tag="key.signing_key_made", frozen=True):
    """A signing key was made."""

    key: Target
    purpose: str
    issuer: str
    algorithm: str


class Keyring:
    """The signing keys that one node uses. Owned by one event loop."""

    def __init__(self, journal: Journal, clock: Clock, ids: IdSource, root: RootKey) -> None:
        self._journal = journal
        self._clock = clock
        self._ids = ids
        self._root = root
        self._unwrapped = UnwrappedKeys(root, clock)
        self._opened: dict[str, SigningKey] = {}

    async def public(self, use: Use, algorithm: Algorithm) -> list[PublicKey]:
        """Every key of a line, oldest first; the first is made if there is none.

        Raises:
            Upstream: a first key is needed and the root key cannot be reached.
        """
        return [_public(row, use) for row in await self._line(use, algorithm)]

    async def signing(self, use: Use, algorithm: Algorithm) -> SigningKey:
        """The key of a line that signs now; the first is made if there is none.

        Raises:
            Upstream: the root key cannot be reached, and the data key has been in use for too long without it.
            NotFound: no key of the line signs now.
        """
        rows = {row.id: row for row in await self._line(use, algorithm)}
        key = active_key([_public(row, use) for row in rows.values()], use, algorithm, self._clock.now_ms())
        sealed, reads = rows[key.id].sealed, self._journal.reads(scopes.of_job(use.owner))
        data_key = await self._data_key(use.owner, await reads.one(DATA_KEY, version=version_of(sealed)))
        if key.id not in self._opened:
            self._opened[key.id] = SigningKey.open(key, sealed, data_key)
        return self._opened[key.id]

    async def _line(self, use: Use, algorithm: Algorithm) -> list[SigningKeyRow]:
        """The rows of a line, of which the first may just have been made, here or on another node."""
        scope = scopes.of_job(use.owner)
        reads = self._journal.reads(scope)
        asked = {"purpose": use.purpose.value, "issuer": use.issuer, "algorithm": algorithm.value}
        if rows := await reads.all(LINE, **asked):
            return rows
        await self._journal.run(scope, SYSTEM, self._make_first, use, algorithm)
        return await reads.all(LINE, **asked)

    async def _make_first(self, w: WriteSet, reads: Reads, use: Use, algorithm: Algorithm) -> None:
        """A line's first key, and its owner's first data key if that is missing; whoever was faster makes it a `Conflict`."""
        asked = {"purpose": use.purpose.value, "issuer": use.issuer, "algorithm": algorithm.value}
        if await reads.all(LINE, **asked):
            return
        stored = await reads.all(NEWEST_DATA_KEY)
        if stored:
            data_key = await self._data_key(use.owner, stored[0])
        else:
            data_key = DataKey.generate(use.owner, 1)
            w.write(ADD_DATA_KEY, Conflict, version=1, wrapped=await wrap_data_key(self._root, data_key))
            w.record(DataKeyMade(use.owner, 1, self._root.id))
        plan = rotate([], use, algorithm, self._clock.now_ms()).successor
        key = SigningKey.generate(self._ids.new("key"), use, algorithm, plan)
        w.write(
            ADD_SIGNING_KEY,
            Conflict,
            id=key.public.id,
            number=1,
            published_at=plan.published_at_ms,
            active_at=plan.active_at_ms,
            spki=key.public.spki,
            sealed=key.seal(data_key),
            **asked,
        )
        w.record(SigningKeyMade(key.public.id, **asked))

    async def _data_key(self, org: str, row: DataKeyRow) -> DataKey:
        return await self._unwrapped.get(org, row.version, row.wrapped)


def _public(row: SigningKeyRow, use: Use) -> PublicKey:
    plan = Schedule(row.published_at_ms, row.active_at_ms, row.retire_at_ms, row.gone_at_ms)
    stored = Use(Purpose(row.purpose), row.issuer, use.owner)
    return PublicKey(row.id, stored, Algorithm(row.algorithm), plan, row.spki)
