"""The operator's key: how the commands of this machine prove themselves where there is no socket beside the database.

A service of the platform's organization, an owner of it, with a registered public key. The private key lies in a file of mode 0600 in this
node's state directory and never in the database. The file comes first, so that a crash between leaves a key that the next run registers;
a registered key is left alone, revoked or not: who wants another one removes the file.
"""

import os
from pathlib import Path

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from tenantry.core import scopes
from tenantry.core.clock import Clock
from tenantry.core.errors import Unsafe
from tenantry.core.ids import IdSource
from tenantry.core.principal import SYSTEM
from tenantry.journal import Journal
from tenantry.keys.root import read_private
from tenantry.organizations import keys, roles, services
from tenantry.organizations.keys import KEY_OF_THUMBPRINT, PublicJwk

FILE = "operator.key"


class OperatorKey(msgspec.Struct, frozen=True):
    """The service that commands act as, and the key that proves it."""

    client_id: str
    key: ECKey

    @property
    def public(self) -> PublicJwk:
        """What is registered."""
        half = self.key.as_dict(private=False)
        return PublicJwk(kty="EC", crv="P-256", x=str(half["x"]), y=str(half["y"]))

    @property
    def kid(self) -> str:
        """The thumbprint (RFC 7638), by which the key is found."""
        return keys.thumbprint(self.public)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    client_id: str
    jwk: dict[str, str]


def read_operator_key(state: Path) -> OperatorKey:
    """The key of this node's commands.

    Raises:
        Unsafe: there is none, it is no key, or others may read it.
    """
    try:
        read = msgspec.json.decode(read_private(state / FILE, "operator's key"), type=_File)
        return OperatorKey(read.client_id, ECKey.import_key(dict(read.jwk)))
    except (msgspec.DecodeError, JoseError, ValueError) as error:
        raise Unsafe(
            f"{state / FILE} holds no operator's key.", hint="Move it away; `tenantry init` makes another."
        ) from error


async def enroll(journal: Journal, ids: IdSource, clock: Clock, state: Path) -> bool:
    """Let this node's commands act for the platform; says whether anything was registered.

    Raises:
        Unsafe: as `read_operator_key`, but that there is none.
    """
    if not (state / FILE).exists():
        _write(state / FILE, _File(ids.new("service"), _private(ECKey.generate_key("P-256"))))
    mine = read_operator_key(state)
    if await journal.reads(scopes.of_platform()).all(KEY_OF_THUMBPRINT, thumbprint=mine.kid):
        return False
    now_ms = clock.now_ms()
    async with journal.begin(scopes.of_platform(), SYSTEM) as w:
        services.add(w, mine.client_id, f"commands of {os.uname().nodename}", now_ms)
        keys.register(w, ids.new("key"), mine.client_id, mine.public, now_ms=now_ms)
        roles.give(w, roles.OWNER, mine.client_id)
    return True


def _private(key: ECKey) -> dict[str, str]:
    return {name: str(value) for name, value in key.as_dict(private=True).items()}


def _write(path: Path, content: _File) -> None:
    """After a crash it is there whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(content))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
