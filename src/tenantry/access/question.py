"""Who asks, put in numbers, under which circumstances, and what a model can be asked."""

from collections.abc import Mapping

import msgspec

from tenantry.access.conditions import Circumstances
from tenantry.access.errors import AccessError
from tenantry.access.graph import Graph, Overlay, kind_of
from tenantry.access.plan import Plan, Rule
from tenantry.access.tuples import Subject, TupleKey


class Seeker(msgspec.Struct, frozen=True):
    """The subject of a question: its node, its kind, and the node of the wildcard that covers it.

    `everybody` is zero where nothing covers the subject: a userset, or a wildcard itself. `userset` says that it is one,
    which has the relation that it is, and which no rule's `reach` speaks of.
    """

    node: int
    kind: int
    everybody: int
    userset: bool

    @property
    def subjects(self) -> tuple[int, ...]:
        """Whom a tuple must name to name the seeker."""
        return (self.node, self.everybody) if self.everybody else (self.node,)


class Goal(msgspec.Struct, frozen=True):
    """What is sought: the node of an object with a relation, and that relation's rule."""

    node: int
    rule: Rule


class View(Overlay):
    """A graph as one question sees it, or several that are asked in the same circumstances.

    `known` is what was found of the last seeker, for her next question: see `check`.
    """

    def __init__(
        self,
        plan: Plan,
        graph: Graph,
        contextual: tuple[TupleKey, ...] = (),
        context: Mapping[str, object] | None = None,
    ) -> None:
        """Raises what `Vocabulary.admit_all` and `Circumstances` raise for what is sent beside a question."""
        if contextual:
            plan.vocabulary.admit_all(contextual)
        super().__init__(graph, contextual)
        self.plan = plan
        self.circumstances = Circumstances(plan.conditions, context)
        self.known: dict[int, int] = {}
        self.known_of = 0


def admit(plan: Plan, key: TupleKey) -> tuple[Subject, Subject]:
    """The subject and the object of a question that the model can be asked.

    Raises:
        AccessError: `validation_error`, whatever was wrong, as OpenFGA has it.
    """
    return admit_subject(plan, key.user), admit_object(plan, key.object, key.relation)


def admit_subject(plan: Plan, user: str) -> Subject:
    """The subject of a question that the model can be asked.

    Raises:
        AccessError: `validation_error`, as with `admit`.
    """
    try:
        return plan.vocabulary.check_subject(user)
    except AccessError as error:
        raise AccessError(error.message, hint=error.hint) from error


def admit_object(plan: Plan, object_: str, relation: str) -> Subject:
    """The object of a question that the model can be asked.

    Raises:
        AccessError: `validation_error`, as with `admit`.
    """
    try:
        return plan.vocabulary.check_object(object_, relation)
    except AccessError as error:
        raise AccessError(error.message, hint=error.hint) from error


def seeker_of(view: View, subject: Subject) -> Seeker:
    """The subject in numbers."""
    node = view.subject(subject)
    if subject.wildcard or subject.relation:
        return Seeker(node, kind_of(node), 0, bool(subject.relation))
    return Seeker(node, kind_of(node), view.everybody(subject.type), userset=False)


def goal_of(view: View, object_: Subject, relation: str) -> Goal:
    """The relation to the object, in numbers."""
    node = view.subject(object_) | view.names.relation(relation)
    return Goal(node, view.plan.rules[kind_of(node)])
