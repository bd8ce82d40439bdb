"""DPoP proofs (RFC 9449): that the sender of a request holds the key that its access token is bound to."""

import hashlib
from collections import OrderedDict
from urllib.parse import urlsplit

from tenantry_sdk.clock import Clock
from tenantry_sdk.errors import BadProof
from tenantry_sdk.jose import Compact, NotJose, encode, key_of, read, read_object

PROOF_MAX_BYTES = 4_096
PROOF_LIVES_S = 60
"""How far from now a proof may have been made, either way."""

SEEN_MAX = 100_000
"""Proofs remembered. With more within their life the oldest could come again, so that new ones are refused instead."""

_JTI_MAX = 256


class Proofs:
    """Verifies proofs, each once. What was seen is remembered in this process alone: another process does not know of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def verify(self, proof: str, method: str, url: str, token: str) -> str:
        """The thumbprint of the key that made this proof for this request and token (RFC 9449, 4.3).

        `url` is the address as the client sees it: scheme, host and path; query and fragment do not count.

        Raises:
            BadProof: it does not hold, or came before.
        """
        try:
            thumbprint, claims = _read(read(proof, PROOF_MAX_BYTES))
        except NotJose as error:
            raise BadProof from error
        match claims:
            case {"jti": str(jti), "htm": str(htm), "htu": str(htu), "iat": int() | float() as made, "ath": str(ath)}:
                pass
            case _:
                raise BadProof
        now = self._clock.now()
        fits = (
            htm == method
            and _target(htu) == _target(url)
            and abs(now - made) <= PROOF_LIVES_S
            and ath == encode(hashlib.sha256(token.encode()).digest())
            and 0 < len(jti) <= _JTI_MAX
        )
        if not fits:
            raise BadProof
        self._once(hashlib.sha256(f"{thumbprint}.{jti}".encode()).digest(), now)
        return thumbprint

    def _once(self, name: bytes, now: float) -> None:
        while self._seen and next(iter(self._seen.values())) < now:
            self._seen.popitem(last=False)
        if name in self._seen or len(self._seen) >= SEEN_MAX:
            raise BadProof
        self._seen[name] = now + 2 * PROOF_LIVES_S


def _read(compact: Compact) -> tuple[str, dict[str, object]]:
    """The key's thumbprint and the claims of a proof whose signature holds."""
    match compact.header:
        case {"typ": "dpop+jwt", "alg": str(algorithm), "jwk": dict(jwk), **others} if not others:
            key = key_of(jwk)
        case _:
            raise NotJose("no proof")
    if key.algorithm != algorithm:
        raise NotJose("a key for another algorithm")
    key.verify(compact.signed, compact.signature)
    return key.thumbprint, read_object(compact.payload)


def _target(url: str) -> tuple[str, str, int | None, str]:
    """What counts of an address: RFC 3986, 6.2.2 and 6.2.3, for scheme, host, port and an empty path.

    Raises:
        BadProof: it is none.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        raise BadProof from None
    return parts.scheme.lower(), (parts.hostname or "").lower(), port, parts.path or "/"
