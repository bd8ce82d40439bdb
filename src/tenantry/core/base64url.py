"""Unpadded base64url in its one spelling (RFC 7515, 2), so that two texts never name one value."""

import base64
import binascii
import re

from tenantry.core.errors import Invalid

_TEXT = re.compile(r"[A-Za-z0-9_-]*")


class NotBase64url(Invalid):
    """A text that is no unpadded base64url, or not in its one spelling."""

    code = "not_base64url"


def encode(value: bytes) -> str:
    """The text of some bytes."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The bytes of a text.

    Raises:
        NotBase64url: it holds another character, padding, or bits that no bytes have.
    """
    if not _TEXT.fullmatch(text):
        raise NotBase64url("This is no unpadded base64url.")
    try:
        value = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise NotBase64url("This is no unpadded base64url.") from None
    if encode(value) != text:
        raise NotBase64url("Base64url has one spelling.")
    return value
