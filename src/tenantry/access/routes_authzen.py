"""AuthZEN's Authorization API 1.0: evaluation, evaluations, the searches, and where they are found.

The store is the one that the header `Tenantry-Store` names; without it the organization's only one. An answer is a decision with status 200
also where it is a denial; a question that cannot be answered is refused, and that is no permission.
"""

import hashlib
from urllib.parse import urlsplit

import msgspec

from tenantry.access import authzen as z
from tenantry.access import permissions as may
from tenantry.access.batch import Item
from tenantry.access.continuation import Listing
from tenantry.access.decisions import At, Decision
from tenantry.access.errors import AccessError, TypeNotFound
from tenantry.access.limits import BATCH_MAX_CHECKS
from tenantry.access.routes_decide import LIMITS
from tenantry.access.service import Service, asking_of, at_of, tell
from tenantry.access.stores import store_of
from tenantry.access.tuples import TupleKey
from tenantry.core.errors import Invalid
from tenantry.web import PUBLIC, Call, Dialect, Route, route

REQUEST_ID = "X-Request-Id"
REQUEST_ID_MAX_CHARACTERS = 128
WELL_KNOWN = "/.well-known/authzen-configuration"
_PARTIAL = z.Evaluated(False, z.DecisionContext(error=z.Failure(400, "It has no subject, action or resource.")))


def authzen_routes(service: Service) -> tuple[Route, ...]:
    """The routes of the standard."""
    return (*_evaluation_routes(service), *_search_routes(service), _metadata_route(service.issuer))


def _evaluation_routes(service: Service) -> tuple[Route, ...]:
    async def evaluate(call: Call, asked: z.Evaluation, at: At) -> Decision:
        decision = await service.decisions.check(
            call.scope, _store(call), asked.key(), context=asked.known(), at=at, asking=asking_of(call)
        )
        tell(call, decision.revision, decision.model)
        return decision

    async def evaluate_all(call: Call, wholes: list[z.Evaluation], at: At) -> list[z.Evaluated]:
        items = [Item(str(n), one.key(), (), one.known()) for n, one in enumerate(wholes)]
        if not items:
            return []
        answers = await service.decisions.batch_check(call.scope, _store(call), items, at=at, asking=asking_of(call))
        return [_evaluated(answer) for answer in answers.values()]

    @route("POST", "/access/v1/evaluation", may.CHECK_NAMED, asks=True, limits=LIMITS, dialect=Dialect.AUTHZEN)
    async def evaluate_access(call: Call, body: z.Evaluation) -> z.Evaluated:
        """Whether a subject may do an action to a resource."""
        _echo(call)
        return _evaluated(await evaluate(call, body, await at_of(call, "", newest=False)))

    @route("POST", "/access/v1/evaluations", may.CHECK_NAMED, asks=True, limits=LIMITS, dialect=Dialect.AUTHZEN)
    async def evaluate_accesses(call: Call, body: z.Evaluations) -> z.AllEvaluated:
        """Many questions, all of them or until one is decided as `options` say; without `evaluations`, one."""
        _echo(call)
        at = await at_of(call, "", newest=False)
        if not body.evaluations:
            whole = body.within(body)
            if whole is None:
                raise Invalid("A question has a subject, an action and a resource.")
            one = _evaluated(await evaluate(call, whole, at))
            return z.AllEvaluated(decision=one.decision, context=one.context)
        asked = [one.within(body) for one in body.evaluations]
        if body.options.evaluations_semantic == "execute_all":
            answers = iter(await evaluate_all(call, [one for one in asked if one is not None], at))
            return z.AllEvaluated([_PARTIAL if one is None else next(answers) for one in asked])
        evaluated: list[z.Evaluated] = []
        for one in asked:
            evaluated += [_PARTIAL] if one is None else await evaluate_all(call, [one], at)
            if body.options.ends(evaluated[-1].decision):
                break
        return z.AllEvaluated(evaluated)

    return (evaluate_access, evaluate_accesses)


def _search_routes(service: Service) -> tuple[Route, ...]:
    decisions = service.decisions

    async def page(
        call: Call, search: str, body: z.SubjectSearch | z.ResourceSearch | z.ActionSearch, found: list[str]
    ) -> tuple[list[str], z.Next]:
        question = msgspec.json.encode(msgspec.structs.replace(body, page=z.Page()), order="sorted")
        listing = Listing(call.scope.org, _store(call), search, (hashlib.sha256(question).hexdigest(),))
        last = await service.continuation.position(listing, body.page.token)
        left = [one for one in found if not last or one > last[0]]
        shown = left[: body.page.limit]
        more = len(left) > len(shown)
        return shown, z.Next(await service.continuation.token(listing, [shown[-1]]) if more else "")

    @route("POST", "/access/v1/search/subject", may.CHECK_NAMED, asks=True, limits=LIMITS, dialect=Dialect.AUTHZEN)
    async def search_subjects(call: Call, body: z.SubjectSearch) -> z.Found:
        """Who of a type may do an action to a resource; more than a list may hold are an error."""
        _echo(call)
        listed = await decisions.list_users(
            call.scope,
            _store(call),
            str(body.resource),
            body.action.name,
            body.subject.type,
            context=z.known(body.context, subject=body.subject, action=body.action, resource=body.resource),
            at=await at_of(call, "", newest=False),
            asking=asking_of(call),
        )
        tell(call, listed.revision, listed.model)
        shown, next_ = await page(call, "subjects", body, listed.items)
        return z.Found([z.Named.of(one) for one in shown], next_)

    @route("POST", "/access/v1/search/resource", may.CHECK_NAMED, asks=True, limits=LIMITS, dialect=Dialect.AUTHZEN)
    async def search_resources(call: Call, body: z.ResourceSearch) -> z.Found:
        """To which resources of a type a subject may do an action; more than a list may hold are an error."""
        _echo(call)
        listed = await decisions.list_objects(
            call.scope,
            _store(call),
            str(body.subject),
            body.action.name,
            body.resource.type,
            context=z.known(body.context, subject=body.subject, action=body.action, resource=body.resource),
            at=await at_of(call, "", newest=False),
            asking=asking_of(call),
        )
        tell(call, listed.revision, listed.model)
        shown, next_ = await page(call, "resources", body, listed.items)
        return z.Found([z.Named.of(one) for one in shown], next_)

    @route("POST", "/access/v1/search/action", may.CHECK_NAMED, asks=True, limits=LIMITS, dialect=Dialect.AUTHZEN)
    async def search_actions(call: Call, body: z.ActionSearch) -> z.ActionsFound:
        """What a subject may do to a resource: the relations of its type that the subject has."""
        _echo(call)
        model, relations = await _relations(service, call, body.resource.type)
        known = z.known(body.context, subject=body.subject, resource=body.resource)
        at = await at_of(call, model, newest=False)
        found: list[str] = []
        for first in range(0, len(relations), BATCH_MAX_CHECKS):
            named = relations[first : first + BATCH_MAX_CHECKS]
            items = [
                Item(str(n), TupleKey(str(body.subject), name, str(body.resource)), (), known)
                for n, name in enumerate(named)
            ]
            answers = await decisions.batch_check(call.scope, _store(call), items, at=at, asking=asking_of(call))
            decided = [_decided(answer) for answer in answers.values()]
            found += [name for name, decision in zip(named, decided, strict=True) if decision.allowed]
            at = At(decided[-1].model, decided[-1].revision)
        tell(call, at.revision, at.model)
        shown, next_ = await page(call, "actions", body, found)
        return z.ActionsFound([z.ActionNamed(one) for one in shown], next_)

    return (search_subjects, search_resources, search_actions)


def _metadata_route(issuer: str) -> Route:
    base, path = issuer.rstrip("/"), urlsplit(issuer).path.rstrip("/")
    about = z.Metadata(
        policy_decision_point=issuer,
        access_evaluation_endpoint=f"{base}/access/v1/evaluation",
        access_evaluations_endpoint=f"{base}/access/v1/evaluations",
        search_subject_endpoint=f"{base}/access/v1/search/subject",
        search_resource_endpoint=f"{base}/access/v1/search/resource",
        search_action_endpoint=f"{base}/access/v1/search/action",
    )

    @route("GET", f"{WELL_KNOWN}{path}", PUBLIC, dialect=Dialect.AUTHZEN)
    async def get_authzen_configuration(call: Call) -> z.Metadata:
        """Where decisions are asked for, in AuthZEN's words."""
        del call
        return about

    return get_authzen_configuration


async def _relations(service: Service, call: Call, type_: str) -> tuple[str, list[str]]:
    """The model that the store has now, and the relations of one of its types, in the order of their names."""
    model, plan = await service.models.plan(await store_of(call.reads, _store(call)))
    for known in plan.model.types:
        if known.name == type_:
            return model, sorted(relation.name for relation in known.relations)
    raise TypeNotFound(f"type '{type_}' not found")


def _store(call: Call) -> str:
    """The store that the caller was admitted to, which nothing in the question can change."""
    return call.on.removeprefix("store:")


def _evaluated(answer: Decision | AccessError) -> z.Evaluated:
    if isinstance(answer, AccessError):
        return z.Evaluated(False, z.DecisionContext(error=z.Failure(400, str(answer))))
    if answer.allowed or not answer.because:
        return z.Evaluated(answer.allowed)
    return z.Evaluated(False, z.DecisionContext(reason=answer.because))


def _decided(answer: Decision | AccessError) -> Decision:
    """The decision.

    Raises:
        AccessError: there is none, and a list without it would not be complete.
    """
    if isinstance(answer, AccessError):
        raise answer
    return answer


def _echo(call: Call) -> None:
    """The answer carries the id that whoever asks gave its request."""
    given = call.headers.get(REQUEST_ID.lower(), "")
    if given and len(given) <= REQUEST_ID_MAX_CHARACTERS and given.isascii() and given.isprintable():
        call.answer_headers[REQUEST_ID] = given
