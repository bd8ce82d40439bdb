"""The keys of a deployment as they lie in its database: read, opened while the root key allows, made when a line has none.

A *line* is the keys of one use and algorithm, numbered; two nodes that rotate at once collide, and one of them reads again. Whatever
is slow (making, unwrapping, sealing) happens before the set is sent. Opened keys are kept with the data key that opened them;
`UnwrappedKeys` says at every use whether that one may still be used.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator

from tenantry.core import scopes
from tenantry.core.clock import Clock
from tenantry.core.errors import AlreadyDone, Conflict, NotFound
from tenantry.core.ids import PLATFORM, IdSource
from tenantry.core.principal import SYSTEM, Principal
from tenantry.journal import Event, Journal, Reads, Target, Text, WriteSet
from tenantry.journal.schema import LOCK_HEAD
from tenantry.keys.envelope import DataKey, unwrap_data_key, version_of, wrap_data_key
from tenantry.keys.root import RootKey, header
from tenantry.keys.rotation import Rotation, active_key, bring_forward, roll_back, rotate
from tenantry.keys.schema import (
    ADD_DATA_KEY,
    ADD_SIGNING_KEY,
    CUT_KEY,
    DATA_KEY,
    DATA_KEYS_OF,
    GUARD_KEPT,
    LINE,
    NEWEST_DATA_KEY,
    REWRAP,
    SET_PLAN,
    SHRED,
    DataKeyRow,
    SigningKeyRow,
)
from tenantry.keys.signing import Algorithm, PublicKey, Purpose, Schedule, SigningKey, State, Use
from tenantry.keys.unwrapped import KEPT_MAX, UnwrappedKeys


class DataKeyMade(Event, tag="key.data_key_made", frozen=True):
    """An organization got its first data key, or a newer one; what older ones sealed they go on opening."""

    organization: Target
    version: int
    root_key: str


class DataKeysDestroyed(Event, tag="key.data_keys_destroyed", frozen=True):
    """An organization's data keys were destroyed: what they sealed can never be opened again."""

    organization: Target


class DataKeysRewrapped(Event, tag="key.data_keys_rewrapped", frozen=True):
    """An organization's data keys were wrapped anew, under another root key."""

    organization: Target
    root_key: str


class SigningKeyMade(Event, tag="key.signing_key_made", frozen=True):
    """A signing key was made and published."""

    key: Target
    purpose: str
    issuer: str
    algorithm: str


class SigningKeyPlanned(Event, tag="key.signing_key_planned", frozen=True):
    """A signing key's life was planned anew, by a rotation, roll-back or cut in its line."""

    key: Target
    active_at_ms: int
    retire_at_ms: int | None
    gone_at_ms: int | None


class SigningKeyCut(Event, tag="key.signing_key_cut", frozen=True):
    """A signing key was ended at once: what it signed is refused from here on."""

    key: Target
    reason: Text


class KeyEnded(AlreadyDone):
    """The key was cut before."""

    sentence = "This key has been ended already."


class KeysDestroyed(AlreadyDone):
    """The organization's data keys were destroyed, and it never gets others."""

    sentence = "The keys of this organization have been destroyed."


class Keyring:
    """The keys that one node uses. Owned by one event loop."""

    def __init__(self, journal: Journal, clock: Clock, ids: IdSource, root: RootKey) -> None:
        self._journal = journal
        self._clock = clock
        self._ids = ids
        self._root = root
        self._unwrapped = UnwrappedKeys(root, clock)
        self._opened: OrderedDict[str, SigningKey] = OrderedDict()  # at most KEPT_MAX, the longest unused goes first

    async def check(self) -> None:
        """Make sure at start that the root key is the one that wrapped the platform's newest data key, if it has one.

        Raises:
            WrongRootKey: it is another one.
            RootKeyUnreachable: its keeper does not answer.
        """
        for row in await self._journal.reads(scopes.of_platform()).all(NEWEST_DATA_KEY):
            await self._data_key(PLATFORM, row)

    async def public(self, use: Use, algorithm: Algorithm) -> list[tuple[PublicKey, int | None]]:
        """Every key of a line, oldest first, each with the time of its cut; the first is made if there is none.

        Raises:
            Upstream: a first key is needed and the root key cannot be reached.
        """
        return [(public_key(row, use), row.cut_at_ms) for row in await self._line(use, algorithm)]

    async def signing(self, use: Use, algorithm: Algorithm) -> SigningKey:
        """The key of a line that signs now; the first is made if there is none.

        Raises:
            Upstream: the root key cannot be reached, and the data key has been in use for too long without it.
            NotFound: there is no such organization.
            KeysDestroyed: its data keys were destroyed.
        """
        rows = {row.id: row for row in await self._line(use, algorithm) if row.cut_at_ms is None}
        key = active_key([public_key(row, use) for row in rows.values()], use, algorithm, self._clock.now_ms())
        sealed, reads = rows[key.id].sealed, self._journal.reads(scopes.of_job(use.owner))
        data_key = await self._data_key(use.owner, await reads.one(DATA_KEY, KeysDestroyed, version=version_of(sealed)))
        return self._open(key, sealed, data_key)

    async def rotate(self, use: Use, algorithm: Algorithm, actor: Principal) -> None:
        """Publish the line's next key, and plan the end of the present one.

        Raises:
            RotationUnderWay: the next key is published already and waits for its first use.
        """
        await self._journal.run(scopes.of_job(use.owner), actor, self._make_next, use, algorithm)

    async def roll_back(self, use: Use, algorithm: Algorithm, actor: Principal) -> None:
        """Let the line's previous key sign again.

        Raises:
            NotFound: no earlier key is still published.
        """
        await self._journal.run(scopes.of_job(use.owner), actor, self._take_back, use, algorithm)

    async def cut(self, use: Use, algorithm: Algorithm, key: str, actor: Principal, reason: str) -> None:
        """End a key at once; if it was the one that signs, the line's next use brings its successor forward, or makes one.

        Raises:
            NotFound: the line has no such key.
            KeyEnded: it was cut before.
        """
        scope = scopes.of_job(use.owner)
        if key not in {row.id for row in await self._line(use, algorithm)}:
            raise NotFound("This line has no such key.")
        async with self._journal.begin(scope, actor) as w:
            w.write(CUT_KEY, KeyEnded, id=key, cut_at=self._clock.now_ms())
            w.cut(key)
            w.record(SigningKeyCut(key, reason))
        self._opened.pop(key, None)

    async def data_key(self, org: str) -> DataKey:
        """The organization's newest data key, made if it has none.

        Raises:
            Upstream: the root key cannot be reached.
            KeysDestroyed: it had some.
        """
        scope = scopes.of_job(org)
        reads = self._journal.reads(scope)
        if not await reads.all(NEWEST_DATA_KEY):
            await self._journal.run(scope, SYSTEM, self._make_data_key)
        return await self._data_key(org, await reads.one(NEWEST_DATA_KEY, KeysDestroyed))

    async def found(self, w: WriteSet) -> DataKey:
        """Bring the first data key of the organization that `w` founds.

        Raises:
            Upstream: the root key cannot be reached.
        """
        return await self._add_data_key(w, 1)

    async def rotate_data_key(self, org: str, actor: Principal) -> DataKey:
        """Make a newer data key, under which everything is sealed from now on; older ones stay for what they sealed.

        Raises:
            Upstream: the root key cannot be reached.
            KeysDestroyed: the organization's were destroyed.
        """
        return await self._journal.run(scopes.of_job(org), actor, self._make_next_data_key)

    def destroy(self, w: WriteSet) -> None:
        """Destroy an organization's data keys in `w`, and put it on the destruction list: no backup brings them back.

        It never gets others, so that no version ever names two keys, and no node goes on with one that it still holds.
        """
        w.write_settled(SHRED)  # under the organization's lock: a key that is being made is there when its turn comes
        w.destroy(w.org)
        w.record(DataKeysDestroyed(w.org))
        self._unwrapped.forget(w.org)

    async def shred_again(self, org: str) -> None:
        """Destroy what a restored backup brought back of an organization on the destruction list, if it knows it at all."""
        scope = scopes.of_job(org)
        try:
            await self._journal.head(scope)
        except NotFound:
            return
        async with self._journal.begin(scope, SYSTEM) as w:
            self.destroy(w)

    async def rewrap(self, orgs: AsyncIterator[str], root: RootKey, actor: Principal) -> int:
        """Wrap every data key of these organizations under another root key; returns how many organizations had one.

        A set an organization: after a crash, run it again. Keys that `root` wraps already are left alone. What nodes with the
        old root key make meanwhile is found by running it once more when they have stopped.

        Raises:
            WrongRootKey: a key is wrapped by neither root key.
        """
        done = 0
        async for org in orgs:
            done += await self._journal.run(scopes.of_job(org), actor, self._rewrap, root)
        return done

    async def _rewrap(self, w: WriteSet, reads: Reads, root: RootKey) -> bool:
        stale = [row for row in await reads.all(DATA_KEYS_OF) if not row.wrapped.startswith(header(root.id))]
        for row in stale:
            fresh = await wrap_data_key(root, await unwrap_data_key(self._root, row.wrapped, w.org, row.version))
            w.write(REWRAP, Conflict, version=row.version, wrapped=fresh, was=row.wrapped)
        if stale:
            w.record(DataKeysRewrapped(w.org, root.id))
        return bool(stale)

    async def _line(self, use: Use, algorithm: Algorithm) -> list[SigningKeyRow]:
        """The rows of a line, one of which signs now: it may just have been made, here or on another node."""
        scope = scopes.of_job(use.owner)
        rows = await self._journal.reads(scope).all(LINE, **_asked(use, algorithm))
        if self._signs(rows, use):
            return rows
        await self._journal.run(scope, SYSTEM, self._fill, use, algorithm)
        return await self._journal.reads(scope).all(LINE, **_asked(use, algorithm))

    def _signs(self, rows: list[SigningKeyRow], use: Use) -> bool:
        now_ms = self._clock.now_ms()
        return any(key.state(now_ms) is State.ACTIVE for key in _alive(rows, use))

    async def _fill(self, w: WriteSet, reads: Reads, use: Use, algorithm: Algorithm) -> None:
        """A key that signs now; whoever was faster makes it a `Conflict`, and then there is one."""
        await self._expect_head(w)
        rows = await reads.all(LINE, **_asked(use, algorithm))
        if self._signs(rows, use):
            return
        now_ms = self._clock.now_ms()
        waiting = bring_forward(_alive(rows, use), use, algorithm, now_ms)
        if waiting is not None:
            _plan(w, (waiting,))
        else:
            plan = Rotation(Schedule(published_at_ms=now_ms, active_at_ms=now_ms), ())
            await self._carry_out(w, reads, plan, use, algorithm, len(rows) + 1)

    async def _make_next(self, w: WriteSet, reads: Reads, use: Use, algorithm: Algorithm) -> None:
        await self._expect_head(w)
        rows = await reads.all(LINE, **_asked(use, algorithm))
        plan = rotate(_alive(rows, use), use, algorithm, self._clock.now_ms())
        await self._carry_out(w, reads, plan, use, algorithm, len(rows) + 1)

    async def _carry_out(
        self, w: WriteSet, reads: Reads, plan: Rotation, use: Use, algorithm: Algorithm, number: int
    ) -> None:
        data_key = await self._data_key_for(w, reads)
        key = await asyncio.to_thread(SigningKey.generate, self._ids.new("key"), use, algorithm, plan.successor)
        w.write(
            ADD_SIGNING_KEY,
            Conflict,
            id=key.public.id,
            number=number,
            published_at=plan.successor.published_at_ms,
            active_at=plan.successor.active_at_ms,
            spki=key.public.spki,
            sealed=key.seal(data_key),
            **_asked(use, algorithm),
        )
        w.record(SigningKeyMade(key.public.id, **_asked(use, algorithm)))
        _plan(w, plan.changed)

    async def _take_back(self, w: WriteSet, reads: Reads, use: Use, algorithm: Algorithm) -> None:
        await self._expect_head(w)
        rows = await reads.all(LINE, **_asked(use, algorithm))
        _plan(w, roll_back(_alive(rows, use), use, algorithm, self._clock.now_ms()))

    async def _expect_head(self, w: WriteSet) -> None:
        """Before the reads that a plan rests on: what changes after them makes it a `Conflict`."""
        w.expect_revision((await self._journal.head(scopes.of_job(w.org))).rev)

    async def _data_key_for(self, w: WriteSet, reads: Reads) -> DataKey:
        """The newest data key, or a first one that `w` brings."""
        for row in await reads.all(NEWEST_DATA_KEY):
            return await self._data_key(w.org, row)
        return await self._add_data_key(w, 1)

    async def _make_data_key(self, w: WriteSet, reads: Reads) -> None:
        await self._data_key_for(w, reads)

    async def _make_next_data_key(self, w: WriteSet, reads: Reads) -> DataKey:
        newest = await reads.all(NEWEST_DATA_KEY)
        return await self._add_data_key(w, newest[0].version + 1 if newest else 1)

    async def _add_data_key(self, w: WriteSet, version: int) -> DataKey:
        fresh = DataKey.generate(w.org, version)
        w.lock(LOCK_HEAD, NotFound)  # so that destruction comes before or after, not in the middle
        w.lock(GUARD_KEPT, KeysDestroyed)
        w.write(ADD_DATA_KEY, Conflict, version=version, wrapped=await wrap_data_key(self._root, fresh))
        w.record(DataKeyMade(w.org, version, self._root.id))
        return fresh

    async def _data_key(self, org: str, row: DataKeyRow) -> DataKey:
        return await self._unwrapped.get(org, row.version, row.wrapped)

    def _open(self, key: PublicKey, sealed: bytes, data_key: DataKey) -> SigningKey:
        opened = self._opened.get(key.id)
        if opened is None or opened.public != key:  # its plan has changed since
            opened = self._opened[key.id] = SigningKey.open(key, sealed, data_key)
        self._opened.move_to_end(key.id)
        while len(self._opened) > KEPT_MAX:
            self._opened.popitem(last=False)
        return opened


def _asked(use: Use, algorithm: Algorithm) -> dict[str, str]:
    return {"purpose": use.purpose.value, "issuer": use.issuer, "algorithm": algorithm.value}


def _plan(w: WriteSet, changed: tuple[PublicKey, ...]) -> None:
    for key in changed:
        plan = key.schedule
        args = {"active_at": plan.active_at_ms, "retire_at": plan.retire_at_ms, "gone_at": plan.gone_at_ms}
        w.write(SET_PLAN, Conflict, id=key.id, **args)
        w.record(SigningKeyPlanned(key.id, plan.active_at_ms, plan.retire_at_ms, plan.gone_at_ms))


def _alive(rows: list[SigningKeyRow], use: Use) -> list[PublicKey]:
    return [public_key(row, use) for row in rows if row.cut_at_ms is None]


def public_key(row: SigningKeyRow, use: Use) -> PublicKey:
    """The public half of a stored key of `use`."""
    plan = Schedule(row.published_at_ms, row.active_at_ms, row.retire_at_ms, row.gone_at_ms)
    stored = Use(Purpose(row.purpose), row.issuer, use.owner)
    return PublicKey(row.id, stored, Algorithm(row.algorithm), plan, row.spki)
