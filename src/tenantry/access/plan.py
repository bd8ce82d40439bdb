"""A model that stands, compiled: every name a number, and what can be known of a relation before any tuple is read."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from tenantry.access.conditions import Conditions
from tenantry.access.graph import RELATION_BITS, RELATION_MASK, WILDCARD, Names, Tuples, is_userset, kind_of
from tenantry.access.language import Places
from tenantry.access.model import (
    Computed,
    Direct,
    Exclusion,
    Intersection,
    Model,
    Relation,
    Restriction,
    Rewrite,
    Through,
    Type,
    Union,
)
from tenantry.access.tuples import RelationshipCondition, Vocabulary
from tenantry.access.validation import validate

_CLIMBS_KEPT = 256
"""Of how many relations `Plan.climb` is remembered; in the largest models each holds thousands."""


class Assigned(msgspec.Struct, frozen=True):
    """Subjects of the relation's own tuples; those of another kind are overlooked: an older model wrote them.

    `kinds` are those that a tuple may name without a condition, `under` those that it may name under one, with its name.
    """

    kinds: frozenset[int]
    under: frozenset[tuple[int, str]]
    usersets: bool


class Same(msgspec.Struct, frozen=True):
    """Another relation to the same object; its kind, for the type is the same, too."""

    kind: int


class Parents(msgspec.Struct, frozen=True):
    """`relation` to the objects that `tupleset` names, of the kinds that it may name, `under` a condition or without."""

    tupleset: int
    relation: int
    kinds: frozenset[int]
    under: frozenset[tuple[int, str]]


class AnyOf(msgspec.Struct, frozen=True):
    """At least one of the steps."""

    steps: tuple["Step", ...]


class AllOf(msgspec.Struct, frozen=True):
    """Every one of the steps."""

    steps: tuple["Step", ...]


class Without(msgspec.Struct, frozen=True):
    """`base` and not `subtract`."""

    base: "Step"
    subtract: "Step"


Step = Assigned | Same | Parents | AnyOf | AllOf | Without


class Rule(msgspec.Struct, frozen=True):
    """One relation of one type.

    `assignable` holds the kinds that its own tuples may name, under a condition or without, `reach` the types of subjects
    that could ever have it; `union_only` says that nothing below it is an intersection or an exclusion, so that having it is
    a matter of a path alone; `conditional` that a condition may lie on that path; `height` bounds the steps in one another.
    """

    kind: int
    relation: Relation
    step: Step
    assignable: frozenset[int]
    reach: frozenset[int]
    union_only: bool
    conditional: bool
    height: int

    @property
    def certain(self) -> bool:
        """Whether to find a way to the relation is to have it."""
        return self.union_only and not self.conditional


class Rung(msgspec.Struct, frozen=True):
    """What having a relation of this kind leads to, on the way up to another one.

    `computed` holds the relations computed from it on the same object, `children` by the kind of a tupleset those that
    whatever names the object has, and `assignable` says that a tuple may name it as a userset.
    """

    kind: int
    computed: tuple[int, ...]
    children: Mapping[int, tuple[int, ...]]
    assignable: bool


class Plan:
    """A compiled model. It holds no tuples and serves every graph that shares its names."""

    def __init__(self, model: Model, names: Names, rules: Mapping[int, Rule], conditions: Conditions) -> None:
        self.model = model
        self.conditions = conditions
        self.vocabulary = Vocabulary(model)
        self.names = names
        self.rules = rules
        self._climbs: dict[int, dict[int, Rung]] = {}

    def climb(self, kind: int) -> dict[int, Rung]:
        """By kind, every relation that having `kind` may depend on, and what having one of them leads to."""
        known = self._climbs.get(kind)
        if known is None:
            known = _climb(kind, self.rules)
            if len(self._climbs) >= _CLIMBS_KEPT:
                self._climbs.clear()
            self._climbs[kind] = known
        return known


def _climb(kind: int, rules: Mapping[int, Rule]) -> dict[int, Rung]:
    needed = {kind}
    ahead = [kind]
    while ahead:
        new = _below(rules[ahead.pop()], rules) - needed
        needed |= new
        ahead += new
    computed: defaultdict[int, list[int]] = defaultdict(list)
    children: defaultdict[int, defaultdict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for rule in (rules[one] for one in needed):
        type_, relation = rule.kind & ~RELATION_MASK, rule.kind & RELATION_MASK
        for step in flat(rule.step):
            if isinstance(step, Same):
                computed[step.kind].append(relation)
            elif isinstance(step, Parents):
                for parent in named_kinds(step):
                    children[parent | step.relation][type_ | step.tupleset].append(relation)
    named = {kind for one in needed for kind in rules[one].assignable}
    return {
        one: Rung(
            one,
            tuple(computed.get(one, ())),
            {tupleset: tuple(into) for tupleset, into in children.get(one, {}).items()},
            one in named,
        )
        for one in needed
    }


def named_kinds(step: Assigned | Parents) -> frozenset[int]:
    """The kinds that a step's tuples may name, under a condition or without."""
    return step.kinds | {kind for kind, _ in step.under} if step.under else step.kinds


def leads(
    plan: Plan, tuples: Tuples, step: Assigned | Same | Parents, node: int
) -> Iterator[tuple[int, RelationshipCondition | None]]:
    """The nodes that a step of `node` leads to, each with the condition under which it does.

    Those of kinds or under conditions that the model does not let the tuple have are overlooked.
    """
    match step:
        case Assigned():
            for userset in tuples.usersets(node):
                if kind_of(userset) in step.kinds:
                    yield userset, None
            yield from admitted(tuples, step, node, usersets=True)
        case Same(kind):
            yield node & ~RELATION_MASK | kind & RELATION_MASK, None
        case Parents(tupleset, relation, kinds):
            own = node & ~RELATION_MASK | tupleset
            parents = ((parent, None) for parent in tuples.objects(own) if kind_of(parent) in kinds)
            for parent, condition in (*parents, *admitted(tuples, step, own, usersets=False)):
                if kind_of(parent) | relation in plan.rules:
                    yield parent | relation, condition


def named(
    tuples: Tuples, step: Assigned, node: int, subjects: Iterable[int]
) -> Iterator[tuple[int, RelationshipCondition | None]]:
    """Which of the subjects the node's own tuples name, each with the condition under which they do."""
    for subject in subjects:
        if tuples.has(node, subject) and kind_of(subject) in step.kinds:
            yield subject, None
        elif step.under:
            condition = tuples.conditional(node, usersets=is_userset(subject)).get(subject)
            if condition and (kind_of(subject), condition.name) in step.under:
                yield subject, condition


def admitted(
    tuples: Tuples, step: Assigned | Parents, node: int, *, usersets: bool
) -> Iterator[tuple[int, RelationshipCondition]]:
    """The subjects of the node's conditional tuples, of either kind, as far as the model lets them be under that condition."""
    if step.under:
        for subject, condition in tuples.conditional(node, usersets=usersets).items():
            if (kind_of(subject), condition.name) in step.under:
                yield subject, condition


def compile_model(model: Model, names: Names, places: Places | None = None) -> Plan:
    """Compile a model; `places` tells the lines of its faults where it was a text.

    Raises:
        InvalidModel, LimitExceeded: it does not stand (`validation.validate`), or a condition is no CEL.
        ConditionsNotSupported: it has conditions, and the extra that evaluates them is not installed.
    """
    validate(model, places)
    conditions = Conditions(model.conditions)
    drafts: dict[int, Rule] = {}
    for type_ in model.types:
        for relation in type_.relations:
            kind = names.kind(type_.name, relation.name)
            step = _Compiler(type_, relation, names).step(relation.rewrite)
            own = frozenset(_kind(restriction, names) for restriction in relation.restrictions)
            drafts[kind] = Rule(kind, relation, step, own, frozenset(), False, False, _height(step))
    reach = _spread(drafts, _own_reach)
    mixed = _spread(drafts, lambda rule: _marked(isinstance(s, AllOf | Without) for s in flat(rule.step)))
    conditional = _spread(
        drafts, lambda rule: _marked(isinstance(s, Assigned | Parents) and bool(s.under) for s in flat(rule.step))
    )
    rules = {
        kind: msgspec.structs.replace(
            rule, reach=frozenset(reach[kind]), union_only=not mixed[kind], conditional=bool(conditional[kind])
        )
        for kind, rule in drafts.items()
    }
    return Plan(model, names, rules, conditions)


class _Compiler:
    """Compiles the rewrite of one relation."""

    def __init__(self, type_: Type, relation: Relation, names: Names) -> None:
        self.type = type_.name
        self.own = relation.restrictions
        self.restrictions = {r.name: r.restrictions for r in type_.relations}
        self.names = names

    def step(self, rewrite: Rewrite) -> Step:
        match rewrite:
            case Direct():
                return Assigned(*self.admits(self.own), any(r.relation for r in self.own))
            case Computed(name):
                return Same(self.names.kind(self.type, name))
            case Through(name, tupleset):
                admits = self.admits(self.restrictions[tupleset])
                return Parents(self.names.relation(tupleset), self.names.relation(name), *admits)
            case Union(parts):
                return AnyOf(tuple(map(self.step, parts)))
            case Intersection(parts):
                return AllOf(tuple(map(self.step, parts)))
            case Exclusion(base, subtract):
                return Without(self.step(base), self.step(subtract))

    def admits(self, restrictions: tuple[Restriction, ...]) -> tuple[frozenset[int], frozenset[tuple[int, str]]]:
        """The kinds that a tuple may name without a condition, and those that it may name under one."""
        always = frozenset(_kind(r, self.names) for r in restrictions if not r.condition)
        return always, frozenset((_kind(r, self.names), r.condition) for r in restrictions if r.condition)


def _kind(restriction: Restriction, names: Names) -> int:
    type_ = names.type(restriction.type) << RELATION_BITS
    return type_ | (WILDCARD if restriction.wildcard else names.relation(restriction.relation))


def _marked(found: Iterable[bool]) -> set[int]:
    return {1} if any(found) else set()


def flat(step: Step) -> list[Step]:
    """The step and every step in it."""
    return [step, *(inner for part in steps_of(step) for inner in flat(part))]


def steps_of(step: Step) -> tuple[Step, ...]:
    """The steps directly in this one."""
    match step:
        case AnyOf(steps) | AllOf(steps):
            return steps
        case Without(base, subtract):
            return (base, subtract)
        case _:
            return ()


def _height(step: Step) -> int:
    return 1 + max(map(_height, steps_of(step)), default=0)


def _below(rule: Rule, rules: Mapping[int, Rule]) -> set[int]:
    """The kinds of relation that this one is directly made of."""
    below: set[int] = set()
    for step in flat(rule.step):
        match step:
            case Assigned():
                below |= named_kinds(step)
            case Same(kind):
                below.add(kind)
            case Parents(_, relation):
                below |= {parent | relation for parent in named_kinds(step)}
            case _:
                pass
    return below & rules.keys()


def _own_reach(rule: Rule) -> set[int]:
    """The types and wildcards that its own tuples name, and `user` for `user:*`; usersets would be too many to keep."""
    wildcards = {kind for kind in rule.assignable if kind & RELATION_MASK == WILDCARD}
    return (
        {kind for kind in rule.assignable if not kind & RELATION_MASK} | wildcards | {k ^ WILDCARD for k in wildcards}
    )


def _spread(rules: Mapping[int, Rule], own: Callable[[Rule], set[int]]) -> dict[int, set[int]]:
    """What a relation has of its own, and whatever those have that it is made of."""
    found = {kind: own(rule) for kind, rule in rules.items()}
    above: defaultdict[int, set[int]] = defaultdict(set)
    for kind, rule in rules.items():
        for below in _below(rule, rules):
            above[below].add(kind)
    ahead = list(rules)
    while ahead:
        kind = ahead.pop()
        for higher in above[kind]:
            if not found[kind] <= found[higher]:
                found[higher] |= found[kind]
                ahead.append(higher)
    return found
