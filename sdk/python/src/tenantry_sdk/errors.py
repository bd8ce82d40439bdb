"""What can be refused, each with the status and code that an HTTP answer carries (RFC 6750, 3.1)."""


class TenantryError(Exception):
    """A refusal, or that there is no answer. `status` and `code` are what a guarded route answers."""

    status = 500
    code = "error"
    sentence = "This was refused."

    def __init__(self, message: str = "") -> None:
        self.message = message or self.sentence
        super().__init__(self.message)


class Unauthenticated(TenantryError):
    """The caller showed no credential."""

    status = 401
    code = "unauthenticated"
    sentence = "This needs an access token."


class BadToken(Unauthenticated):
    """The access token is none of this issuer's, or not for here."""

    code = "invalid_token"
    sentence = "The access token cannot be used here."


class Expired(BadToken):
    """Its time is over."""

    sentence = "The access token has expired."


class WrongAudience(BadToken):
    """It was made for another resource."""

    sentence = "The access token was made for another resource."


class WrongOrganization(BadToken):
    """It is of an organization whose cuts this verifier does not hear of."""

    sentence = "The access token is of an organization that this verifier does not serve."


class Ended(BadToken):
    """It, or something that it descends from, was cut."""

    sentence = "The access token has been ended."


class WrongSender(BadToken):
    """It is bound to a key that the sender has not proved."""

    sentence = "The access token is bound to a key that the sender has not proved."


class BadProof(BadToken):
    """The DPoP proof does not hold for this request (RFC 9449, 7.1)."""

    code = "invalid_dpop_proof"
    sentence = "The DPoP proof does not hold for this request."


class Denied(TenantryError):
    """The caller is known, and may not do this."""

    status = 403
    code = "denied"
    sentence = "This is not allowed."


class MissingScope(Denied):
    """The access token does not carry the scope that this needs."""

    code = "insufficient_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"This needs the scope {scope}.")
        self.scope = scope


class Stale(TenantryError):
    """Nothing was heard of what has been cut recently enough to say yes."""

    status = 503
    code = "stale"
    sentence = "It is not known recently enough what has been ended; try again in a second."


class Unreachable(TenantryError):
    """The server did not answer, or not as expected."""

    status = 503
    code = "unreachable"
    sentence = "The identity server did not answer."


class Refused(TenantryError):
    """The server refused what this program itself asked for; `answer` is its status."""

    status = 502
    code = "refused"

    def __init__(self, message: str, answer: int) -> None:
        super().__init__(message)
        self.answer = answer
