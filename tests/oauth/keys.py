"""Clients' own keys and what they sign with them: by joserfc, which shares no code with the server."""

import base64
import hashlib
import secrets
from typing import Any

import msgspec
from joserfc import jwk, jws

ISSUER = "https://id.example.com"
TOKEN_URL = f"{ISSUER}/oauth/token"
KINDS = ("ES256", "Ed25519", "RS256")


class KeyPair(msgspec.Struct, frozen=True, eq=False):
    """A key pair of one kind."""

    key: jwk.ECKey | jwk.OKPKey | jwk.RSAKey
    algorithm: str

    @classmethod
    def generate(cls, kind: str = "ES256") -> "KeyPair":
        """A fresh pair."""
        if kind == "ES256":
            return cls(jwk.ECKey.generate_key("P-256"), "ES256")
        if kind == "Ed25519":
            return cls(jwk.OKPKey.generate_key("Ed25519"), "Ed25519")
        return cls(jwk.RSAKey.generate_key(2048), "RS256")

    @property
    def public(self) -> dict[str, Any]:
        """The public half as a JWK."""
        return dict(self.key.as_dict(private=False))

    @property
    def thumbprint(self) -> str:
        """RFC 7638."""
        return self.key.thumbprint()

    def sign(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        """A JWT of this header and these claims without those that are `None`, and with the key's algorithm where none is given."""
        registry = jws.JWSRegistry(algorithms=["ES256", "Ed25519", "RS256"], strict_check_header=False)
        full = _given({"alg": self.algorithm, **header})
        return jws.serialize_compact(full, msgspec.json.encode(_given(claims)), self.key, registry=registry)

    def proof(self, now_ms: int, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A DPoP proof for the token endpoint, with changes."""
        full = {"jti": secrets.token_urlsafe(16), "htm": "POST", "htu": TOKEN_URL, "iat": now_ms // 1000, **claims}
        return self.sign({"typ": "dpop+jwt", "jwk": self.public, **(header or {})}, full)

    def assertion(
        self, client_id: str, kid: str, now_ms: int, *, header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        """An assertion for the issuer, with changes."""
        now_s = now_ms // 1000
        full = {
            "iss": client_id,
            "sub": client_id,
            "aud": ISSUER,
            "iat": now_s,
            "exp": now_s + 60,
            "jti": secrets.token_urlsafe(16),
            **claims,
        }
        return self.sign({"typ": "client-authentication+jwt", "kid": kid, **(header or {})}, full)


def _given(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def parts_signed_by(pair: KeyPair, header: bytes, claims: bytes) -> str:
    """A JWT of these very bytes, with the pair's true signature over them: for headers and claims that no library writes."""
    signed = f"{encoded(header)}.{encoded(claims)}"
    signature = jws.JWSRegistry(algorithms=[pair.algorithm]).get_alg(pair.algorithm).sign(signed.encode(), pair.key)
    return f"{signed}.{encoded(signature)}"


def encoded(value: bytes) -> str:
    """Unpadded base64url."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def ath(token: str) -> str:
    """The hash of a token (RFC 9449, 4.2)."""
    return encoded(hashlib.sha256(token.encode()).digest())
