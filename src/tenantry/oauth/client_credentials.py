"""The client credentials grant (RFC 6749, 4.4): a principal that acts for itself gets a token for one resource.

A resource of the platform is looked for before one of the organization: whoever administers an organization cannot give an indicator of
the vendor's other scopes than the vendor did.
"""

from tenantry.core.errors import Invalid, NotFound
from tenantry.oauth.grant import Asking, Grant, InvalidScope, InvalidTarget
from tenantry.organizations import parties, resources
from tenantry.organizations.addresses import indicator
from tenantry.organizations.resources import Resource
from tenantry.sessions.claims import PROFILES, Ask, profiled

NAME = "client_credentials"


async def decide(asking: Asking) -> Ask:
    """What the client's token is to say.

    Raises:
        InvalidTarget: not exactly one resource is named, or none of this indicator is registered and active.
        InvalidScope: no scope is named, or the resource has not all of them.
    """
    client = asking.client
    resource = await _resource(asking)
    return Ask(
        subject=client.principal.id,
        client_id=client.principal.id,
        client_profile=PROFILES[profiled(client.principal.id)],
        audience=resource.indicator,
        path=client.path,
        scope=scopes_of(asking.form.scope, resource),
        ends_at_ms=client.ends_at_ms,
        followed=resource.follows_feed,
    )


GRANT = Grant(NAME, decide)


def scopes_of(asked: str, resource: Resource) -> tuple[str, ...]:
    """The scopes that are asked for, each once; whole texts are compared (RFC 6749, 3.3).

    Raises:
        InvalidScope: one is not the resource's, or none is named although it has some: nothing is given that nobody asked for.
    """
    scopes = tuple(dict.fromkeys(asked.split(" "))) if asked else ()
    if not set(scopes) <= set(resource.scopes) or (resource.scopes and not scopes):
        raise InvalidScope
    return scopes


async def _resource(asking: Asking) -> Resource:
    named = [text for text in asking.form.resource if text]
    if len(named) != 1:
        raise InvalidTarget
    try:
        text = indicator(named[0])
    except Invalid as error:
        raise InvalidTarget from error
    for reads in (asking.platform_reads, asking.reads):
        try:
            resource = await resources.of_indicator(reads, text)
        except NotFound:
            continue
        if resource.status != parties.ACTIVE:
            raise InvalidTarget
        return resource
    raise InvalidTarget
