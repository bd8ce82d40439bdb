"""The root key: what wraps every tenant's data key. Kept in a file or the environment here, in a token by `pkcs11`.

Call `wrap` and `unwrap` of this module, never a `RootKey`'s own methods: they hold every keeper, also a slow one, to
one deadline. There is no start without a root key and no plain text in its place.

Wrapped: `format (1 byte, 0x01) ‖ length of the root key's id (1 byte) ‖ id ‖ body`. The id stands in front so that a
wrong root key is named instead of looking like damage.
"""

import asyncio
import base64
import binascii
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tenantry.core.errors import Misuse, Unsafe, Upstream
from tenantry.keys import aead
from tenantry.keys.aead import Damaged

ENVIRONMENT = "TENANTRY_ROOT_KEY"
DEADLINE_MS = 5_000
"""How long one wrap or unwrap may take before its keeper counts as unreachable."""

_FORMAT = 1
_ID_MAX_BYTES = 255
_FILE_MAX_BYTES = 256


class WrongRootKey(Unsafe):
    """The value was wrapped under another root key than the configured one."""

    code = "root_key_wrong"


class RootKeyUnreachable(Upstream):
    """The keeper of the root key refused, or did not answer within the deadline."""

    code = "root_key_unreachable"


class RootKey(Protocol):
    """Who keeps a root key (a file, a token, a service).

    Both methods may be called concurrently. They raise `RootKeyUnreachable` when the keeper refuses or is away, and
    must be safe to cancel: `wrap` and `unwrap` below stop waiting after `DEADLINE_MS`. `unwrap` raises `WrongRootKey`
    or `Damaged` as `body_of` does, and never returns what was wrapped with another `aad`.
    """

    @property
    def id(self) -> str:
        """Names the key, not its value; another key has another id. At most 255 bytes."""
        ...

    async def wrap(self, plaintext: bytes, aad: bytes) -> bytes:
        """`plaintext` under the key, bound to `aad`, led by `header(self.id)`."""
        ...

    async def unwrap(self, wrapped: bytes, aad: bytes) -> bytes:
        """What `wrap` was given with the same `aad`."""
        ...


async def wrap(root: RootKey, plaintext: bytes, aad: bytes, *, deadline_ms: int = DEADLINE_MS) -> bytes:
    """`plaintext` under the root key within the deadline.

    Raises:
        RootKeyUnreachable: refused, or no answer in time.
    """
    try:
        async with asyncio.timeout(deadline_ms / 1000):
            return await root.wrap(plaintext, aad)
    except TimeoutError:
        raise _too_slow(root, deadline_ms) from None


async def unwrap(root: RootKey, wrapped: bytes, aad: bytes, *, deadline_ms: int = DEADLINE_MS) -> bytes:
    """What was wrapped under the root key with the same `aad`, within the deadline.

    Raises:
        WrongRootKey: another root key wrapped it; the message names both.
        Damaged: it was changed, or `aad` differs.
        RootKeyUnreachable: refused, or no answer in time.
    """
    try:
        async with asyncio.timeout(deadline_ms / 1000):
            return await root.unwrap(wrapped, aad)
    except TimeoutError:
        raise _too_slow(root, deadline_ms) from None


def header(root_id: str) -> bytes:
    """What leads a wrapped value."""
    encoded = root_id.encode()
    if not 0 < len(encoded) <= _ID_MAX_BYTES:
        raise Misuse(f"The id of a root key is 1 to {_ID_MAX_BYTES} bytes.")
    return bytes([_FORMAT, len(encoded)]) + encoded


def body_of(wrapped: bytes, root_id: str) -> bytes:
    """The part of a wrapped value after its header.

    Raises:
        WrongRootKey: another root key wrapped it; the message names both.
        Damaged: it is nothing that a root key wrapped.
    """
    if len(wrapped) < 2 or wrapped[0] != _FORMAT or len(wrapped) < 2 + wrapped[1]:
        raise Damaged("This is no wrapped value of a known format.")
    named = wrapped[2 : 2 + wrapped[1]]
    if named != root_id.encode():
        other = named.decode(errors="replace")
        raise WrongRootKey(
            f"The value was wrapped under root key {other!r}, the configured one is {root_id!r}.",
            hint="Configure the root key that this deployment was set up with.",
        )
    return wrapped[2 + wrapped[1] :]


class LocalRootKey:
    """A root key in this process's memory, AES-256-GCM. Its `repr` is a mask; the 32 bytes never leave."""

    __slots__ = ("_value", "id")

    def __init__(self, value: bytes) -> None:
        if len(value) != aead.KEY_BYTES:
            raise Unsafe(f"A root key is {aead.KEY_BYTES} bytes, not {len(value)}.")
        self._value = value
        self.id = "local:" + _fingerprint(value)

    async def wrap(self, plaintext: bytes, aad: bytes) -> bytes:
        lead = header(self.id)
        return lead + aead.encrypt(self._value, plaintext, lead + aad)

    async def unwrap(self, wrapped: bytes, aad: bytes) -> bytes:
        body = body_of(wrapped, self.id)
        return aead.decrypt(self._value, body, header(self.id) + aad)

    def __repr__(self) -> str:
        return f"LocalRootKey({self.id!r})"


def local_root_key(file: Path | None, environ: Mapping[str, str]) -> LocalRootKey:
    """The root key from the one configured source: a file, or `TENANTRY_ROOT_KEY` in `environ`.

    The file must be a regular file of ours with mode 0600 or 0400. Either source holds 32 bytes as unpadded base64url,
    43 characters.

    Raises:
        Unsafe: no source, two sources, a file that others may read, or a text that is no key.
    """
    text = environ.get(ENVIRONMENT)
    if file is not None and text is not None:
        raise Unsafe(
            f"The root key is configured twice: by the file {file} and by {ENVIRONMENT}.",
            hint="Keep exactly one of them.",
        )
    if file is not None:
        return LocalRootKey(_decode(read_private(file, "root key"), str(file)))
    if text is not None:
        return LocalRootKey(_decode(text, ENVIRONMENT))
    raise Unsafe(
        "No root key is configured, and nothing is ever stored without one.",
        hint=f"Name a root key file (`tenantry init` makes one) or set {ENVIRONMENT}.",
    )


def read_private(path: Path, what: str) -> str:
    """The text of a file that holds a secret (`what`, for the refusals): a short regular file of ours with mode 0600 or 0400.

    Raises:
        Unsafe: it cannot be opened, is another kind of file, is another user's, or may be used by others.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not make the start hang
    except OSError as error:
        raise Unsafe(f"The {what} file {path} cannot be opened: {error.strerror}.") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())  # of what was opened, so that nothing is swapped in between
        if not stat.S_ISREG(status.st_mode):
            raise Unsafe(f"The {what} file {path} is not a regular file.")
        if status.st_uid != os.geteuid():
            raise Unsafe(
                f"The {what} file {path} belongs to another user.", hint="Make it belong to the server's user."
            )
        if stat.S_IMODE(status.st_mode) not in (0o600, 0o400):
            raise Unsafe(f"The {what} file {path} may be used by others.", hint=f"Run: chmod 600 {path}")
        content = file.read(_FILE_MAX_BYTES + 1)
    return content.decode("ascii", errors="replace")


def generate(path: Path) -> LocalRootKey:
    """Make a new root key file with mode 0600; after a crash it is there whole or not at all.

    Raises:
        Unsafe: there is a file already. A root key is never overwritten: what it wrapped would be lost.
    """
    value = os.urandom(aead.KEY_BYTES)
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.urlsafe_b64encode(value).rstrip(b"=") + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)  # unlike a rename, it refuses to replace
    except FileExistsError:
        raise Unsafe(
            f"There is a file at {path} already; a root key is never overwritten.", hint="Choose another path."
        ) from None
    finally:
        part.unlink()
        _sync_folder(path.parent)
    return LocalRootKey(value)


def _decode(text: str, source: str) -> bytes:
    text = text.strip()
    try:
        value = base64.b64decode(text + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        value = b""
    # One spelling only: a last character with stray bits would be a second text for the same key.
    if len(value) != aead.KEY_BYTES or base64.urlsafe_b64encode(value).rstrip(b"=").decode() != text:
        raise Unsafe(
            f"{source} does not hold a root key: {aead.KEY_BYTES} bytes as unpadded base64url, 43 characters.",
            hint="Make one with `tenantry init`, or restore the one this deployment was set up with.",
        )
    return value


def _fingerprint(value: bytes) -> str:
    """64 bits that name a key: derived one way (RFC 5869), of 256 random bits, so they help nobody to find it."""
    return HKDF(algorithm=SHA256(), length=8, salt=None, info=b"tenantry root key id").derive(value).hex()


def _too_slow(root: RootKey, deadline_ms: int) -> RootKeyUnreachable:
    return RootKeyUnreachable(
        f"The keeper of root key {root.id!r} did not answer within {deadline_ms} ms.",
        hint="Check that what keeps the root key (an HSM, say) can be reached.",
    )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
