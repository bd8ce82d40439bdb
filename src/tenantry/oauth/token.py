"""The token endpoint (RFC 6749, 3.2): one order of checks for every grant.

| step | refusal |
|---|---|
| the grant is named and served | `invalid_request`, `unsupported_grant_type` |
| one method of authentication, well formed | `invalid_request`, `invalid_client` |
| the DPoP proof, if there is one, is for this request, with a nonce of ours | `invalid_dpop_proof`, `use_dpop_nonce` |
| not too many failed before from here; the client proves itself; its assertion is new | 429, `invalid_client` |
| the grant gives this client this | the grant's own |
| the class of the client needs no key, or a key was proved | `invalid_dpop_proof` |
| nothing was cut meanwhile; the proof is new; the token is recorded | `invalid_client`, `invalid_dpop_proof` |

Up to the fourth nobody learns anything about a client. A token is handed out only after it stands in the log.
"""

import msgspec

from tenantry.core import scopes
from tenantry.core.clock import Clock
from tenantry.core.errors import Ended, Invalid
from tenantry.journal import Event, Journal, Origin, Target
from tenantry.oauth.clients import Client, Clients
from tenantry.oauth.dpop import InvalidProof, Proof, UseNonce, prove
from tenantry.oauth.grant import Asking, Grant, TokenForm, UnsupportedGrant
from tenantry.oauth.metadata import TOKEN_PATH
from tenantry.oauth.nonces import Nonces
from tenantry.oauth.once import once
from tenantry.oauth.presented import ByAssertion, BySecret, InvalidClient, presented
from tenantry.protection.rates import Rates
from tenantry.protection.sources import source
from tenantry.sessions.claims import RULES, UNBOUND, Confirmation, Minted
from tenantry.sessions.tokens import AccessTokens
from tenantry.web import Call, Rate

NONCE_HEADER = "DPoP-Nonce"

FAILURES = Rate(burst=20, every_ms=3_000)
"""Failed proofs of one client from one network. From elsewhere the client goes on: nobody locks another out."""

FAILURES_FROM = Rate(burst=200, every_ms=100)
"""Failed proofs from one network, whatever clients they name: each costs reads and perhaps a signature."""


class TokenIssued(Event, tag="token.issued", frozen=True):
    """An access token was issued to a client that had proved itself."""

    subject: Target
    token: str
    client: str
    method: str
    key: str
    grant: str
    resource: str
    scope: str
    bound: bool
    expires_at_ms: int


class TokenAnswer(msgspec.Struct, frozen=True):
    """RFC 6749, 5.1; RFC 9449, 5."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str


class TokenEndpoint:
    """Answers requests for tokens on one node."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        tokens: AccessTokens,
        clients: Clients,
        nonces: Nonces,
        issuer: str,
        grants: tuple[Grant, ...],
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._tokens = tokens
        self._clients = clients
        self._nonces = nonces
        self._url = f"{issuer}{TOKEN_PATH}"
        self._failed = Rates(clock)
        self.grants = {grant.name: grant for grant in grants}

    async def answer(self, call: Call, form: TokenForm) -> TokenAnswer:
        """A token, or a refusal of the step that failed."""
        if not form.grant_type:
            raise Invalid("grant_type is missing.")
        grant = self.grants.get(form.grant_type)
        if grant is None:
            raise UnsupportedGrant
        given = presented(call.headers.get("authorization"), form)
        proof = await self._proof(call)
        client = await self._authenticated(given, call.origin)
        own = self._journal.reads(scopes.of_principal(client.principal))
        platform = self._journal.reads(scopes.of_platform())
        ask = await grant.decide(Asking(client, form, proof, own, platform))
        if proof is None and RULES[client.identity].bound:
            raise InvalidProof("A token of this class of client is bound to a key: send a DPoP proof.")
        confirmation = UNBOUND if proof is None else Confirmation(jkt=proof.jkt)
        try:
            minted = await self._tokens.mint(msgspec.structs.replace(ask, confirmation=confirmation), client.at)
            await self._record(call.origin, grant, client, proof, minted)
        except Ended as error:  # meanwhile
            raise InvalidClient from error
        return TokenAnswer(
            minted.token, "Bearer" if proof is None else "DPoP", minted.expires_in_s, minted.verified.claims.scope
        )

    async def _authenticated(self, given: BySecret | ByAssertion, origin: Origin) -> Client:
        """The client, unless too many have failed before it."""
        network = source(origin.network).narrow
        limits = (((network, given.client_id), FAILURES), (network, FAILURES_FROM))
        self._failed.check(*limits)
        try:
            return await self._clients.authenticate(given)
        except InvalidClient:
            self._failed.take(*limits)
            raise

    async def _proof(self, call: Call) -> Proof | None:
        """What the DPoP header proves, if there is one; the answer then brings the next nonce, whatever it is."""
        header = call.headers.get("dpop")
        if header is None:
            return None
        nonces = await self._nonces.near()
        call.answer_headers[NONCE_HEADER] = nonces.now
        proof = prove(header, method="POST", url=self._url, now_ms=self._clock.now_ms())
        if not nonces.takes(proof.nonce):
            raise UseNonce
        return proof

    async def _record(self, origin: Origin, grant: Grant, client: Client, proof: Proof | None, minted: Minted) -> None:
        claims, actor = minted.verified.claims, minted.verified.principal
        async with self._journal.begin(scopes.of_principal(actor), actor, origin=origin) as w:
            if proof is not None:
                once(w, proof.once, InvalidProof)
            w.record(
                TokenIssued(
                    subject=claims.sub,
                    token=claims.jti,
                    client=claims.client_id,
                    method=client.method.value,
                    key=client.key,
                    grant=grant.name,
                    resource=claims.aud,
                    scope=claims.scope,
                    bound=proof is not None,
                    expires_at_ms=minted.verified.expires_at_ms,
                )
            )
