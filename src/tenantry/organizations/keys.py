"""The registered keys of services, agents, MCP servers and jobs: public keys, and for a service as a last resort a secret.

Of a secret only the SHA-256 is kept. Several may be in use at once, so that a rotation overlaps: the old one ends a while after the new
one began. Revoking a key cuts its branch: what it obtained is dead. A key is registered once in an organization, so that it speaks for one.
"""

import msgspec

from tenantry.core.errors import AlreadyDone, Invalid, NotFound
from tenantry.core.secrets import Secret
from tenantry.journal import Event, Reads, Target, Text, WriteSet
from tenantry.keys.jwk import foreign_key
from tenantry.organizations import parties
from tenantry.organizations.part import PAGE_ARGS, Part
from tenantry.organizations.parties import PartyKind
from tenantry.store import Kind, Read, Statement, Table

PRINCIPAL_KEYS = Table("principal_keys", Kind.STATE)

WITH_KEYS = (PartyKind.SERVICE, PartyKind.AGENT, PartyKind.MCP_SERVER, PartyKind.JOB)
WITH_SECRETS = (PartyKind.SERVICE,)
KEYS_MAX = 5
"""Keys of one principal that are in use at once."""
OVERLAP_MAX_MS = 7 * 24 * 3_600_000
KEY_LIFE_MAX_MS = 732 * 24 * 3_600_000


class PublicJwk(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A public key (RFC 7517; RFC 7518, 6; RFC 8037): EC on P-256, Ed25519, or RSA of 2048 to 4096 bits.

    A private member is an unknown field here, so a private key is refused before it is looked at.
    """

    kty: str
    crv: str = ""
    x: str = ""
    y: str = ""
    n: str = ""
    e: str = ""
    kid: str = ""
    alg: str = ""
    use: str = ""


class PrincipalKey(msgspec.Struct, frozen=True):
    """A registered key. `material` is the public key as JSON, or the hexadecimal SHA-256 of the secret; `thumbprint` is by what it is
    found: the key's (RFC 7638), or the same SHA-256."""

    id: str
    principal_id: str
    kind: str
    thumbprint: str
    material: str
    status: str
    made_at_ms: int
    ends_at_ms: int | None

    def usable(self, now_ms: int) -> bool:
        """Whether it may prove its principal now. Not checked here: that the principal is active."""
        return self.status == "active" and (self.ends_at_ms is None or now_ms < self.ends_at_ms)


ADD_KEY = Statement(
    "organizations_add_key",
    PRINCIPAL_KEYS,
    "INSERT INTO principal_keys (org, id, principal_id, kind, thumbprint, material, status, made_at, ends_at) "
    "VALUES (:org, :id, :principal_id, :kind, :thumbprint, :material, 'active', :made_at, :ends_at) ON CONFLICT DO NOTHING",
    {
        "id": str,
        "principal_id": str,
        "kind": str,
        "thumbprint": str,
        "material": str,
        "made_at": int,
        "ends_at": int,
    },
)
FEW_KEYS = Statement(
    "organizations_few_keys",
    PRINCIPAL_KEYS,
    "SELECT 1 WHERE (SELECT count(*) FROM principal_keys WHERE org = :org AND principal_id = :principal_id AND status = 'active' "
    "AND (ends_at IS NULL OR ends_at > :now)) <= :most",
    {"principal_id": str, "now": int, "most": int},
)
END_KEY = Statement(
    "organizations_end_key",
    PRINCIPAL_KEYS,
    "UPDATE principal_keys SET ends_at = :ends_at WHERE org = :org AND id = :id AND status = 'active' "
    "AND (ends_at IS NULL OR ends_at > :ends_at)",
    {"id": str, "ends_at": int},
)
REVOKE_KEY = Statement(
    "organizations_revoke_key",
    PRINCIPAL_KEYS,
    "UPDATE principal_keys SET status = 'revoked' WHERE org = :org AND id = :id AND status = 'active'",
    {"id": str},
)
_COLUMNS = "id, principal_id, kind, thumbprint, material, status, made_at, ends_at"
KEY = Read(
    "organizations_key",
    PrincipalKey,
    f"SELECT {_COLUMNS} FROM principal_keys WHERE org = :org AND principal_id = :principal_id AND id = :id",  # noqa: S608
    {"principal_id": str, "id": str},
)
KEYS_OF = Read(
    "organizations_keys_of",
    PrincipalKey,
    f"SELECT {_COLUMNS} FROM principal_keys WHERE org = :org AND principal_id = :principal_id AND id > :after "  # noqa: S608
    "ORDER BY id LIMIT :most",
    {"principal_id": str, **PAGE_ARGS},
)
USABLE_KEYS = Read(
    "organizations_usable_keys",
    PrincipalKey,
    f"SELECT {_COLUMNS} FROM principal_keys WHERE org = :org AND principal_id = :principal_id AND kind = :kind "  # noqa: S608
    "AND status = 'active' AND (ends_at IS NULL OR ends_at > :now) ORDER BY id",
    {"principal_id": str, "kind": str, "now": int},
)
KEY_OF_THUMBPRINT = Read(
    "organizations_key_of_thumbprint",
    PrincipalKey,
    f"SELECT {_COLUMNS} FROM principal_keys WHERE org = :org AND thumbprint = :thumbprint",  # noqa: S608
    {"thumbprint": str},
)

PART = Part(
    tables=(PRINCIPAL_KEYS,),
    statements=(ADD_KEY, FEW_KEYS, END_KEY, REVOKE_KEY),
    reads=(KEY, KEYS_OF, USABLE_KEYS, KEY_OF_THUMBPRINT),
    ddl="""
CREATE TABLE principal_keys (
    org text NOT NULL, id text NOT NULL, principal_id text NOT NULL, kind text NOT NULL, thumbprint text NOT NULL, material text NOT NULL,
    status text NOT NULL, made_at {int} NOT NULL, ends_at {int}, PRIMARY KEY (org, id), UNIQUE (org, thumbprint),
    FOREIGN KEY (org, principal_id) REFERENCES parties (org, id)) {strict};
CREATE INDEX principal_keys_principal ON principal_keys (org, principal_id, id);
""",
)


class KeyRegistered(Event, tag="principal.key_registered", frozen=True):
    """A key or secret was registered, by which a principal may prove itself."""

    key: Target
    principal: Target
    kind: str
    thumbprint: str
    ends_at_ms: int | None


class KeyEnding(Event, tag="principal.key_ending", frozen=True):
    """A newer key takes over: this one proves nothing from `ends_at_ms` on."""

    key: Target
    principal: Target
    ends_at_ms: int


class KeyRevoked(Event, tag="principal.key_revoked", frozen=True):
    """A key was revoked: what it obtained died."""

    key: Target
    principal: Target
    reason: Text


class KeyTaken(AlreadyDone):
    """The key is registered in the organization: a key speaks for one principal."""

    code = "key_taken"
    sentence = "This key is registered already."


class TooManyKeys(AlreadyDone):
    """The principal has as many keys in use as it may."""

    code = "too_many_keys"
    sentence = f"A principal has at most {KEYS_MAX} keys in use. Revoke one first."


class KeyGone(AlreadyDone):
    """The key was revoked, or ends sooner."""

    code = "key_gone"
    sentence = "This key has been revoked, or ends sooner already."


def register(
    w: WriteSet, key_id: str, principal_id: str, key: PublicJwk, *, now_ms: int, ends_at_ms: int | None = None
) -> None:
    """Register a public key.

    Raises:
        Invalid: it is none that we take, or its end is not in the future.

    Raises, when the set is sent:
        NotFound: no such service, agent, MCP server or job. KeyTaken, TooManyKeys.
    """
    parties.refer(w, principal_id, *WITH_KEYS)
    _add(w, key_id, principal_id, "jwk", thumbprint(key), msgspec.json.encode(key).decode(), now_ms, ends_at_ms)


def issue_secret(w: WriteSet, key_id: str, principal_id: str, *, now_ms: int, ends_at_ms: int | None = None) -> Secret:
    """Make a secret, the last resort of services and MCP servers; it is shown once.

    Raises, when the set is sent:
        NotFound: no such service or MCP server: agents and jobs never hold a secret.
    """
    parties.refer(w, principal_id, *WITH_SECRETS)
    secret = Secret.issue(w.org)
    digest = secret.digest().hex()
    _add(w, key_id, principal_id, "secret", digest, digest, now_ms, ends_at_ms)
    return secret


async def retire(w: WriteSet, reads: Reads, principal_id: str, key_id: str, *, now_ms: int, overlap_ms: int) -> None:
    """Let a key end after an overlap, in which its successor comes into use. What it obtained lives out its own time.

    Raises:
        Invalid: the overlap is negative or longer than `OVERLAP_MAX_MS`.
    """
    if not 0 <= overlap_ms <= OVERLAP_MAX_MS:
        raise Invalid("The overlap is at most 7 days.")
    key = await reads.one(KEY, principal_id=principal_id, id=key_id)
    w.write(END_KEY, KeyGone, id=key.id, ends_at=now_ms + overlap_ms)
    w.record(KeyEnding(key.id, principal_id, now_ms + overlap_ms))


async def revoke(w: WriteSet, reads: Reads, principal_id: str, key_id: str, reason: str = "") -> None:
    """End a key and all that it obtained, at once; again changes nothing."""
    key = await reads.one(KEY, principal_id=principal_id, id=key_id)
    if key.status != "active":
        return
    w.write(REVOKE_KEY, KeyGone, id=key.id)
    w.cut(key.id)
    w.record(KeyRevoked(key.id, principal_id, reason))


async def usable_keys(reads: Reads, principal_id: str, now_ms: int) -> list[PrincipalKey]:
    """The public keys by which a principal may prove itself now. Not checked here: that it is active."""
    return await reads.all(USABLE_KEYS, principal_id=principal_id, kind="jwk", now=now_ms)


async def of_secret(reads: Reads, secret: Secret, now_ms: int) -> PrincipalKey:
    """The registered secret that was presented, if it is usable now. Not checked here: that its principal is active.

    Raises:
        NotFound: the organization has none of this digest, or no longer.
    """
    key = await reads.one(KEY_OF_THUMBPRINT, NotFound, thumbprint=secret.digest().hex())
    if key.kind != "secret" or not key.usable(now_ms):
        raise NotFound
    return key


def thumbprint(key: PublicJwk) -> str:
    """The thumbprint of a public key (RFC 7638), after it was found to be one that clients are verified with.

    Raises:
        Invalid: it is no such key.
    """
    return foreign_key(msgspec.to_builtins(key)).thumbprint()


def _add(
    w: WriteSet,
    key_id: str,
    principal_id: str,
    kind: str,
    found_by: str,
    material: str,
    now_ms: int,
    ends_at_ms: int | None,
) -> None:
    if ends_at_ms is not None and not now_ms < ends_at_ms <= now_ms + KEY_LIFE_MAX_MS:
        raise Invalid("A key ends in the future, within two years.")
    w.write(
        ADD_KEY,
        KeyTaken,
        id=key_id,
        principal_id=principal_id,
        kind=kind,
        thumbprint=found_by,
        material=material,
        made_at=now_ms,
        ends_at=ends_at_ms,
    )
    w.write_settled(FEW_KEYS, TooManyKeys, principal_id=principal_id, now=now_ms, most=KEYS_MAX)
    w.record(KeyRegistered(key_id, principal_id, kind, found_by, ends_at_ms))
