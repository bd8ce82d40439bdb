"""Whom a question is about, before the graph is asked: who of them may act at all, and within which ceilings those that are agents do."""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from tenantry.access.ceiling import Ceiling
from tenantry.access.chain import Actor, Bound, Chain
from tenantry.access.sources import Ceilings, Standing
from tenantry.access.tuples import read_object
from tenantry.core.errors import NotFound
from tenantry.core.ids import is_ulid

PRINCIPALS = {"user": "user", "agent": "agent", "service": "service", "mcp_server": "mcp", "job": "job"}
"""The prefix of the ids of each type of principal. Subjects of other ids are the vendor's own, and have neither standing nor ceilings."""

INACTIVE = "inactive"
"""What decided where the subject may not act at all; of an actor, its id follows."""

_NOTHING = Ceiling(())
"""Of an agent that is unknown here."""


class ActorNotFound(NotFound):
    """Somebody named as an actor is no agent of the organization."""

    code = "actor_not_found"
    sentence = "The organization has no such agent."


class Parties(msgspec.Struct, frozen=True):
    """What is known of the subjects of a question and of those through whom they act."""

    inactive: set[str]
    bounds: Mapping[str, tuple[Bound, ...]]
    actors: tuple[Actor, ...] = ()

    def chain(self, subject: str) -> Chain | None:
        """What bounds a question of this subject; nothing where neither an actor nor a ceiling does."""
        bounds = self.bounds.get(subject, ())
        return Chain(subject, self.actors, bounds) if self.actors or bounds else None

    def idle(self, subject: str) -> list[str]:
        """Who of the chain may not act, the subject first."""
        return [one for one in (subject, *(actor.id for actor in self.actors)) if one in self.inactive]

    def lets(self, subject: str, relation: str, object_: str) -> bool:
        """Whether the subject is active and its ceilings hold the relation to the object."""
        bounds = self.bounds.get(subject, ())
        if subject in self.inactive or not bounds:
            return subject not in self.inactive
        asked = read_object(object_)
        return all(bound.ceiling.allows(asked.type, relation, asked.id) for bound in bounds)


class Acting:
    """What other rooms know of principals. `standing` says who is active, without it all are; without `ceilings` nobody can be an actor."""

    def __init__(self, standing: Standing | None, ceilings: Ceilings | None) -> None:
        self._standing = standing
        self._ceilings = ceilings

    async def parties(self, org: str, subjects: Collection[str], at_least: int, actors: Sequence[str] = ()) -> Parties:
        """Look up everybody; nothing of it is from before the revision `at_least`.

        Raises:
            ActorNotFound: an actor is no agent of the organization.
        """
        principals = {one: id_ for one in (*subjects, *actors) if (id_ := principal_of(one))}
        agents = {one: id_ for one, id_ in principals.items() if id_.startswith("agent_")}
        bounds = await self._bounds(org, agents)
        if any(actor not in bounds for actor in actors):
            raise ActorNotFound
        if self._ceilings is not None:
            bounds = {one: bounds.get(one, (Bound("actor", id_, _NOTHING),)) for one, id_ in agents.items()}
        inactive: set[str] = set()
        if self._standing is not None:
            standing = self._standing
            inactive = {o for o, id_ in principals.items() if not await standing.active(org, id_, at_least=at_least)}
        return Parties(inactive, bounds, tuple(Actor(actor, bounds[actor]) for actor in actors))

    async def _bounds(self, org: str, agents: Mapping[str, str]) -> dict[str, tuple[Bound, ...]]:
        if not agents or self._ceilings is None:
            return {}
        known = await self._ceilings.of(org, set(agents.values()))
        return {one: known[id_] for one, id_ in agents.items() if id_ in known}


def principal_of(subject: str) -> str:
    """The id of the principal that a subject, or an actor by its id alone, is; or nothing."""
    type_, colon, id_ = subject.partition(":")
    prefix, _, rest = (id_ if colon else type_).partition("_")
    known = PRINCIPALS.get(type_) == prefix if colon else prefix in PRINCIPALS.values()
    return f"{prefix}_{rest}" if known and is_ulid(rest) else ""
