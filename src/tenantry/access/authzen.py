"""What AuthZEN's Authorization API 1.0 takes and gives, as types, and what it means here.

| there | here |
|---|---|
| subject, resource `{type, id}` | `type:id` |
| action `{name}` | the relation |
| context | the context of conditions |
| `properties` of the subject, action, resource | context, too: `subject_…`, `action_…`, `resource_…` |

Members that are not named here are ignored, as the standard wants; a name or id that no tuple could have is refused.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tenantry.access.continuation import TOKEN_MAX_CHARACTERS
from tenantry.access.limits import BATCH_MAX_CHECKS, LIST_MAX
from tenantry.access.tuples import TupleKey, read_subject

_NAME = r"^[^:#@*\s\x00-\x1f\x7f-\x9f]+(?!\n)$"
_ID = r"^(?!\*$)[^:#\s\x00-\x1f\x7f-\x9f]+(?!\n)$"
TypeName = Annotated[str, Meta(pattern=_NAME, max_length=254)]
RelationName = Annotated[str, Meta(pattern=_NAME, max_length=50)]
Id = Annotated[str, Meta(pattern=_ID, max_length=512)]
Properties = dict[str, Any] | None


class Entity(msgspec.Struct, frozen=True):
    """A subject or a resource."""

    type: TypeName
    id: Id
    properties: Properties = None

    def __str__(self) -> str:
        return f"{self.type}:{self.id}"


class Kind(msgspec.Struct, frozen=True):
    """The subjects or resources that are looked for; an `id` is ignored."""

    type: TypeName
    properties: Properties = None


class Action(msgspec.Struct, frozen=True):
    """What is to be done."""

    name: RelationName
    properties: Properties = None


class Evaluation(msgspec.Struct, frozen=True):
    """One question."""

    subject: Entity
    action: Action
    resource: Entity
    context: Properties = None

    def key(self) -> TupleKey:
        """The question as the engine knows it."""
        return TupleKey(str(self.subject), self.action.name, str(self.resource))

    def known(self) -> dict[str, Any] | None:
        """What conditions may know of it."""
        return known(self.context, subject=self.subject, action=self.action, resource=self.resource)


class Part(msgspec.Struct, frozen=True):
    """One question of many; what it leaves out is said for all."""

    subject: Entity | UnsetType = UNSET
    action: Action | UnsetType = UNSET
    resource: Entity | UnsetType = UNSET
    context: Properties | UnsetType = UNSET

    def within(self, all_: "Evaluations") -> Evaluation | None:
        """The question, if it is whole."""
        subject = all_.subject if isinstance(self.subject, UnsetType) else self.subject
        action = all_.action if isinstance(self.action, UnsetType) else self.action
        resource = all_.resource if isinstance(self.resource, UnsetType) else self.resource
        context = all_.context if isinstance(self.context, UnsetType) else self.context
        if isinstance(subject, UnsetType) or isinstance(action, UnsetType) or isinstance(resource, UnsetType):
            return None
        return Evaluation(subject, action, resource, None if isinstance(context, UnsetType) else context)


class Options(msgspec.Struct, frozen=True):
    """How many questions are gone through."""

    evaluations_semantic: Literal["execute_all", "deny_on_first_deny", "permit_on_first_permit"] = "execute_all"

    def ends(self, decision: bool) -> bool:
        """Whether nothing more is asked after this decision."""
        return self.evaluations_semantic == ("permit_on_first_permit" if decision else "deny_on_first_deny")


class Evaluations(Part, frozen=True):
    """Many questions, with what is the same for all; without any, one question."""

    evaluations: Annotated[tuple[Part, ...], Meta(max_length=BATCH_MAX_CHECKS)] = ()
    options: Options = Options()


class Page(msgspec.Struct, frozen=True):
    """Which page of what was found."""

    token: Annotated[str, Meta(max_length=TOKEN_MAX_CHARACTERS)] = ""
    limit: Annotated[int, Meta(ge=1, le=LIST_MAX)] = LIST_MAX


class SubjectSearch(msgspec.Struct, frozen=True):
    """Who may."""

    subject: Kind
    action: Action
    resource: Entity
    context: Properties = None
    page: Page = Page()


class ResourceSearch(msgspec.Struct, frozen=True):
    """On what."""

    subject: Entity
    action: Action
    resource: Kind
    context: Properties = None
    page: Page = Page()


class ActionSearch(msgspec.Struct, frozen=True):
    """What somebody may do."""

    subject: Entity
    resource: Entity
    context: Properties = None
    page: Page = Page()


class Failure(msgspec.Struct, frozen=True):
    """Why a question of many has no answer."""

    status: int
    message: str


class DecisionContext(msgspec.Struct, frozen=True, omit_defaults=True):
    """More about a decision: the reason of a denial that is not the tuples', or why there was no answer."""

    reason: str | UnsetType = UNSET
    error: Failure | UnsetType = UNSET


class Evaluated(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer."""

    decision: bool
    context: DecisionContext | UnsetType = UNSET


class AllEvaluated(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answers in the order of the questions, as far as these were asked; or the one answer where there was one question."""

    evaluations: list[Evaluated] | UnsetType = UNSET
    decision: bool | UnsetType = UNSET
    context: DecisionContext | UnsetType = UNSET


class Next(msgspec.Struct, frozen=True):
    """Where the list goes on; empty at its end."""

    next_token: str


class Named(msgspec.Struct, frozen=True):
    """Something that was found; a subject whose id is `*` is everybody of the type."""

    type: str
    id: str

    @classmethod
    def of(cls, text: str) -> "Named":
        """The same, taken apart."""
        found = read_subject(text)
        return cls(found.type, found.id)


class ActionNamed(msgspec.Struct, frozen=True):
    """An action that was found."""

    name: str


class Found(msgspec.Struct, frozen=True):
    """Subjects or resources."""

    results: list[Named]
    page: Next


class ActionsFound(msgspec.Struct, frozen=True):
    """Actions."""

    results: list[ActionNamed]
    page: Next


class Metadata(msgspec.Struct, frozen=True):
    """Where this decision point is asked."""

    policy_decision_point: str
    access_evaluation_endpoint: str
    access_evaluations_endpoint: str
    search_subject_endpoint: str
    search_resource_endpoint: str
    search_action_endpoint: str


def known(context: Properties, **parties: Entity | Kind | Action) -> dict[str, Any] | None:
    """What conditions may know of a question; what its context says goes before what properties say."""
    said = {
        f"{party}_{name}": value for party, one in parties.items() for name, value in (one.properties or {}).items()
    }
    return {**said, **(context or {})} or None
