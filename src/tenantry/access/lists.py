"""Which objects a subject has a relation to, and who has a relation to an object: complete, or an error.

A list names exactly those for which `check` says yes. Walking backwards (objects) or downwards (users) finds everything
that could be one; where only unions lie between, finding it proves it, and elsewhere each is checked. Nothing is cut: a
list that would hold more than it may is refused, and so is one of which a member cannot be decided.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

from tenantry.access.check import holds
from tenantry.access.errors import LimitExceeded
from tenantry.access.graph import KIND_MASK, RELATION_MASK, WILDCARD, Graph, Tuples, kind_of
from tenantry.access.limits import HOPS_MAX, LIST_MAX
from tenantry.access.plan import Assigned, Parents, Plan, Rule, Same, flat, leads
from tenantry.access.question import Goal, Seeker, View, admit_subject, goal_of, seeker_of
from tenantry.access.tuples import TupleKey, read_subject


def list_objects(
    plan: Plan,
    graph: Graph,
    user: str,
    relation: str,
    type_: str,
    contextual: tuple[TupleKey, ...] = (),
    context: Mapping[str, object] | None = None,
) -> list[str]:
    """Every object of the type to which `user` has the relation, in the order of their names.

    Raises:
        TypeNotFound, RelationNotFound: the model has no such type or relation.
        AccessError: the user is malformed or unknown to the model.
        InvalidTuple: a contextual tuple is not admitted.
        LimitExceeded: there are more than a list may hold.
        ConditionFailed, DepthExceeded, TooComplex: one of them cannot be decided.
    """
    return _complete(find_objects(plan, graph, user, relation, type_, contextual, context))


def list_users(
    plan: Plan,
    graph: Graph,
    object_: str,
    relation: str,
    filter_: str,
    contextual: tuple[TupleKey, ...] = (),
    context: Mapping[str, object] | None = None,
) -> list[str]:
    """Every user of the kind `filter_` (`user` or `group#member`) who has the relation, in the order of their names.

    Where a wildcard has it, it is listed as `user:*`; whoever has it through the wildcard alone and is named in no tuple
    that matters is not listed beside it.

    Raises:
        TypeNotFound, RelationNotFound: the model has no such type or relation, in the question or the filter.
        AccessError: the object is malformed.
        InvalidTuple: a contextual tuple is not admitted.
        LimitExceeded: there are more than a list may hold.
        ConditionFailed, DepthExceeded, TooComplex: one of them cannot be decided.
    """
    return _complete(find_users(plan, graph, object_, relation, filter_, contextual, context))


def find_objects(
    plan: Plan,
    graph: Graph,
    user: str,
    relation: str,
    type_: str,
    contextual: tuple[TupleKey, ...] = (),
    context: Mapping[str, object] | None = None,
    tick: Callable[[], None] | None = None,
) -> Iterator[str]:
    """The same one by one, in no order, as they are found; the graph may not change until the last is taken.

    The question is admitted before the first is asked for. `tick` is called at every node that is looked at, found or not, so that
    whoever lists can put an end to it by raising.
    """
    plan.vocabulary.relation(type_, relation)
    view = View(plan, graph, contextual, context)
    subject = admit_subject(plan, user)
    return _objects(view, seeker_of(view, subject), plan.rules[plan.names.kind(type_, relation)], tick or _on)


def find_users(
    plan: Plan,
    graph: Graph,
    object_: str,
    relation: str,
    filter_: str,
    contextual: tuple[TupleKey, ...] = (),
    context: Mapping[str, object] | None = None,
    tick: Callable[[], None] | None = None,
) -> Iterator[str]:
    """The same one by one, in no order, as they are found; the graph may not change until the last is taken.

    The question is admitted before the first is asked for. `tick` is called at every node that is looked at, found or not, so that
    whoever lists can put an end to it by raising.
    """
    view = View(plan, graph, contextual, context)
    filter_type, _, filter_relation = filter_.partition("#")
    plan.vocabulary.type(filter_type)
    if filter_relation:
        plan.vocabulary.relation(filter_type, filter_relation)
    target = plan.vocabulary.check_object(object_, relation)
    return _users(view, goal_of(view, target, relation), plan.names.kind(filter_type, filter_relation), tick or _on)


def _on() -> None:
    """Nobody wants to put an end to it."""


def _complete(found: Iterator[str]) -> list[str]:
    listed: list[str] = []
    for one in found:
        if len(listed) == LIST_MAX:
            raise LimitExceeded(f"The number of entries exceeds the allowed limit of {LIST_MAX}: ask for fewer.")
        listed.append(one)
    return sorted(listed)


def _objects(view: View, seeker: Seeker, rule: Rule, tick: Callable[[], None]) -> Iterator[str]:
    for node, hops in _upwards(view, seeker, rule, tick):
        certain = rule.certain and hops <= HOPS_MAX
        if certain or holds(view, seeker, Goal(node, rule)):
            yield view.text(node & ~RELATION_MASK)


def _upwards(view: View, seeker: Seeker, rule: Rule, tick: Callable[[], None]) -> Iterator[tuple[int, int]]:
    """Every node of the rule that the seeker could be in, with the distance in objects at which it was found first.

    Depth first, so that whoever asks for the first few does not pay for all that the seeker is in.
    """
    plan, tuples = view.plan, view.tuples
    climb = plan.climb(rule.kind)
    seen: set[int] = set()
    own = [_assigned_to(plan, tuples, subject, kind) for subject, kind in _sought(seeker)]
    ahead: list[tuple[Iterator[int], int]] = [(chain((seeker.node,) if seeker.userset else (), *own), 0)]
    while ahead:
        nodes, hops = ahead[-1]
        node = next(nodes, None)
        if node is None:
            ahead.pop()
            continue
        step = climb.get(node & KIND_MASK)
        if step is None or node in seen:
            continue
        seen.add(node)
        tick()
        if step.kind == rule.kind:
            yield node, hops
        if step.computed:
            ahead.append((iter([node & ~RELATION_MASK | into for into in step.computed]), hops))
        if step.children:
            ahead.append((_children(plan, tuples, node & ~RELATION_MASK, step.children), hops + 1))
        if step.assignable:
            ahead.append((_assigned_to(plan, tuples, node, step.kind), hops + 1))


def _sought(seeker: Seeker) -> Iterator[tuple[int, int]]:
    """Whom a tuple must name to name the seeker, with the kind."""
    yield seeker.node, seeker.kind
    if seeker.everybody:
        yield seeker.everybody, seeker.kind | WILDCARD


def _assigned_to(plan: Plan, tuples: Tuples, subject: int, kind: int) -> Iterator[int]:
    """The nodes whose own tuples name the subject, where the model lets them."""
    for node in _holders(plan, tuples, subject):
        rule = plan.rules.get(kind_of(node))
        if rule and kind in rule.assignable:
            yield node


def _children(plan: Plan, tuples: Tuples, parent: int, into: Mapping[int, tuple[int, ...]]) -> Iterator[int]:
    """The nodes that have subjects of the parent's through a tupleset that names it; `into` by the tupleset's kind."""
    for child in _holders(plan, tuples, parent):
        for relation in into.get(child & KIND_MASK, ()):
            yield child & ~RELATION_MASK | relation


def _holders(plan: Plan, tuples: Tuples, subject: int) -> Iterable[int]:
    """The nodes that have a tuple with this subject, under whatever condition."""
    if plan.vocabulary.conditions:
        return chain(tuples.holders(subject), tuples.conditional_holders(subject))
    return tuples.holders(subject)


def _users(view: View, goal: Goal, wanted: int, tick: Callable[[], None]) -> Iterator[str]:
    for subject, hops in _downwards(view, goal.node, wanted, tick):
        tick()
        text = view.text(subject)
        certain = goal.rule.certain and hops <= HOPS_MAX
        if certain or holds(view, seeker_of(view, read_subject(text)), goal):
            yield text


def _downwards(view: View, node: int, wanted: int, tick: Callable[[], None]) -> Iterator[tuple[int, int]]:
    """Every subject of the wanted kind, and its wildcard, that a tuple at or below the node names, with its distance."""
    seen: set[int] = set()
    named: set[int] = set()
    level, hops = [node], 0
    while level:
        further: list[int] = []
        while level:
            here = level.pop()
            rule = view.plan.rules.get(kind_of(here))
            if here in seen or rule is None:
                continue
            seen.add(here)
            tick()
            itself = [here] if rule.kind == wanted else []
            for subject in (*_named(view, here, rule, wanted), *itself):
                if subject not in named:
                    named.add(subject)
                    yield subject, hops
            for step in flat(rule.step):
                if isinstance(step, Assigned | Same | Parents):
                    ahead = level if isinstance(step, Same) else further
                    ahead += (target for target, _ in leads(view.plan, view, step, here))
        level, hops = further, hops + 1


def _named(view: View, node: int, rule: Rule, wanted: int) -> list[int]:
    """The subjects of the wanted kind, and its wildcard, that the node's own tuples name, under whatever condition."""
    either = ({wanted} if wanted & RELATION_MASK else {wanted, wanted | WILDCARD}) & rule.assignable
    if not either:
        return []
    usersets = bool(wanted & RELATION_MASK)
    plain = view.usersets(node) if usersets else view.objects(node)
    return [subject for subject in (*plain, *view.conditional(node, usersets=usersets)) if kind_of(subject) in either]
