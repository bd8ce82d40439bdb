"""The bytes a log commits to, and personal data beside them."""

import hashlib

import pytest

from tenantry.core.errors import TooLarge
from tenantry.core.leaf import leaf, personal_digest, seal
from tenantry.core.limits import EVENT_MAX_BYTES, LEAF_MAX_BYTES


def test_a_leaf_is_the_revision_in_eight_bytes_and_the_body() -> None:
    assert leaf(0, b"{}") == bytes(8) + b"{}"
    assert leaf(258, b"{}") == b"\0\0\0\0\0\0\x01\x02{}"


def test_a_leaf_fits_a_tile_or_is_refused() -> None:
    assert len(leaf(1, b"x" * EVENT_MAX_BYTES)) == LEAF_MAX_BYTES
    with pytest.raises(TooLarge):
        leaf(1, b"x" * (EVENT_MAX_BYTES + 1))


def test_the_same_personal_data_has_another_digest_each_time() -> None:
    one, other = seal({"email": "a@acme.example"}), seal({"email": "a@acme.example"})
    assert one.data == other.data == b'{"email":"a@acme.example"}'
    assert one.digest == personal_digest(one.salt, one.data) == hashlib.sha256(one.salt + one.data).hexdigest()
    assert one.digest != other.digest
