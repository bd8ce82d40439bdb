"""Access tokens: made and verified (RFC 9068, within RFC 8725).

`mint` puts into a token what it descends from and what this node had heard; `verify` gives back what a token says, or raises. A verified
token is kept as claims, never as a verdict: expiry, audience, the sender's key, cuts and the lease are looked at on every use.
"""

from collections import OrderedDict

import msgspec
from msgspec import UNSET

from tenantry.core import base64url, scopes
from tenantry.core.base64url import NotBase64url
from tenantry.core.clock import Clock
from tenantry.core.errors import Denied, Ended, NotFound, ProofFailed, TooLarge
from tenantry.core.ids import PLATFORM, IdSource, is_ulid
from tenantry.core.limits import ACT_DEPTH, CLOCK_SKEW_MS
from tenantry.core.principal import Lineage, Principal
from tenantry.journal import Cuts, Journal
from tenantry.keys.keyring import Keyring
from tenantry.keys.published import PublishedKeys
from tenantry.keys.signing import Algorithm, PublicKey, Purpose, Use
from tenantry.sessions.claims import (
    FOLLOWED_LIFETIME_MS,
    PROFILES,
    ROLES_MAX,
    RULES,
    UNBOUND,
    Act,
    Ask,
    Authentication,
    Claims,
    Confirmation,
    IdentityClass,
    Minted,
    ReadAt,
    Verified,
    identity_of,
    profiled,
)
from tenantry.sessions.lineage import decode, encode
from tenantry.sessions.tree import NoBranch
from tenantry.web.refusals import Unauthenticated

TOKEN_MAX_BYTES = 2_048
KEPT_MAX = 8_192
"""Verified tokens that a node keeps, about 3 KB each; the longest unused go first."""

TYPES = ("at+jwt", "application/at+jwt")
"""What `typ` may be (RFC 9068, 4); the first is what we write."""

ALGORITHMS = {algorithm.value: algorithm for algorithm in (Algorithm.ES256,)}
"""What `alg` may be. Any other, `none` above all, is refused before a key is looked for."""


class BadToken(Unauthenticated):
    """No token of ours, or not for here (RFC 6750, 3.1)."""

    code = "invalid_token"
    sentence = "The access token cannot be used here."


class Expired(BadToken):
    """Its time is over."""

    sentence = "The access token has expired."


class WrongAudience(BadToken):
    """It was made for another resource (RFC 8707)."""

    sentence = "The access token was made for another resource."


class WrongSender(BadToken):
    """Its bearer has not proved the key that the token is bound to, or proved one although it is bound to none."""

    sentence = "The access token is bound to a key that the sender has not proved."


class TooMuch(Denied):
    """Nothing becomes more than what it descends from (narrow only)."""

    code = "not_narrower"
    sentence = "A token never gives more than what it descends from."


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that a header may hold: no key of its own, no address of one, nothing critical (RFC 8725, 3.10; RFC 7515, 4.1.11)."""

    alg: str
    kid: str
    typ: str


_HEADER = msgspec.json.Decoder(_Header, strict=True)
_CLAIMS = msgspec.json.Decoder(Claims, strict=True)


class AccessTokens:
    """Mints and verifies the access tokens of one issuer. Owned by one event loop."""

    def __init__(
        self,
        journal: Journal,
        cuts: Cuts,
        keyring: Keyring,
        published: PublishedKeys,
        clock: Clock,
        ids: IdSource,
        issuer: str,
    ) -> None:
        self._journal = journal
        self._cuts = cuts
        self._keyring = keyring
        self._published = published
        self._clock = clock
        self._ids = ids
        self._use = Use(Purpose.ACCESS_TOKEN, issuer, PLATFORM)
        self._kept: OrderedDict[str, Verified] = OrderedDict()

    async def read_at(self, org: str) -> ReadAt:
        """Take the revisions before anything is read that a token will rest on: a cut after this ends the token.

        Raises:
            NotFound: there is no such organization.
        """
        platform = await self._journal.head(scopes.of_platform())
        own = await self._journal.head(scopes.of_job(org)) if org != PLATFORM else platform
        return ReadAt(org, own.rev, platform.rev)

    async def mint(self, ask: Ask, at: ReadAt) -> Minted:
        """A token that says what is asked, and descends from what is named. Not checked here: that the records behind the path are active.

        Raises:
            TooMuch: it would give more than its parent, or is not bound to a key although its class must be.
            Ended: its parent, or what it descends from, has ended.
            NoBranch: the path is none of the tree, or does not name its subject and every actor.
            TooLarge: it would pass `TOKEN_MAX_BYTES`.
            Stale: this node did not catch up with `at` within the lease.
            Upstream: the signing key cannot be opened.
        """
        identity = _check_ask(ask, at)
        key = await self._keyring.signing(self._use, Algorithm.ES256)
        platform_path = tuple(dict.fromkeys((*ask.platform_path, *_signers(ask.parent), key.public.id)))
        lineage = await self._cuts.lineage(at.org, ask.path, at.rev, platform_path, at.platform_rev)
        if ask.parent is not None:
            await self._cuts.check(ask.parent.principal)
            lineage = _no_newer(lineage, ask.parent.principal.lineage)
        now_ms = self._clock.now_ms()
        claims = self._claims(ask, at.org, lineage, now_ms, _ends_at_ms(ask, identity, now_ms))
        header = _Header(key.public.algorithm.value, key.public.kid(), TYPES[0])
        signed = f"{base64url.encode(msgspec.json.encode(header))}.{base64url.encode(msgspec.json.encode(claims))}"
        token = f"{signed}.{base64url.encode(key.sign(signed.encode(), self._use, now_ms))}"
        if len(token) > TOKEN_MAX_BYTES:
            raise TooLarge(f"The access token has {len(token)} bytes; {TOKEN_MAX_BYTES} are allowed.")
        return Minted(token, claims.jti, claims.exp - claims.iat, _verified(claims, key.public))

    async def verify(self, token: str, *, audience: str, sender: Confirmation = UNBOUND) -> Verified:
        """What a token says, if it may be used by this sender at this resource now. Ask again at every use.

        `audience` is the resource's own indicator, `sender` what the bearer has proved: the key of its DPoP proof, or its certificate.

        Raises:
            BadToken: it is no access token of this issuer (`Expired`, `WrongAudience`, `WrongSender` say more).
            Ended: something that it descends from was cut, or the deployment began another life.
            Stale: this node has not heard recently enough to know.
        """
        verified = self._kept.get(token)
        if verified is None:
            verified = self._kept[token] = await self._read(token)
            while len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(token)
        self._check_time(verified)
        if verified.claims.aud != audience:
            raise WrongAudience
        check_sender(verified.confirmation, sender)
        await self._cuts.check(verified.principal)
        self._check_time(verified)  # reading the organization's cuts may have taken a while
        return verified

    def _check_time(self, verified: Verified) -> None:
        now_ms, claims = self._clock.now_ms(), verified.claims
        if now_ms >= verified.expires_at_ms:
            raise Expired
        if claims.iat * 1000 > now_ms + CLOCK_SKEW_MS:
            raise BadToken("The access token is of a time that has not come yet.")

    async def _read(self, token: str) -> Verified:
        """The claims of a token whose signature holds."""
        header, payload, signed, signature = _parts(token)
        algorithm = ALGORITHMS.get(header.alg)
        if header.typ not in TYPES or algorithm is None:
            raise BadToken("This is no access token.")
        try:
            key = await self._published.named(header.kid, self._use)
            if key.algorithm is not algorithm:
                raise BadToken("The key is one for another algorithm.")
            key.verify(signed, signature, self._use, self._clock.now_ms())
        except (NotFound, ProofFailed) as error:
            raise BadToken("No key of ours signed this access token.") from error
        try:
            claims = _CLAIMS.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadToken("The claims are not those of an access token.") from error
        if claims.iss != self._use.issuer:
            raise BadToken("The access token is of another issuer.")
        return _verified(claims, key)

    def _claims(self, ask: Ask, org: str, lineage: Lineage, now_ms: int, ends_at_ms: int) -> Claims:
        issued_s, ends_s = now_ms // 1000, ends_at_ms // 1000
        if ends_s * 1000 <= now_ms:
            raise Ended("What this token would descend from is about to end.")
        known = ask.authentication
        return Claims(
            iss=self._use.issuer,
            aud=ask.audience,
            exp=ends_s,
            iat=issued_s,
            jti=self._ids.new("token"),
            client_id=ask.client_id,
            sub=ask.subject,
            sub_profile=_profile(ask.subject),
            client_profile=ask.client_profile,
            org_id=org,
            tny=encode(org, lineage),
            scope=" ".join(ask.scope),
            act=self._act(ask.actors),
            cnf=UNSET if ask.confirmation == UNBOUND else ask.confirmation,
            roles=list(ask.roles) or UNSET,
            authorization_details=list(ask.authorization_details) or UNSET,
            auth_time=known.time_s if known else UNSET,
            acr=(known and known.acr) or UNSET,
            amr=(known and list(known.amr)) or UNSET,
        )

    def _act(self, actors: tuple[str, ...]) -> Act | msgspec.UnsetType:
        chain = UNSET
        for actor in reversed(actors):
            chain = Act(actor, self._use.issuer, _profile(actor), chain)
        return chain


def check_sender(bound: Confirmation, sender: Confirmation) -> None:
    """Refuse a bound token whose key was not proved, and a proof of a key for a token that names none (RFC 9449, 7.1; RFC 8705, 3).

    A certificate alone proves nothing wrong: a client may show one for a token that is not bound to it.

    Raises:
        WrongSender: the two do not fit.
    """
    if bound.jkt != sender.jkt:
        raise WrongSender
    if bound.x5t is not UNSET and bound.x5t != sender.x5t:
        raise WrongSender


def _check_ask(ask: Ask, at: ReadAt) -> IdentityClass:
    """What can be refused without reading anything."""
    if len(ask.actors) > ACT_DEPTH:
        raise TooMuch(f"A chain of actors is at most {ACT_DEPTH} deep.")
    if len({ask.subject, *ask.actors}) <= len(ask.actors):
        raise TooMuch("Nobody stands in a chain of actors twice.")
    if len(ask.roles) > ROLES_MAX:
        raise TooLarge(f"A token shows at most {ROLES_MAX} roles.")
    _check_named(ask.subject, ask.actors, (*ask.path, *ask.platform_path))
    identity = identity_of(ask.subject, ask.actors, ask.path)
    if RULES[identity].bound and ask.confirmation == UNBOUND:
        raise TooMuch(f"The token of a {identity} is bound to a key of its own.")
    if ask.parent is not None:
        _check_narrower(ask, at.org, ask.parent)
    return identity


def _check_narrower(ask: Ask, org: str, parent: Verified) -> None:
    """Scope, authorization details, assurance, the chain and what a token descends from: equal or less, and the same organization."""
    lineage = parent.principal.lineage
    assert lineage is not None  # a token always has one
    inherited = tuple(_actors(parent.claims))
    wider = (
        parent.principal.org != org
        or parent.claims.sub != ask.subject
        or not set(ask.scope) <= parent.scope
        or any(detail not in _details(parent.claims) for detail in ask.authorization_details)
        or not set(lineage.path) <= set(ask.path)
        or not set(lineage.platform_path) <= {*ask.platform_path, *_signers(parent)}
        or ask.actors[len(ask.actors) - len(inherited) :] != inherited
        or ask.authentication != _authentication(parent.claims)
        or (parent.confirmation != UNBOUND and ask.confirmation == UNBOUND)
    )
    if wider:
        raise TooMuch


def _ends_at_ms(ask: Ask, identity: IdentityClass, now_ms: int) -> int:
    followed = ask.followed and identity is IdentityClass.SERVICE
    most = FOLLOWED_LIFETIME_MS if followed else RULES[identity].lifetime_ms
    ends = [now_ms + min(most, ask.lifetime_ms or most)]
    if ask.ends_at_ms is not None:
        ends.append(ask.ends_at_ms)
    if ask.parent is not None:
        ends.append(ask.parent.expires_at_ms)
    return min(ends)


def _no_newer(lineage: Lineage, parent: Lineage | None) -> Lineage:
    """What a child descends from has been heard of no later than its parent: a cut that ends the parent ends the child."""
    assert parent is not None
    rev, platform_rev = min(lineage.rev, parent.rev), min(lineage.platform_rev, parent.platform_rev)
    return msgspec.structs.replace(lineage, rev=rev, platform_rev=platform_rev)


def _check_named(subject: str, actors: tuple[str, ...], ids: tuple[str, ...]) -> None:
    """Everybody in a token stands in its path, so that the cut of any of them ends it."""
    for principal in (subject, *actors):
        if principal not in ids:
            raise NoBranch(f"The path does not name {principal}.")


def _verified(claims: Claims, key: PublicKey) -> Verified:
    """What signed claims say, if they hold together.

    Raises:
        BadToken: they do not.
    """
    actors = tuple(_actors(claims))
    try:
        lineage = decode(claims.org_id, claims.tny)
        _check_named(claims.sub, actors, (*lineage.path, *lineage.platform_path))
        identity = identity_of(claims.sub, actors, lineage.path)
    except NoBranch as error:
        raise BadToken("The claims do not hold together.") from error
    bound = UNBOUND if claims.cnf is UNSET else claims.cnf
    longest_ms = max(RULES[identity].lifetime_ms, FOLLOWED_LIFETIME_MS * (identity is IdentityClass.SERVICE))
    sound = (
        claims.org_id.startswith("org_")
        and is_ulid(claims.org_id.removeprefix("org_"))
        and key.id in lineage.platform_path
        and (claims.exp - claims.iat) * 1000 <= longest_ms
        and not (RULES[identity].bound and bound == UNBOUND)
        and len(actors) <= ACT_DEPTH
    )
    if not sound:
        raise BadToken("The claims do not hold together.")
    outermost, *others = (*actors, claims.sub)
    principal = Principal(outermost, claims.org_id, lineage, tuple(others))
    return Verified(principal, identity, claims, frozenset(claims.scope.split()), bound)


def _actors(claims: Claims) -> list[str]:
    """The chain of actors, outermost first, cut off one beyond what is allowed."""
    chain: list[str] = []
    act = claims.act
    while act is not UNSET and len(chain) <= ACT_DEPTH:
        chain.append(act.sub)
        act = act.act
    return chain


def _parts(token: str) -> tuple[_Header, bytes, bytes, bytes]:
    """Header, claims, what is signed, and the signature: compact form only (RFC 7515, 7.1).

    Raises:
        BadToken: it is of another form, or passes `TOKEN_MAX_BYTES`.
    """
    parts = token.split(".", 3) if len(token) <= TOKEN_MAX_BYTES else []
    if len(parts) != 3:
        raise BadToken("This is no access token.")
    header, claims, signature = parts
    try:
        read = _HEADER.decode(base64url.decode(header))
        return read, base64url.decode(claims), f"{header}.{claims}".encode(), base64url.decode(signature)
    except (NotBase64url, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadToken("This is no access token.") from error


def _details(claims: Claims) -> list[dict[str, object]]:
    return [] if claims.authorization_details is UNSET else claims.authorization_details


def _authentication(claims: Claims) -> Authentication | None:
    if claims.auth_time is UNSET:
        return None
    return Authentication(claims.auth_time, claims.acr or "", tuple(claims.amr or ()))


def _signers(parent: Verified | None) -> list[str]:
    """The keys that signed what a token was exchanged for: it ends with them too."""
    lineage = parent.principal.lineage if parent else None
    return [branch for branch in lineage.platform_path if branch.startswith("key_")] if lineage else []


def _profile(principal: str) -> str:
    return PROFILES[profiled(principal)]
