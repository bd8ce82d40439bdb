"""What the edge itself refuses, before a room hears of the request."""

from tenantry.core.errors import Invalid, NotFound, TenantryError


class Unauthenticated(TenantryError):
    """The caller has not proved who it is."""

    code = "unauthenticated"
    sentence = "This needs a credential."


class NotAllowed(NotFound):
    """The path exists, but not for this method; `allowed` are those for which it does (RFC 9110, 15.5.6)."""

    code = "method_not_allowed"

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(f"This address takes {', '.join(allowed)}.")
        self.allowed = allowed


class WrongMedia(Invalid):
    """The body is of another content type than the route takes (RFC 9110, 15.5.16)."""

    code = "unsupported_media_type"


class Malformed(Invalid):
    """The body or query cannot be read at all, or says a thing twice."""

    code = "malformed"


class TokenInUrl(Malformed):
    """A credential stands in the address, where proxies and browsers keep it."""

    code = "token_in_url"
    sentence = "A credential never belongs into an address: treat this one as leaked, and end it."


class TooSlow(Invalid):
    """The body did not arrive in time (RFC 9110, 15.5.9)."""

    code = "too_slow"
    sentence = "The body did not arrive in time."
