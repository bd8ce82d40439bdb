"""A question, admitted by the model and put in numbers."""

import msgspec

from tenantry.access.errors import AccessError
from tenantry.access.graph import RELATION_BITS, WILDCARD, Overlay
from tenantry.access.plan import Plan, Rule
from tenantry.access.tuples import Subject, TupleKey


class Asked(msgspec.Struct, frozen=True):
    """A question in numbers: its node, the rule of it, its subject, the subject's kind, and the wildcard that covers it.

    `everybody` is zero where nothing covers the subject: a userset, or a wildcard itself.
    """

    node: int
    rule: Rule
    subject: int
    kind: int
    everybody: int


def admit(plan: Plan, key: TupleKey) -> tuple[Subject, Subject]:
    """The subject and the object of a question that the model can be asked.

    Raises:
        AccessError: `validation_error`, whatever was wrong, as OpenFGA has it.
    """
    try:
        return plan.vocabulary.check_subject(key.user), plan.vocabulary.check_object(key.object, key.relation)
    except AccessError as error:
        raise AccessError(error.message, hint=error.hint) from error


def ask(plan: Plan, view: Overlay, object_: Subject, relation: str, subject: Subject) -> Asked:
    """The question in numbers."""
    names = plan.names
    node = view.subject(msgspec.structs.replace(object_, relation=relation))
    kind = names.type(subject.type) << RELATION_BITS | (WILDCARD if subject.wildcard else names.relation(subject.relation))
    everybody = 0
    if not subject.wildcard and not subject.relation:
        everybody = view.subject(Subject(subject.type, "*"))
    return Asked(node, plan.rule(object_, relation), view.subject(subject), kind, everybody)
