"""Whether a chain of actors may do something: only where the subject may, and every party of the chain lets it.

A user acts through agents: the subject is decided by the graph, as it stands now; each actor brings ceilings, its own and
its blueprint's; a grant and the organization's policy may bound the whole. An agent that acts for itself is the subject,
and its ceilings bound it. Every party is asked, whatever the others said, so that a denial names all who deny; whoever
comes first in the chain is said to have said no first.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from tenantry.access.ceiling import Ceiling
from tenantry.access.check import check
from tenantry.access.explain import Explanation, explain
from tenantry.access.graph import Graph
from tenantry.access.plan import Plan
from tenantry.access.tuples import TupleKey, read_object
from tenantry.core.errors import Invalid
from tenantry.core.limits import ACT_DEPTH

Kind = Literal["subject", "actor", "blueprint", "grant", "policy"]

_WORDS: dict[Kind, str] = {
    "subject": "what {} may do",
    "actor": "the ceiling of {}",
    "blueprint": "the ceiling of the blueprint {}",
    "grant": "the grant {}",
    "policy": "the organization's policy {}",
}


class Bound(msgspec.Struct, frozen=True):
    """A ceiling and whose it is: `party` is an id, as it is to be told."""

    kind: Literal["actor", "blueprint", "grant", "policy"]
    party: str
    ceiling: Ceiling


class Actor(msgspec.Struct, frozen=True):
    """Somebody through whom the subject acts, with its ceilings: its own, its blueprint's.

    Raises:
        Invalid: it has no ceiling. A missing one would let everything through.
    """

    id: str
    ceilings: tuple[Bound, ...]

    def __post_init__(self) -> None:
        if not self.ceilings:
            raise Invalid(f"{self.id} acts for somebody and has no ceiling.")


class Chain(msgspec.Struct, frozen=True):
    """The subject, those who act for it from the innermost to the outermost, and what bounds all of them.

    Whether a subject that acts for itself must have a ceiling is for the caller to know: to the graph an agent is a name.

    Raises:
        Invalid: more act than a chain may hold (RFC 8693, 4.1 sets no limit; ours is `ACT_DEPTH`).
    """

    subject: str
    actors: tuple[Actor, ...] = ()
    bounds: tuple[Bound, ...] = ()

    def __post_init__(self) -> None:
        if len(self.actors) > ACT_DEPTH:
            raise Invalid(f"A chain of actors is at most {ACT_DEPTH} deep.")

    def every_bound(self) -> tuple[Bound, ...]:
        """In the order in which they are asked."""
        return (*(bound for actor in self.actors for bound in actor.ceilings), *self.bounds)


class Said(msgspec.Struct, frozen=True):
    """What one party said."""

    kind: Kind
    party: str
    allowed: bool

    def __str__(self) -> str:
        return _WORDS[self.kind].format(self.party)


class Verdict(msgspec.Struct, frozen=True):
    """The answer, and what every party said, in the order of the chain."""

    said: tuple[Said, ...]

    @property
    def allowed(self) -> bool:
        """Whether all said yes."""
        return all(said.allowed for said in self.said)

    @property
    def denials(self) -> tuple[Said, ...]:
        """Who said no, the first of them first."""
        return tuple(said for said in self.said if not said.allowed)

    def sentence(self, relation: str, object_: str, why: str = "") -> str:
        """The answer in plain words, with every party that said no; `why` says why the subject may not, where it is known."""
        subject, *bounds = self.said
        asked = f"{subject.party} has {relation} to {object_}"
        if self.allowed:
            return f"Yes: {asked}, and {_listed(bounds, 'lets it', 'let it') or 'nothing else is asked'}."
        against = _listed([bound for bound in bounds if not bound.allowed], "does not allow it", "do not allow it")
        if subject.allowed:
            return f"No: {asked}, but {against}."
        return f"{why or f'No: nothing says that {asked}.'}{f' Besides, {against}.' if against else ''}"


class ChainExplanation(msgspec.Struct, frozen=True):
    """A verdict with its reasons: who said no in plain words, and what the graph says of the subject."""

    verdict: Verdict
    because: str
    subject: Explanation


def decide(
    plan: Plan,
    graph: Graph,
    chain: Chain,
    relation: str,
    object_: str,
    contextual: tuple[TupleKey, ...] = (),
    context: Mapping[str, object] | None = None,
) -> Verdict:
    """Ask every party.

    Raises:
        AccessError: as `check`, for the subject; nothing is permitted.
    """
    subject = check(plan, graph, TupleKey(chain.subject, relation, object_), contextual, context)
    return bounded(chain, relation, object_, subject=subject)


def bounded(chain: Chain, relation: str, object_: str, *, subject: bool) -> Verdict:
    """The verdict, where it is decided already whether the subject may.

    Raises:
        AccessError: the object is malformed.
    """
    asked = read_object(object_)
    bounds = (
        Said(bound.kind, bound.party, bound.ceiling.allows(asked.type, relation, asked.id))
        for bound in chain.every_bound()
    )
    return Verdict((Said("subject", chain.subject, subject), *bounds))


def explain_chain(
    plan: Plan,
    graph: Graph,
    chain: Chain,
    relation: str,
    object_: str,
    contextual: tuple[TupleKey, ...] = (),
    context: Mapping[str, object] | None = None,
    visible: Callable[[str], bool] | None = None,
) -> ChainExplanation:
    """Explain what `decide` says; `visible` as with `explain`.

    Raises:
        AccessError: as `explain`.
    """
    subject = explain(plan, graph, TupleKey(chain.subject, relation, object_), contextual, context, visible)
    verdict = bounded(chain, relation, object_, subject=subject.allowed)
    return ChainExplanation(verdict, verdict.sentence(relation, object_, subject.because), subject)


def _listed(said: list[Said], one: str, many: str) -> str:
    return f"{' and '.join(map(str, said))} {one if len(said) == 1 else many}" if said else ""
