"""The tree of refusals. Rooms raise one of these where the fact is known; one place an edge turns it into its protocol.

Every error has a stable `code`, a sentence for the caller and, in `hint`, what to do next. None may carry a secret, the
value of another tenant, or a database's own words.
"""


class TenantryError(Exception):
    """A refusal with a stable code, a sentence for a person, and what to do next."""

    code = "error"
    sentence = "This was refused."

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        self.message = message or self.sentence
        self.hint = hint
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class NotFound(TenantryError):
    """No such thing in this scope; another tenant's things do not exist."""

    code = "not_found"
    sentence = "There is no such thing here."


class NoOrganization(NotFound):
    """No such organization, or its log was never opened."""

    sentence = "There is no such organization."


class Conflict(TenantryError):
    """What was read has changed since: read again and retry."""

    code = "conflict"
    sentence = "It was changed meanwhile."


class Invalid(TenantryError):
    """The input is not of the form asked for."""

    code = "invalid"


class TooLarge(Invalid):
    """The input passes a stated limit."""

    code = "too_large"


class Denied(TenantryError):
    """The caller may not do this."""

    code = "denied"


class Ended(Denied):
    """The credential, or something it descends from, was cut."""

    code = "ended"
    sentence = "The credential has been ended."


class AlreadyDone(Denied):
    """A thing that can be done once has been done: spent, used, deactivated."""

    code = "already_done"
    sentence = "This has been done already."


class Throttled(TenantryError):
    """Too much at once; `retry_after_ms` says when to come back."""

    code = "throttled"

    def __init__(self, message: str = "", *, hint: str = "", retry_after_ms: int = 1_000) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_ms = retry_after_ms


class Stale(Throttled):
    """This node has not heard from the changelog recently enough to say yes."""

    code = "stale"
    sentence = "This node has not heard from the database recently enough."


class Unavailable(Throttled):
    """The database cannot take this now; nothing was written."""

    code = "unavailable"


class StorageFull(Unavailable):
    """No space left to write; what was written stays and is readable."""

    code = "storage_full"


class Damaged(Unavailable):
    """What is stored cannot be read as it was written; nothing is answered from it."""

    code = "damaged"


class Unknown(TenantryError):
    """The connection broke while a commit was under way: whether it was written must be read back."""

    code = "outcome_unknown"


class Upstream(TenantryError):
    """Something outside (an HSM, an identity provider) refused or did not answer in time."""

    code = "upstream"


class Unsafe(TenantryError):
    """The set-up would void a promise; Tenantry refuses to start on it."""

    code = "unsafe"


class ProofFailed(TenantryError):
    """A signature, proof or stored hash does not hold."""

    code = "proof_failed"


class Misuse(TenantryError):
    """Our own code broke a rule of the house, such as a change of state that records no event."""

    code = "misuse"
