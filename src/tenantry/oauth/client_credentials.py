"""The client credentials grant (RFC 6749, 4.4): a principal that acts for itself gets a token for one resource.

A resource of the platform is looked for before one of the organization: whoever administers an organization cannot give an indicator of
the vendor's other scopes than the vendor did.
"""

from collections.abc import Iterable

import msgspec

from tenantry.core.errors import Invalid, NotFound
from tenantry.oauth.grant import Asking, Grant, InvalidScope, InvalidTarget
from tenantry.organizations import parties, resources
from tenantry.organizations.addresses import indicator
from tenantry.sessions.claims import PROFILES, Ask, profiled

NAME = "client_credentials"


class Offer(msgspec.Struct, frozen=True):
    """What can be asked for at one resource."""

    indicator: str
    scopes: tuple[str, ...]
    follows_feed: bool = False
    whole: bool = False
    """Whether a token without a scope is for all that its bearer may do there."""


def grant(issuer: str, permissions: Iterable[str]) -> Grant:
    """The grant of an issuer whose own interface is a resource too, named by the issuer, with its permissions for scopes.

    There a scope only narrows: every permission is asked of the engine at each call, so a token may have none.
    """
    own = Offer(issuer, tuple(permissions), whole=True)

    async def decide(asking: Asking) -> Ask:
        client, offer = asking.client, await _offer(asking, own)
        return Ask(
            subject=client.principal.id,
            client_id=client.principal.id,
            client_profile=PROFILES[profiled(client.principal.id)],
            audience=offer.indicator,
            path=client.path,
            scope=_scopes(asking.form.scope, offer),
            ends_at_ms=client.ends_at_ms,
            followed=offer.follows_feed,
        )

    return Grant(NAME, decide)


def _scopes(asked: str, offer: Offer) -> tuple[str, ...]:
    """The scopes that are asked for, each once; whole texts are compared (RFC 6749, 3.3).

    Raises:
        InvalidScope: one is not the resource's, or none is named although it has some: nothing is given that nobody asked for.
    """
    scopes = tuple(dict.fromkeys(asked.split(" "))) if asked else ()
    if not set(scopes) <= set(offer.scopes) or (offer.scopes and not scopes and not offer.whole):
        raise InvalidScope
    return scopes


async def _offer(asking: Asking, own: Offer) -> Offer:
    """What the one resource that is named offers.

    Raises:
        InvalidTarget: not exactly one is named, or none of this indicator is registered and active.
    """
    named = [text for text in asking.form.resource if text]
    if len(named) != 1:
        raise InvalidTarget
    if named[0] == own.indicator:
        return own
    try:
        text = indicator(named[0])
    except Invalid as error:
        raise InvalidTarget from error
    for reads in (asking.platform_reads, asking.reads):
        try:
            found = await resources.of_indicator(reads, text)
        except NotFound:
            continue
        if found.status != parties.ACTIVE:
            raise InvalidTarget
        return Offer(found.indicator, found.scopes, found.follows_feed)
    raise InvalidTarget
