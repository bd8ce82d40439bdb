"""How a program proves itself to the server: a token that it was given, or its own key or secret, for which it asks for tokens."""

import asyncio
import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tenantry_sdk.errors import Refused
from tenantry_sdk.jose import encode
from tenantry_sdk.server import Server

RENEW_S = 30.0
"""How long before its end a token is asked for anew."""

ASSERTION_LIVES_S = 60
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Token:
    """An access token that somebody else keeps fresh."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def headers(self, server: Server) -> Mapping[str, str]:
        """See `Credential`."""
        del server
        return {"Authorization": f"Bearer {self._token}"}

    def __repr__(self) -> str:
        return "Token('…')"


class _Client(ABC):
    """Asks for tokens by client credentials (RFC 6749, 4.4), one at a time, for the server itself or for `resource`."""

    def __init__(self, client_id: str, *, resource: str = "", scope: str = "") -> None:
        self.client_id = client_id
        self._resource = resource
        self._scope = scope
        self._token = ""
        self._renew_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    async def headers(self, server: Server) -> Mapping[str, str]:
        """See `Credential`. All who need a token wait for one request, which goes on although one of them gives up."""
        if server.clock.boottime() >= self._renew_at:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask(server))
            await asyncio.shield(self._asking)
        return {"Authorization": f"Bearer {self._token}"}

    async def _ask(self, server: Server) -> None:
        now = server.clock.boottime()
        fields = {"grant_type": "client_credentials", "resource": self._resource or server.issuer}
        if self._scope:
            fields["scope"] = self._scope
        endpoint = await server.endpoint("token_endpoint")
        answer = await server.form(endpoint, fields | self._proof(server), {"Accept": "application/json"})
        match answer:
            case {"access_token": str(token), "token_type": str(kind), "expires_in": int(lives_s)}:
                pass
            case _:
                raise Refused("The answer of the token endpoint holds no token.", 200)
        if kind.lower() != "bearer":
            raise Refused(f"The token endpoint gave a token of type {kind}.", 200)
        self._token, self._renew_at = token, now + max(lives_s - RENEW_S, lives_s / 2)

    @abstractmethod
    def _proof(self, server: Server) -> dict[str, str]:
        """What proves the client in a request for a token."""


class ClientKey(_Client):
    """A client that proves itself by its own key on P-256 (`private_key_jwt`, RFC 7523, 2.2)."""

    def __init__(
        self, client_id: str, private_key_pem: bytes, kid: str, *, resource: str = "", scope: str = ""
    ) -> None:
        super().__init__(client_id, resource=resource, scope=scope)
        key = load_pem_private_key(private_key_pem, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
            raise ValueError("A client's key is on P-256.")
        self._key = key
        self._kid = kid

    def _proof(self, server: Server) -> dict[str, str]:
        now = int(server.clock.now())
        header = {"alg": "ES256", "kid": self._kid, "typ": "client-authentication+jwt"}
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": server.issuer,
            "iat": now,
            "exp": now + ASSERTION_LIVES_S,
            "jti": secrets.token_urlsafe(16),
        }
        signed = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        assertion = f"{signed}.{encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
        return {"client_id": self.client_id, "client_assertion_type": _ASSERTION, "client_assertion": assertion}

    def __repr__(self) -> str:
        return f"ClientKey({self.client_id!r}, '…')"


class ClientSecret(_Client):
    """A client that proves itself by a secret: the last resort, where no key can be kept."""

    def __init__(self, client_id: str, secret: str, *, resource: str = "", scope: str = "") -> None:
        super().__init__(client_id, resource=resource, scope=scope)
        self._secret = secret

    def _proof(self, server: Server) -> dict[str, str]:
        del server
        return {"client_id": self.client_id, "client_secret": self._secret}

    def __repr__(self) -> str:
        return f"ClientSecret({self.client_id!r}, '…')"
