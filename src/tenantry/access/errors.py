"""What a question, a tuple or a model is refused for, by OpenFGA's names and numbers (openfga.v1.ErrorCode)."""

import msgspec

from tenantry.core.errors import Invalid


class AccessError(Invalid):
    """A refusal that OpenFGA has a name (`code`) and a `number` for."""

    code = "validation_error"
    number = 2000


class TooComplex(AccessError):
    """Deciding would walk further than the limit allows: neither a yes nor a no, so nothing is permitted."""

    code = "authorization_model_resolution_too_complex"
    number = 2002
    reason = "too_complex"


class DepthExceeded(TooComplex):
    """More hops from object to object than are followed lie between the question and an answer."""

    reason = "depth_exceeded"


class ConditionFailed(AccessError):
    """A condition that matters cannot be decided, for want of context or for an error: neither a yes nor a no."""

    reason = "condition_failed"


class TypeNotFound(AccessError):
    """The model defines no such type."""

    code = "type_not_found"
    number = 2021


class RelationNotFound(AccessError):
    """The type defines no such relation."""

    code = "relation_not_found"
    number = 2022


class InvalidTuple(AccessError):
    """The model does not admit this tuple."""

    code = "invalid_tuple"
    number = 2027


class LimitExceeded(AccessError):
    """More of something than one request, model or list may hold."""

    code = "exceeded_entity_limit"
    number = 2053


class Fault(msgspec.Struct, frozen=True):
    """One fault of a model: its `kind` by the name OpenFGA's language tools give it, and where.

    `line` and `column` count from one; both are zero where the model came as JSON. `end` is the column after the last.
    """

    kind: str
    message: str
    line: int = 0
    column: int = 0
    end: int = 0
    file: str = ""

    def __str__(self) -> str:
        file = f"{self.file}:" if self.file else ""
        place = f"{file}{self.line}:{self.column}: " if self.line else file
        return f"{place}{self.message} [{self.kind}]"


class InvalidModel(AccessError):
    """The model does not stand; `faults` holds every one that was found, in the order of the text."""

    code = "invalid_authorization_model"
    number = 2056

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__("; ".join(map(str, faults)))


class ConditionsNotSupported(InvalidModel):
    """The model has conditions, and nothing that could evaluate them is installed."""

    def __init__(self, names: tuple[str, ...]) -> None:
        listed = ", ".join(f"`{name}`" for name in names)
        super().__init__(Fault("condition-not-supported", f"{listed}: what evaluates conditions is not installed."))
        self.hint = "Install it with `pip install 'tenantry[conditions]'`."
