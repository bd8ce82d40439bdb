"""What the routes of this room are closed over: a node's decisions, models and continuation tokens."""

import msgspec

from tenantry.access.continuation import Continuation
from tenantry.access.decisions import Asking, At, Decisions
from tenantry.access.models import Models
from tenantry.core.clock import Clock
from tenantry.core.errors import Invalid
from tenantry.core.ids import IdSource
from tenantry.web import Call

AT_LEAST = "Tenantry-At-Least"
"""A header of a question: the revision that its answer must not be older than."""

REVISION = "Tenantry-Revision"
"""A header of an answer: the revision that it was given, or its change made, at."""

MODEL = "Openfga-Authorization-Model-Id"
"""A header of an answer: the model that it was given by."""


class Service(msgspec.Struct, frozen=True, eq=False):
    """The room on one node."""

    decisions: Decisions
    models: Models
    continuation: Continuation
    ids: IdSource
    clock: Clock
    issuer: str


async def at_of(call: Call, model: str, *, newest: bool) -> At:
    """What an answer is to be given at: the model's id, the revision of the request's header, or the newest there is.

    Raises:
        Invalid: the header holds no revision.
    """
    said = call.headers.get(AT_LEAST.lower(), "0")
    if not (said.isascii() and said.isdigit() and len(said) <= 18):
        raise Invalid(f"{AT_LEAST} is a revision that an answer named.")
    if newest:
        return At(model, (await call.journal.head(call.scope)).rev)
    return At(model, int(said))


def asking_of(call: Call) -> Asking:
    """Who asks, for the log."""
    return Asking(call.principal.id, call.origin.request)


def tell(call: Call, revision: int, model: str) -> None:
    """Say in the answer's headers what it was given at."""
    call.answer_headers[REVISION] = str(revision)
    if model:
        call.answer_headers[MODEL] = model.removeprefix("model_")
