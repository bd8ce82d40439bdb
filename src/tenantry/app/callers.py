"""Who calls, and whether they may: every route that is not public is asked of the engine, over the system model.

| a caller proves itself by | and is |
|---|---|
| an access token made for this interface, as bearer or bound to a key (DPoP) | the token's principal, in its own organization |
| the socket beside the database, which only the server's own user can open | the console, an owner of the platform |
| either of these, with the name of an entry | an operator inside the organization that was entered |

A platform's service may be given a role on an application of the platform: it then asks in the store that any organization has there,
which it names by `Tenantry-Organization`.
"""

import msgspec

from tenantry.access.decisions import Asking, At, Decision, Decisions
from tenantry.access.stores import StoreNotFound, only_store, store_of
from tenantry.access.system import SYSTEM_STORE
from tenantry.access.tuples import TupleKey
from tenantry.app.edge import Admitted, Asked
from tenantry.app.node import Node
from tenantry.core import scopes
from tenantry.core.errors import Denied, NotFound, TenantryError
from tenantry.core.ids import PLATFORM, is_ulid, parse
from tenantry.core.principal import SYSTEM, Principal
from tenantry.journal import Event, Text
from tenantry.oauth.dpop import InvalidProof, Proof, prove
from tenantry.oauth.once import once
from tenantry.organizations import entries, organization
from tenantry.organizations.permissions import ENTER_ORGANIZATIONS
from tenantry.organizations.roles import subject_of
from tenantry.organizations.standing import Standings
from tenantry.protection.places import TooManyAtOnce
from tenantry.protection.rates import Rates, TooOften
from tenantry.protection.signals import SignalKind, Signals
from tenantry.sessions.claims import UNBOUND, Confirmation, Verified
from tenantry.sessions.schema import CUTS_AMONG
from tenantry.sessions.tokens import AccessTokens
from tenantry.web import Permission, Rate
from tenantry.web.refusals import Unauthenticated

ENTRY = "Tenantry-Entry"
"""The header that names an operator's entry: `org_…/entry_…`."""

ORGANIZATION = "Tenantry-Organization"
"""The header by which a platform's service says whose store it asks about."""

CONSOLE = Principal(id="console", org=PLATFORM, lineage=None)
"""Whoever holds the socket beside the database."""

DENIALS = Rate(burst=10, every_ms=6_000)
"""Refused writes of one caller that its organization's log tells of; the others are the decision log's."""


SEEN: tuple[tuple[type[TenantryError], SignalKind], ...] = (
    (NotFound, SignalKind.UNKNOWN_ID),
    (Denied, SignalKind.FORBIDDEN),
    (TooOften, SignalKind.TOO_OFTEN),
    (TooManyAtOnce, SignalKind.TOO_OFTEN),
)
"""What counts as which signal."""


class AccessDenied(Event, tag="access.denied", frozen=True):
    """A caller was refused something that would have changed the organization."""

    outcome = "refused"

    permission: str
    object: Text


class Forbidden(Denied):
    """The engine said no. Whether the thing is there is not said."""

    code = "forbidden"


class InsufficientScope(Denied):
    """The token was made for less (RFC 6750, 3.1)."""

    code = "insufficient_scope"
    sentence = "The access token's scope does not hold this permission."


class ProofRefused(Unauthenticated):
    """The DPoP proof is missing, proves nothing here, or has been used (RFC 9449, 7.1)."""

    code = "invalid_dpop_proof"
    sentence = "The DPoP proof is not valid for this request; make one for each."


class _Known(msgspec.Struct, frozen=True, eq=False):
    """A caller that proved itself: its token, if it has one."""

    caller: Principal
    verified: Verified | None = None


class Callers:
    """Admits the callers of one node."""

    def __init__(
        self, node: Node, tokens: AccessTokens, decisions: Decisions, standing: Standings, signals: Signals, issuer: str
    ) -> None:
        self._node = node
        self._journal = node.journal
        self._tokens = tokens
        self._decisions = decisions
        self._standing = standing
        self._issuer = issuer
        self._signals = signals
        self._denials = Rates(node.clock)

    def refused(self, admitted: Admitted, error: TenantryError) -> None:
        """Count what somebody who was admitted was refused."""
        kind = next((kind for refusal, kind in SEEN if isinstance(error, refusal)), None)
        if kind is not None:
            self._signals.note(admitted.within.org, kind, admitted.caller.id)

    async def admit(self, asked: Asked) -> Admitted:
        """Whoever calls, once it has proved itself and the engine has said yes.

        Raises:
            Unauthenticated, BadToken, ProofRefused, Ended: nobody proved anything, or it does not hold any more.
            Forbidden, InsufficientScope: the engine, or the token's scope, says no.
            NotFound: the path or an entry names what is not there.
            Stale: this node cannot say now.
        """
        known = await self._known(asked)
        admitted = await self._within(asked, known.caller)
        asked.hold(admitted.caller, admitted.within.org)
        permission = asked.route.permission
        needed = {permission.name} | ({ENTER_ORGANIZATIONS.name} if ENTRY.lower() in asked.headers else set())
        if known.verified is not None and known.verified.scope and not needed <= known.verified.scope:
            raise InsufficientScope
        on = await self._object(asked, admitted)
        if admitted.caller.org == admitted.within.org:
            await self._allow(asked, admitted, permission, on)
        else:
            await self._allow_provider(asked, admitted, permission, on)
        return Admitted(admitted.caller, admitted.within, on)

    async def _known(self, asked: Asked) -> _Known:
        given = asked.headers.get("authorization", "")
        if not given and asked.local:
            return _Known(CONSOLE)
        scheme, _, token = given.partition(" ")
        if scheme.lower() not in ("bearer", "dpop") or not token:
            raise Unauthenticated(
                "This needs an access token.", hint="Send it as `Authorization: Bearer …` or `DPoP …`."
            )
        proof = self._proof(asked, token) if scheme.lower() == "dpop" else None
        sender = UNBOUND if proof is None else Confirmation(jkt=proof.jkt)
        verified = await self._tokens.verify(token, audience=self._issuer, sender=sender)
        if proof is not None:
            async with self._journal.begin(scopes.of_principal(verified.principal), SYSTEM) as w:
                once(w, proof.once, ProofRefused)
        for one in verified.principal.chain():
            if not await self._standing.active(verified.principal.org, one):
                raise Unauthenticated("This principal is not active.")
        return _Known(verified.principal, verified)

    def _proof(self, asked: Asked, token: str) -> Proof:
        """The key that the request proves (RFC 9449, 7)."""
        proof = asked.headers.get("dpop", "")
        if not proof:
            raise ProofRefused("A token that is bound to a key comes with a DPoP proof.")
        url, now_ms = self._issuer + asked.path, self._node.clock.now_ms()
        try:
            return prove(proof, method=asked.method, url=url, now_ms=now_ms, access_token=token)
        except InvalidProof as error:
            raise ProofRefused(error.message, hint=error.hint) from error

    async def _within(self, asked: Asked, caller: Principal) -> Admitted:
        """The organization that the call is about, and who acts in it."""
        entry = asked.headers.get(ENTRY.lower(), "")
        if entry:
            return await self._entered(asked, entry, caller)
        named = asked.headers.get(ORGANIZATION.lower(), "")
        if named and asked.route.permission.on == "store" and caller.org == PLATFORM:
            return Admitted(caller, scopes.of_provider(caller, parse("org", named)))
        return Admitted(caller, scopes.of_principal(caller))

    async def _entered(self, asked: Asked, named: str, operator: Principal) -> Admitted:
        """The operator inside the organization that it entered: a principal of its own, which dies with the entry or the operator."""
        org, _, entry_id = named.partition("/")
        scope = scopes.of_entry(operator, parse("org", org))
        parse("entry", entry_id)
        own = Admitted(operator, scopes.of_platform())
        await self._allow(asked, own, ENTER_ORGANIZATIONS, f"organization:{PLATFORM}")  # also after the entry began
        head, reads = await self._journal.head(scope), self._journal.reads(scope)
        if (await organization.organization(reads)).status != organization.ACTIVE:
            raise NotFound
        await entries.scope_of(reads, entry_id, operator, self._node.clock.now_ms())
        if await reads.all(
            CUTS_AMONG, ids=[entry_id]
        ):  # its lineage is of this moment, so an earlier cut must be asked for
            raise entries.EntryOver
        its = operator.lineage
        lineage = await self._node.cuts.lineage(
            org, (org, entry_id), head.rev, its.path if its else (), its.rev if its else 0
        )
        inside = Principal(id=entry_id, org=org, lineage=lineage, acts_for=(operator.id,))
        return Admitted(inside, scope)

    async def _object(self, asked: Asked, admitted: Admitted) -> str:
        """What the route's permission is asked on; it is not said whether that is there.

        Raises:
            Invalid, NotFound: nothing names it, and the organization has several, or none.
        """
        permission = asked.route.permission
        if permission.on == "organization":
            return f"organization:{admitted.within.org}"
        if permission.header:
            named = asked.headers.get(permission.header.lower(), "")
            named = named or await only_store(self._journal.reads(admitted.within))
        else:
            named = asked.values[f"{permission.on}_id"]
        bare = named.removeprefix(f"{permission.on}_")  # OpenFGA's clients name stores without it
        if permission.header and not is_ulid(bare):
            raise StoreNotFound
        return f"{permission.on}:{permission.on}_{bare}"

    async def _allow_provider(self, asked: Asked, admitted: Admitted, permission: Permission, on: str) -> None:
        """The platform's service has the permission on the platform's application in which this store of the organization is."""
        reads = self._journal.reads(admitted.within)
        store = await store_of(reads, on.removeprefix("store:"))
        if store.owner != PLATFORM or store.id == SYSTEM_STORE:
            raise StoreNotFound
        if (await organization.organization(reads)).status != organization.ACTIVE:
            raise Forbidden("This organization is not active.")
        own = Admitted(admitted.caller, scopes.of_platform())
        await self._allow(asked, own, permission, f"application:{store.application}")

    async def _allow(self, asked: Asked, admitted: Admitted, permission: Permission, object_: str) -> None:
        """Whoever acts, and each whom it acts for, has the permission, within the ceilings of those that are agents."""
        for party, contextual in _parties(admitted.caller):
            key = TupleKey(party, permission.name, object_)
            decision = await self._decide(asked, admitted, key, contextual)
            if not decision.allowed:
                ceiling = decision.verdict is not None and decision.verdict.denials[-1].kind != "subject"
                why = "This agent's ceiling does not hold" if ceiling else "You do not have"
                await self._refuse(admitted, permission, object_, why)

    async def _decide(
        self, asked: Asked, admitted: Admitted, key: TupleKey, contextual: tuple[TupleKey, ...]
    ) -> Decision:
        """What the engine says; a no only at the newest revision, so that whoever made something may use it at once.

        The decision log has the no. What was let in is told by what it then does.
        """
        scope, ask = admitted.within, self._decisions.check
        quiet, told = (Asking(admitted.caller.id, asked.request, noted) for noted in ("nothing", "denials"))
        decision = await ask(scope, SYSTEM_STORE, key, contextual=contextual, asking=quiet)
        if decision.allowed:
            return decision
        at = At(revision=(await self._journal.head(scope)).rev)
        return await ask(scope, SYSTEM_STORE, key, contextual=contextual, asking=told, at=at)

    async def _refuse(self, admitted: Admitted, permission: Permission, object_: str, why: str) -> None:
        """Say no; where something would have changed, the organization's log remembers, up to a rate."""
        caller = admitted.caller
        self._signals.note(admitted.within.org, SignalKind.FORBIDDEN, caller.id)
        if permission.writes:
            try:
                self._denials.take(((caller.org, caller.id), DENIALS))
                async with self._journal.begin(admitted.within, caller) as w:
                    w.record(AccessDenied(permission.name, object_))
            except TooOften:
                pass  # the decision log has it
        raise Forbidden(f"{why} {permission.name} on this {permission.on}.")


def _parties(caller: Principal) -> list[tuple[str, tuple[TupleKey, ...]]]:
    """The caller and those it acts for as the model names them, with what is true of each although no tuple was written."""
    if caller is CONSOLE:
        subject = f"console:{caller.id}"
        return [(subject, (TupleKey(subject, "owner", f"organization:{PLATFORM}"),))]
    if caller.id.startswith("entry_"):
        # The operator behind it is of the platform, where it was asked whether it may enter.
        subject = f"entry:{caller.id}"
        return [(subject, (TupleKey(subject, "entrant", f"organization:{caller.org}"),))]
    return [(subject_of(one), ()) for one in caller.chain()]
