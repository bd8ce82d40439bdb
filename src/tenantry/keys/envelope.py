"""Envelopes: a secret at rest, sealed under its tenant's data key and bound to the place where it lies.

The chain is root key → data key (one per organization and version) → value. Destroying an organization's data keys
shreds everything it sealed. A value copied to another row, column, table or organization does not open there.

Sealed: `format (1 byte, 0x01) ‖ key version (4 bytes) ‖ nonce ‖ ciphertext ‖ tag`.
"""

import os

import msgspec

from tenantry.core.errors import Misuse
from tenantry.keys import aead
from tenantry.keys.aead import Damaged
from tenantry.keys.root import RootKey, unwrap, wrap

_FORMAT = 1
_HEADER_BYTES = 5
_VERSION_MAX = 2**32 - 1


class Aad(msgspec.Struct, frozen=True):
    """Where a sealed value lies and what it is for; whoever opens it says the same again, or it does not open."""

    purpose: str
    key_version: int
    org: str
    table: str
    column: str
    row: str
    terms: tuple[str, ...] = ()
    """What else stands in the row and must not change under the value."""

    def encoded(self) -> bytes:
        """Unambiguous: each part is led by its length, so no two places have one encoding."""
        place = (self.purpose, str(self.key_version), self.org, self.table, self.column, self.row)
        return aead.bind("tenantry envelope", *place, *self.terms)


class DataKey:
    """One organization's key of one version. Its `repr` is a mask and its 32 bytes leave by `reveal` alone."""

    __slots__ = ("_value", "org", "version")

    def __init__(self, org: str, version: int, value: bytes) -> None:
        if len(value) != aead.KEY_BYTES or not 1 <= version <= _VERSION_MAX:
            raise Misuse(f"A data key is {aead.KEY_BYTES} bytes with a version from 1 to {_VERSION_MAX}.")
        self.org = org
        self.version = version
        self._value = value

    @classmethod
    def generate(cls, org: str, version: int) -> "DataKey":
        """A fresh random key. Store it only as `wrap_data_key` gives it."""
        return cls(org, version, os.urandom(aead.KEY_BYTES))

    def reveal(self) -> bytes:
        """The key itself, for the cipher and the root key."""
        return self._value

    def __repr__(self) -> str:
        return f"DataKey({self.org!r}, {self.version}, '…')"


def seal(data_key: DataKey, plaintext: bytes, aad: Aad) -> bytes:
    """`plaintext` under `data_key`, to be opened only in the place that `aad` names.

    Raises:
        Misuse: `aad` names another organization or version than the key's.
    """
    _same_key(data_key, aad)
    header = _header(data_key.version)
    return header + aead.encrypt(data_key.reveal(), plaintext, header + aad.encoded())


def open_(data_key: DataKey, sealed: bytes, aad: Aad) -> bytes:
    """The plaintext that was sealed for exactly this `aad`; `version_of` says beforehand which data key to bring.

    Raises:
        Damaged: it was changed or cut, lies in another place, or was sealed under another key or version.
        Misuse: `aad` names another organization or version than the key's.
    """
    _same_key(data_key, aad)
    version = version_of(sealed)
    if version != data_key.version:
        raise Damaged(f"The value was sealed under version {version} of the data key, not {data_key.version}.")
    header = sealed[:_HEADER_BYTES]
    return aead.decrypt(data_key.reveal(), sealed[_HEADER_BYTES:], header + aad.encoded())


def version_of(sealed: bytes) -> int:
    """The version of the data key that the header names; a claim until `open_` has verified it.

    Raises:
        Damaged: it is no envelope of ours.
    """
    if len(sealed) < _HEADER_BYTES + aead.OVERHEAD_BYTES or sealed[0] != _FORMAT:
        raise Damaged("This is no sealed value of a known format.")
    return int.from_bytes(sealed[1:_HEADER_BYTES], "big")


async def wrap_data_key(root: RootKey, data_key: DataKey) -> bytes:
    """The data key under the root key, bound to its organization and version, as it is stored.

    Raises:
        Upstream: the root key's keeper refused or did not answer in time.
    """
    return await wrap(root, data_key.reveal(), _data_key_place(data_key.org, data_key.version))


async def unwrap_data_key(root: RootKey, wrapped: bytes, org: str, version: int) -> DataKey:
    """The data key that was wrapped for this organization and version.

    Raises:
        WrongRootKey: it was wrapped under another root key, which is named.
        Damaged: it was changed, or belongs to another organization or version.
        Upstream: the root key's keeper refused or did not answer in time.
    """
    value = await unwrap(root, wrapped, _data_key_place(org, version))
    if len(value) != aead.KEY_BYTES:
        raise Damaged("What was wrapped is no data key.")
    return DataKey(org, version, value)


def _data_key_place(org: str, version: int) -> bytes:
    return aead.bind("tenantry data key", org, str(version))


def _same_key(data_key: DataKey, aad: Aad) -> None:
    if (aad.org, aad.key_version) != (data_key.org, data_key.version):
        raise Misuse("The data key is not the one that the place of the value names.")


def _header(version: int) -> bytes:
    return bytes([_FORMAT]) + version.to_bytes(4, "big")
