"""Receipts: the signed statement of an ended access. Each credential that was live and each sink that may have honoured one: closed (when),
partial (until when), or unknown.

The cut answers at once with its revision. The receipt follows within a moment: a deriver makes it from the changelog, so that none is
forgotten, in parts of at most `ITEMS_MAX` items that are signed each. It is a JWS with detached content (RFC 7515, appendix F) over the
canonical JSON (RFC 8785) of everything but the signature; `open_receipt` verifies one offline.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Literal, Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tenantry.core import base64url, canonical
from tenantry.core.base64url import NotBase64url
from tenantry.core.clock import Clock, iso
from tenantry.core.errors import ProofFailed
from tenantry.core.ids import PLATFORM
from tenantry.core.limits import LEASE_MS, PAGE_ROWS
from tenantry.journal import Change, Reads, WriteSet
from tenantry.journal.schema import CUTS_OF
from tenantry.keys.keyring import Keyring
from tenantry.keys.signing import Algorithm, Jwk, Purpose, Use, verify_raw
from tenantry.sessions.claims import longest_lifetime_ms
from tenantry.sessions.kinds import Credential, Kinds
from tenantry.sessions.schema import ADD_RECEIPTS
from tenantry.sessions.tree import NoBranch, kind_of, side_of

ITEMS_MAX = 2_000
"""Items of one part; more make several."""

TYPE = "tenantry-receipt+jws"

_ROWS_BYTES = 512_000
"""How much one statement writes."""


USABLE = "What it had obtained is dead. It is active itself and can obtain more: deactivate or revoke it to end that."
"""Why a record below the branch is not closed."""


class Item(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One credential or sink. `at`: since when it is closed; `until`: when it is over at the latest."""

    kind: str
    id: str
    state: Literal["closed", "partial", "unknown"]
    at: str = ""
    until: str = ""
    reason: str = ""


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What is signed: of part `part` of `parts`."""

    branch: str
    org: str
    revision: int
    at: str
    bound_ms: int
    part: int
    parts: int
    items: list[Item]


class Receipt(Statement, frozen=True, kw_only=True):
    """A statement and the signature over it."""

    signature: str


class CutAt(msgspec.Struct, frozen=True):
    """A cut as it stands in the changelog."""

    branch: str
    revision: int
    at_ms: int


class Sink(Protocol):
    """Whatever outside may still honour or hold an access that was cut."""

    async def told(self, reads: Reads, cut: CutAt) -> Sequence[Item]:
        """What is known of it now."""
        ...


class Verifiers:
    """Who verifies our tokens: those on the feed, and those that know the keys alone and look at `exp`."""

    async def told(self, reads: Reads, cut: CutAt) -> Sequence[Item]:
        """See `Sink`."""
        longest_ms = longest_lifetime_ms(_kind(reads.org, cut.branch))
        closed, over = iso(cut.at_ms + LEASE_MS), iso(cut.at_ms + LEASE_MS + longest_ms)
        return (
            Item(kind="sink", id="verifiers on the feed", state="closed", at=closed),
            Item(
                kind="sink",
                id="verifiers that look at exp alone",
                state="partial",
                until=over,
                reason="They honour an access token that they hold until it expires.",
            ),
        )


class Gone(msgspec.Struct, frozen=True):
    """What stands below a branch now: nothing, if it is gone."""

    branch: str
    org: str
    revision: int | None
    """The last cut of the branch itself; `None` if it never was."""

    live: tuple[Credential, ...]
    ended: int
    """Credentials whose rows look open and that a cut above them has ended."""


async def prove_gone(reads: Reads, kinds: Kinds, branch: str, now_ms: int) -> Gone:
    """Walk every kind below a branch, from the primary, and say what still lives there.

    Raises:
        NotFound: this organization has no such branch.
    """
    await kinds.find(reads, branch)
    cuts = await _cuts(reads)
    live: list[Credential] = []
    ended = 0
    async for credential in kinds.below(reads, branch, now_ms):
        if credential.lives(cuts):
            live.append(credential)
        else:
            ended += 1
    return Gone(branch, reads.org, cuts.get(branch), tuple(live), ended)


class Receipts:
    """The deriver of `receipts`: whatever was cut, by whom and for what reason ever, gets one."""

    name = "receipts"

    def __init__(self, kinds: Kinds, sinks: Iterable[Sink], keyring: Keyring, clock: Clock, issuer: str) -> None:
        self._kinds = kinds
        self._sinks = tuple(sinks)
        self._keyring = keyring
        self._clock = clock
        self._use = Use(Purpose.RECEIPT, issuer, PLATFORM)

    async def derive(self, w: WriteSet, reads: Reads, changes: list[Change]) -> None:
        """See `Deriver`."""
        rows: list[tuple[str, int, int, str]] = []
        size = 0
        for change in changes:
            for branch in change.cut_ids():
                async for part in self._parts(reads, CutAt(branch, change.rev, change.at_ms)):
                    body = msgspec.json.encode(part).decode()
                    if rows and size + len(body) > _ROWS_BYTES:
                        w.write(ADD_RECEIPTS, rows=msgspec.json.encode(rows).decode())
                        rows, size = [], 0
                    rows.append((branch, change.rev, part.part, body))
                    size += len(body)
        if rows:
            w.write(ADD_RECEIPTS, rows=msgspec.json.encode(rows).decode())

    async def keys(self) -> list[Jwk]:
        """Every key that signs or signed receipts, but those that were cut."""
        return [key.jwk() for key, cut_at_ms in await self._keyring.public(self._use, Algorithm.ES256) if not cut_at_ms]

    async def _parts(self, reads: Reads, cut: CutAt) -> AsyncIterator[Receipt]:
        items = [item async for item in self._items(reads, cut)]
        cutting = range(0, len(items), ITEMS_MAX)
        for number, first in enumerate(cutting, 1):
            statement = Statement(
                branch=cut.branch,
                org=reads.org,
                revision=cut.revision,
                at=iso(cut.at_ms),
                bound_ms=LEASE_MS,
                part=number,
                parts=len(cutting),
                items=items[first : first + ITEMS_MAX],
            )
            fields = {name: getattr(statement, name) for name in Statement.__struct_fields__}
            yield Receipt(**fields, signature=await self._sign(statement))

    async def _items(self, reads: Reads, cut: CutAt) -> AsyncIterator[Item]:
        """The branch itself, what was live below it, and the sinks."""
        at = iso(cut.at_ms)
        yield Item(kind=_kind(reads.org, cut.branch), id=cut.branch, state="closed", at=at)
        async for credential in self._kinds.below(reads, cut.branch, cut.at_ms):
            if credential.usable:
                yield Item(kind=credential.kind, id=credential.id, state="partial", reason=USABLE)
            elif credential.rev < cut.revision:
                yield Item(kind=credential.kind, id=credential.id, state="closed", at=at)
        for sink in self._sinks:
            for item in await sink.told(reads, cut):
                yield item

    async def _sign(self, statement: Statement) -> str:
        key = await self._keyring.signing(self._use, Algorithm.ES256)
        header = base64url.encode(
            msgspec.json.encode({"alg": key.public.algorithm.value, "kid": key.public.kid(), "typ": TYPE})
        )
        signature = key.sign(_signed(header, statement), self._use, self._clock.now_ms())
        return f"{header}..{base64url.encode(signature)}"


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    alg: Literal["ES256"]
    kid: str
    typ: Literal["tenantry-receipt+jws"]


def open_receipt(document: bytes, keys: Iterable[Jwk]) -> Receipt:
    """One part of a receipt, if one of these keys signed it. Needs nothing but its arguments.

    Not checked here: that all `parts` are there, and that the keys are the issuer's.

    Raises:
        ProofFailed: it is none, or none of the keys signed it.
    """
    try:
        receipt = msgspec.json.decode(document, type=Receipt)
        header, empty, signature = receipt.signature.split(".")
        read = msgspec.json.decode(base64url.decode(header), type=_Header)
        proof = base64url.decode(signature)
    except (ValueError, NotBase64url, msgspec.DecodeError) as error:
        raise ProofFailed("This is no receipt.") from error
    known = [key for key in keys if key.kid == read.kid]
    if empty or not known:
        raise ProofFailed("No known key signed this receipt.")
    fields = {name: getattr(receipt, name) for name in Statement.__struct_fields__}
    verify_raw(Algorithm.ES256, _spki(known[0]), _signed(header, Statement(**fields)), proof)
    return receipt


def _signed(header: str, statement: Statement) -> bytes:
    """The signing input (RFC 7515, 5.1)."""
    content = canonical.encode(msgspec.to_builtins(statement))
    return f"{header}.{base64url.encode(content)}".encode()


def _spki(key: Jwk) -> bytes:
    """A P-256 key as `verify_raw` takes it.

    Raises:
        ProofFailed: it is no such key.
    """
    try:
        x, y = (int.from_bytes(base64url.decode(part or ""), "big") for part in (key.x, key.y))
        public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except (ValueError, NotBase64url) as error:
        raise ProofFailed("This is no P-256 key.") from error
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _kind(org: str, branch: str) -> str:
    """The name of a cut branch's kind. Whatever was cut gets a receipt, also what the tree does not know."""
    try:
        return kind_of(branch, side_of(org, branch)).name
    except NoBranch:
        return "unknown"


async def _cuts(reads: Reads) -> dict[str, int]:
    """The last cut of every branch of the organization."""
    cuts: dict[str, int] = {}
    after = ""
    while rows := await reads.all(CUTS_OF, after=after, most=PAGE_ROWS):
        cuts |= {row.id: row.rev for row in rows}
        after = rows[-1].id
    return cuts
