"""Verifying access tokens. What a token says is kept, whether it holds is not: expiry, audience, the sender's key, cuts and the lease are
looked at on every use.

    verifier = Verifier("https://id.example.com", audience="https://api.example.com/", credential=ClientKey(...))
    async with verifier:
        caller = await verifier.verify_request("GET", url, headers)
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import httpx2

from tenantry_sdk.clock import Clock, SystemClock
from tenantry_sdk.dpop import Proofs
from tenantry_sdk.errors import (
    BadToken,
    Ended,
    Expired,
    MissingScope,
    Stale,
    Unauthenticated,
    WrongAudience,
    WrongSender,
)
from tenantry_sdk.feed import Feed
from tenantry_sdk.jose import Compact, NotJose, read, read_object
from tenantry_sdk.lineage import Lineage, read_lineage
from tenantry_sdk.server import Credential, Server

TOKEN_MAX_BYTES = 2_048
KEPT_MAX = 8_192
"""Tokens whose claims are kept; the longest unused go first."""

SKEW_S = 5
"""How far the clocks of issuer and verifier may differ in a token's time of issue. Its end is the end."""

ACTORS_MAX = 5
_TYPES = ("at+jwt", "application/at+jwt")
_BOUND = ("agent", "mcp_server", "job")
_SUBJECTS = {"user": "user", "agent": "agent", "service": "service", "mcp": "mcp_server", "job": "job"}


@dataclass(frozen=True, slots=True)
class Verified:
    """Who calls, as its access token says. It holds for this request; verify again at the next."""

    subject: str
    """Whose access it is: the user where an agent acts for one."""

    chain: tuple[str, ...]
    """Who acts, then those it acts for; the subject last."""

    organization: str
    identity: str
    """The class of who acts: `user`, `agent`, `service`, `mcp_server`, `job`, or `entry` for an operator inside the organization."""

    client_id: str
    audience: str
    scopes: frozenset[str]
    issued_at: int
    expires_at: int
    """Both in seconds since 1970."""

    thumbprint: str | None
    """The key that it is bound to."""

    claims: Mapping[str, Any]
    lineage: Lineage

    @property
    def actor(self) -> str:
        """Who acts."""
        return self.chain[0]

    def require(self, *scopes: str) -> None:
        """Refuse unless the token carries each of these scopes, spelled exactly so.

        Raises:
            MissingScope: one is missing.
        """
        for scope in scopes:
            if scope not in self.scopes:
                raise MissingScope(scope)


class Verifier:
    """Verifies the access tokens of one issuer for one resource. Open it with `async with`: it then follows what is cut.

    `audience` is the resource's own indicator. `credential` proves this program to the server, which tells the feed to those who may follow
    it. `introspect`: ask the server (RFC 7662) for as long as the feed cannot answer, instead of refusing.
    """

    def __init__(
        self,
        issuer: str,
        *,
        audience: str,
        credential: Credential | None = None,
        introspect: bool = False,
        clock: Clock | None = None,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        if not issuer or not audience:
            raise ValueError("A verifier needs an issuer and an audience.")
        self._clock = clock or SystemClock()
        self.server = Server(issuer, self._clock, credential=credential, http=http)
        self.feed = Feed(self.server)
        self._audience = audience
        self._introspect = introspect
        self._proofs = Proofs(self._clock)
        self._kept: OrderedDict[str, Verified] = OrderedDict()

    async def __aenter__(self) -> Self:
        self.feed.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.feed.close()
        await self.server.close()

    async def verify_request(self, method: str, url: str, headers: Mapping[str, str]) -> Verified:
        """Who sends a request. `headers` has lower-case names; `url` is the address as the client sees it.

        Raises:
            Unauthenticated: it carries no access token.
            BadToken: it cannot be used here by this sender.
            Stale, Unreachable: it cannot be known now.
        """
        scheme, _, token = headers.get("authorization", "").partition(" ")
        proof = headers.get("dpop")
        if not token or scheme.lower() not in ("bearer", "dpop"):
            raise Unauthenticated
        if scheme.lower() == "bearer":
            return await self.verify(token)
        if proof is None:
            raise WrongSender
        return await self.verify(token, thumbprint=self._proofs.verify(proof, method, url, token))

    async def verify(self, token: str, *, thumbprint: str | None = None) -> Verified:
        """What a token says, if its sender, who has proved the key of this thumbprint, may use it here and now.

        Raises:
            BadToken: it cannot be used (`Expired`, `WrongAudience`, `WrongSender`, `Ended` and `WrongOrganization` say more).
            Stale, Unreachable: it cannot be known now.
        """
        verified = self._kept.get(token)
        if verified is None:
            verified = self._kept[token] = await self._read(token)
            while len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(token)
        if verified.audience != self._audience:
            raise WrongAudience
        now = self._clock.now()
        if now >= verified.expires_at:
            raise Expired
        if verified.issued_at > now + SKEW_S:
            raise BadToken("The access token is of a time that has not come yet.")
        if verified.thumbprint != thumbprint:
            raise WrongSender
        try:
            self.feed.check(verified.organization, verified.lineage)
        except Stale:
            if not self._introspect:
                raise
            if not await self._is_active(token):
                raise Ended from None
        return verified

    async def _is_active(self, token: str) -> bool:
        """Whether the server says so, for this once."""
        endpoint = await self.server.endpoint("introspection_endpoint")
        answer = await self.server.form(endpoint, {"token": token}, await self.server.own_headers())
        return answer.get("active") is True and answer.get("iss", self.server.issuer) == self.server.issuer

    async def _read(self, token: str) -> Verified:
        """The claims of a token whose signature holds."""
        try:
            compact = read(token, TOKEN_MAX_BYTES)
            await self._check_signature(compact)
            claims = read_object(compact.payload)
            if claims.get("iss") != self.server.issuer:
                raise BadToken("The access token is of another issuer.")
            return _verified(claims)
        except NotJose as error:
            raise BadToken("This is no access token.") from error

    async def _check_signature(self, compact: Compact) -> None:
        match compact.header:
            case {"typ": str(kind), "alg": "ES256", "kid": str(kid), **others} if kind in _TYPES and not others:
                key = await self.server.key(kid)
            case _:
                raise BadToken("This is no access token.")
        if key is None or key.algorithm != "ES256":
            raise BadToken("No key of the issuer signed this access token.")
        key.verify(compact.signed, compact.signature)


def _verified(claims: Mapping[str, Any]) -> Verified:
    """What signed claims say.

    Raises:
        NotJose: they are not those of an access token.
    """
    match claims:
        case {
            "aud": str(audience),
            "exp": int(expires_at),
            "iat": int(issued_at),
            "jti": str(),
            "client_id": str(client_id),
            "sub": str(subject),
            "org_id": str(organization),
            "tny": dict(tny),
        }:
            chain = (*_actors(claims.get("act")), subject)
            lineage = read_lineage(organization, tny)
        case _:
            raise NotJose("no claims of an access token")
    entered = any(branch.startswith("entry_") for branch in lineage.path)
    identity = "entry" if entered else _SUBJECTS.get(chain[0].partition("_")[0], "")
    scope = claims.get("scope", "")
    thumbprint = _bound(claims.get("cnf"))
    if not identity or not isinstance(scope, str):
        raise NotJose("no claims of an access token")
    if identity in _BOUND and thumbprint is None:
        raise NotJose("a token that must be bound")
    return Verified(
        subject=subject,
        chain=chain,
        organization=organization,
        identity=identity,
        client_id=client_id,
        audience=audience,
        scopes=frozenset(scope.split()),
        issued_at=issued_at,
        expires_at=expires_at,
        thumbprint=thumbprint,
        claims=claims,
        lineage=lineage,
    )


def _bound(confirmation: object) -> str | None:
    """The thumbprint of the key that a token is bound to (RFC 9449, 6.1). One that is bound to a certificate cannot be used here."""
    match confirmation:
        case None:
            return None
        case {"jkt": str(thumbprint), **others} if not others:
            return thumbprint
        case _:
            raise NotJose("a token that is bound in another way")


def _actors(act: object, most: int = ACTORS_MAX) -> tuple[str, ...]:
    """Who acts, outermost first (RFC 8693, 4.1)."""
    match act:
        case None:
            return ()
        case {"sub": str(actor), **more}:
            chain = (actor, *_actors(more.get("act"), most - 1)) if most else ()
        case _:
            chain = ()
    if not chain:
        raise NotJose("no chain of actors")
    return chain
