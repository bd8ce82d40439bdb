"""This room's routes: OpenFGA's HTTP API, and beside it what that has no words for: reasons, and the log of decisions."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tenantry.access import permissions as may
from tenantry.access.chain import Said
from tenantry.access.decision_log import FOREVER_MS, Search, search
from tenantry.access.decisions import Decision
from tenantry.access.explain import Explanation
from tenantry.access.routes_authzen import authzen_routes
from tenantry.access.routes_decide import LIMITS, deciding_routes
from tenantry.access.routes_stores import kept_routes
from tenantry.access.service import Service, asking_of, at_of, tell
from tenantry.access.tuples import TupleKey
from tenantry.core.clock import iso
from tenantry.core.limits import ACT_DEPTH
from tenantry.web import Call, Route, route

StoreId = Annotated[str, Meta(pattern="^store_[0-7][0-9A-HJKMNP-TV-Z]{25}(?!\n)$", max_length=32)]
DecisionId = Annotated[str, Meta(pattern="^(decision_[0-7][0-9A-HJKMNP-TV-Z]{25})?(?!\n)$", max_length=35)]
AgentId = Annotated[str, Meta(pattern="^agent_[0-7][0-9A-HJKMNP-TV-Z]{25}(?!\n)$", max_length=32)]
Ms = Annotated[int, Meta(ge=0, le=FOREVER_MS)]


class Tuple(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tuple, or a question: whether `subject` has `relation` to `object`."""

    subject: Annotated[str, Meta(max_length=512)]
    relation: Annotated[str, Meta(max_length=50)]
    object: Annotated[str, Meta(max_length=256)]

    def key(self) -> TupleKey:
        """The same as the engine knows it."""
        return TupleKey(self.subject, self.relation, self.object)


class Asked(Tuple, frozen=True, forbid_unknown_fields=True):
    """A question; `at_least` is a revision that the answer must not be older than, `model` another version than the store's.

    `actors` are the agents of this organization through whom the subject acts, the one that acts first. What each may at most do is read
    from its record, never from the question.
    """

    actors: Annotated[tuple[AgentId, ...], Meta(max_length=ACT_DEPTH)] = ()
    contextual: tuple[Tuple, ...] = ()
    context: dict[str, Any] | None = None
    at_least: Annotated[int, Meta(ge=0)] = 0
    model: Annotated[str, Meta(pattern="^(model_[0-7][0-9A-HJKMNP-TV-Z]{25})?(?!\n)$", max_length=32)] = ""


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer. `because` names the first party that said no, and is empty where there are no ceilings and the tuples decided.

    `said` is what each party said: the subject, then the ceilings of each actor and its blueprint.
    """

    allowed: bool
    revision: int
    model: str
    because: str = ""
    said: tuple[Said, ...] = ()


class Explained(msgspec.Struct, frozen=True):
    """An answer with its reasons: in plain words, and what the tuples say of the subject."""

    answer: Answer
    sentence: str
    explanation: Explanation


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which decisions, the newest first; times are milliseconds since 1970."""

    after: DecisionId = ""
    limit: Annotated[int, Meta(ge=1, le=100)] = 50
    store: str = ""
    subject: str = ""
    relation: str = ""
    object: str = ""
    allowed: bool | None = None
    since: Ms = 0
    until: Ms = FOREVER_MS


class Decided(msgspec.Struct, frozen=True):
    """A decision as it was answered."""

    id: str
    at: str
    store: str
    model: str
    revision: int
    subject: str
    relation: str
    object: str
    allowed: bool
    because: str
    caller: str
    request: str


class DecidedPage(msgspec.Struct, frozen=True):
    """A page of decisions."""

    items: list[Decided]
    next: str | None


def routes(service: Service) -> tuple[Route, ...]:
    """Everything that this room answers."""
    return (*kept_routes(service), *deciding_routes(service), *_own_routes(service), *authzen_routes(service))


def _own_routes(service: Service) -> tuple[Route, ...]:
    async def decide(call: Call, store_id: str, body: Asked, *, explained: bool) -> Decision:
        at = await at_of(call, body.model, newest=False)
        decision = await service.decisions.check(
            call.scope,
            store_id,
            body.key(),
            contextual=tuple(one.key() for one in body.contextual),
            context=body.context,
            actors=body.actors,
            at=msgspec.structs.replace(at, revision=max(at.revision, body.at_least)),
            asking=asking_of(call),
            explained=explained,
        )
        tell(call, decision.revision, decision.model)
        return decision

    @route("POST", "/v1/stores/{store_id}/check", may.CHECK, asks=True, limits=LIMITS)
    async def check_access(call: Call, store_id: StoreId, body: Asked) -> Answer:
        """Whether a subject has a relation to an object, by itself or through the agents that act for it."""
        return _answer(await decide(call, store_id, body, explained=False))

    @route("POST", "/v1/stores/{store_id}/explain", may.READ_TUPLES, asks=True, limits=LIMITS)
    async def explain_access(call: Call, store_id: StoreId, body: Asked) -> Explained:
        """The same with its reasons, which name tuples: for those who may read them."""
        decision = await decide(call, store_id, body, explained=True)
        assert decision.explanation is not None
        return Explained(_answer(decision), decision.sentence, decision.explanation)

    @route("GET", "/v1/decisions", may.READ_DECISIONS)
    async def search_decisions(call: Call, query: Wanted) -> DecidedPage:
        """The organization's decisions, searched; a decision is found within a second."""
        wanted = Search(
            query.store, query.subject, query.relation, query.object, query.allowed, query.since, query.until
        )
        rows = await search(call.reads, wanted, query.after, query.limit + 1)
        items = [
            Decided(
                row.id,
                iso(row.at),
                row.store,
                row.model,
                row.rev,
                row.subject,
                row.relation,
                row.object,
                bool(row.allowed),
                row.because,
                row.caller,
                row.request,
            )
            for row in rows[: query.limit]
        ]
        return DecidedPage(items, items[-1].id if len(rows) > query.limit else None)

    return (check_access, explain_access, search_decisions)


def _answer(decision: Decision) -> Answer:
    said = decision.verdict.said if decision.verdict else ()
    return Answer(decision.allowed, decision.revision, decision.model, decision.because, said)
