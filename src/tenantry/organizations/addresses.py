"""Addresses that somebody registers: redirect URIs, resource indicators, client-id metadata documents.

They are checked as text; nothing is fetched.
"""

import re
from urllib.parse import SplitResult, urlsplit

from tenantry.core.errors import Invalid

ADDRESS_MAX_CHARACTERS = 2_048
_PRINTABLE = re.compile(r"[!-~]+\Z")
_LOOPBACK = ("127.0.0.1", "::1")
_PRIVATE_SCHEME = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+\Z")


def redirect_uri(text: str) -> str:
    """An address that an authorization may lead back to; compared by its exact text (RFC 9700, 4.1.3).

    `https`; `http` to a loopback address alone (RFC 8252, 7.3 and 8.3: not `localhost`); or a private scheme in reverse domain order (7.1).

    Raises:
        Invalid: it is none of these, or has a fragment (RFC 6749, 3.1.2) or user information.
    """
    parts = _absolute(text, "redirect URI")
    if parts.scheme == "https" and parts.hostname:
        return text
    if parts.scheme == "http" and parts.hostname in _LOOPBACK:
        return text
    if _PRIVATE_SCHEME.match(parts.scheme) and not parts.netloc:
        return text
    raise Invalid(
        "A redirect URI is https, http to 127.0.0.1 or [::1], or a private scheme such as com.example.app:/x."
    )


def indicator(text: str) -> str:
    """A resource indicator (RFC 8707, 2): an absolute URI without a fragment, here `https`, or `http` to a loopback address.

    Raises:
        Invalid: it is none.
    """
    parts = _absolute(text, "resource indicator")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)):
        raise Invalid("A resource indicator is an https address.")
    return text


def client_metadata_url(text: str) -> str:
    """The client id of a client that is known by its metadata document: an `https` URL with a path and without dot segments, fragment or
    user information (draft-ietf-oauth-client-id-metadata-document, 3).

    Raises:
        Invalid: it is none.
    """
    parts = _absolute(text, "client id")
    dotted = any(segment in (".", "..") for segment in parts.path.split("/"))
    if parts.scheme != "https" or not parts.hostname or parts.path in ("", "/") or dotted:
        raise Invalid("The client id of a visiting agent is the https address of its metadata document.")
    return text


def _absolute(text: str, what: str) -> SplitResult:
    if not _PRINTABLE.match(text) or len(text) > ADDRESS_MAX_CHARACTERS or "\\" in text:
        raise Invalid(f"A {what} has at most {ADDRESS_MAX_CHARACTERS} printable ASCII characters.")
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise Invalid(f"This is no {what}.") from error
    if not parts.scheme or "#" in text or parts.username is not None or parts.password is not None:
        raise Invalid(f"A {what} is absolute, without a fragment and without a user's name.")
    return parts
