"""The relationship tuples of one organization in one application, in memory, walkable in both directions.

Everything is a number. A **node**, an object with a relation, is `object << 32 | type << 16 | relation`, and a subject is a
node too: relation 0 is the object itself, `WILDCARD` stands for `type:*`, any other for the userset. So a tuple is a pair of
nodes, and what is asked of a userset needs no translation. The lower half of a node is its **kind**: what a model's
restrictions speak of.

A tuple under a condition is kept apart from those that always count: whoever does not ask for it never sees it.

Ones that do not occur in any tuple have no number; an `Overlay` gives them one below zero, for one question, and holds its
contextual tuples. A graph belongs to one thread; what is read may not be kept over a change.
"""

from array import array
from collections.abc import Collection, Mapping
from typing import Protocol, TypeAlias

from tenantry.access.errors import LimitExceeded
from tenantry.access.limits import RELATIONS_MAX, TYPES_MAX
from tenantry.access.tuples import RelationshipCondition, Subject, TupleKey, read_object, read_subject

RELATION_BITS = 16
RELATION_MASK = 0xFFFF
WILDCARD = RELATION_MASK
KIND_BITS = 32
KIND_MASK = 0xFFFF_FFFF

_SET_FROM = 32
"""Up to here an array is as quick to search as a set, and a tenth of its size."""

_Bag: TypeAlias = "int | array[int] | set[int]"
Conditional: TypeAlias = Mapping[int, RelationshipCondition]

_NONE: Conditional = {}


def kind_of(node: int) -> int:
    """The kind of a subject or node."""
    return node & KIND_MASK


def is_userset(node: int) -> bool:
    """Whether a subject is a userset: neither an object nor a wildcard."""
    return 0 < node & RELATION_MASK < WILDCARD


class Names:
    """The numbers of an application's types and relations; they only grow, and every graph of the application shares them."""

    def __init__(self) -> None:
        self._types: dict[str, int] = {}
        self._relations: dict[str, int] = {"": 0}
        self.type_names: list[str] = []
        self.relation_names: list[str] = [""]

    def type(self, name: str) -> int:
        """The number of a type, new or known.

        Raises:
            LimitExceeded: the application has used up its numbers.
        """
        number = self._types.get(name)
        if number is None:
            number = len(self._types)
            if number > TYPES_MAX:
                raise LimitExceeded(f"The number of types exceeds the allowed limit of {TYPES_MAX}")
            self._types[name] = number
            self.type_names.append(name)
        return number

    def relation(self, name: str) -> int:
        """The number of a relation, new or known.

        Raises:
            LimitExceeded: the application has used up its numbers.
        """
        number = self._relations.get(name)
        if number is None:
            number = len(self._relations)
            if number > RELATIONS_MAX:
                raise LimitExceeded(f"The number of relations exceeds the allowed limit of {RELATIONS_MAX}")
            self._relations[name] = number
            self.relation_names.append(name)
        return number

    def kind(self, type_: str, relation: str = "") -> int:
        """The kind of `type` or `type#relation`."""
        return self.type(type_) << RELATION_BITS | self.relation(relation)


class Tuples(Protocol):
    """What an answer is read from: a graph, or a graph with a question's own tuples over it."""

    names: Names

    def has(self, node: int, subject: int) -> bool:
        """Whether exactly this tuple is there, without a condition."""
        ...

    def objects(self, node: int) -> Collection[int]:
        """The subjects of the node's tuples that are objects or wildcards; of those without a condition."""
        ...

    def usersets(self, node: int) -> Collection[int]:
        """The subjects of the node's tuples that are usersets; of those without a condition."""
        ...

    def conditional(self, node: int, *, usersets: bool) -> Conditional:
        """The subjects of the node's tuples that are under a condition: usersets, or objects and wildcards."""
        ...

    def holders(self, subject: int) -> Collection[int]:
        """The nodes that have a tuple with this subject, without a condition."""
        ...

    def conditional_holders(self, subject: int) -> Collection[int]:
        """The nodes that have a tuple with this subject, under a condition."""
        ...

    def text(self, subject: int) -> str:
        """A subject or node as text."""
        ...


class Graph:
    """Tuples as dictionaries of numbers; adding, removing and asking for one is O(1)."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.size = 0
        # The nodes of objects alone: as the subject of tuples each is one and the same integer in memory, not one a tuple.
        self._nodes: dict[str, int] = {}
        # Number 0 is nobody's, so that a node is never zero.
        self._texts: list[str] = [""]
        self._objects: dict[int, _Bag] = {}
        self._usersets: dict[int, _Bag] = {}
        self._holders: dict[int, _Bag] = {}
        self._conditional_objects: dict[int, dict[int, RelationshipCondition]] = {}
        self._conditional_usersets: dict[int, dict[int, RelationshipCondition]] = {}
        self._conditional_holders: dict[int, _Bag] = {}
        # Many tuples are under the same condition with the same context, which is kept once.
        self._conditions: dict[RelationshipCondition, RelationshipCondition] = {}

    def add(self, key: TupleKey) -> bool:
        """Add a tuple; false if it is there, under whatever condition. The model is not asked: see `tuples.Vocabulary.admit`."""
        subject = read_subject(key.user)
        node = self._node(read_object(key.object)) | self.names.relation(key.relation)
        user = self._node(subject)
        if subject.relation:
            user |= self.names.relation(subject.relation)
        usersets = bool(subject.relation)
        if self.has(node, user) or user in self.conditional(node, usersets=usersets):
            return False
        if key.condition:
            condition = self._conditions.setdefault(key.condition, key.condition)
            table = self._conditional_usersets if usersets else self._conditional_objects
            table.setdefault(node, {})[user] = condition
            _put(self._conditional_holders, user, node)
        else:
            _put(self._usersets if usersets else self._objects, node, user)
            _put(self._holders, user, node)
        self.size += 1
        return True

    def remove(self, key: TupleKey) -> bool:
        """Remove a tuple, whatever its condition; false if it is not there. Numbers stay."""
        subject = read_subject(key.user)
        object_, of = self.node(key.object), self.node(subject.object)
        if object_ is None or of is None:
            return False
        node = object_ | self.names.relation(key.relation)
        user = of | self.names.relation(subject.relation)
        usersets = bool(subject.relation)
        if user in self.conditional(node, usersets=usersets):
            table = self._conditional_usersets if usersets else self._conditional_objects
            del table[node][user]
            if not table[node]:
                del table[node]
            _drop(self._conditional_holders, user, node)
        elif self.has(node, user):
            _drop(self._usersets if usersets else self._objects, node, user)
            _drop(self._holders, user, node)
        else:
            return False
        self.size -= 1
        return True

    def node(self, object_: str) -> int | None:
        """The node of an object or wildcard as a subject, if a tuple has ever named it; `| relation` makes another of it."""
        return self._nodes.get(object_)

    def has(self, node: int, subject: int) -> bool:
        bag = (self._usersets if 0 < subject & RELATION_MASK < WILDCARD else self._objects).get(node)
        if bag is None:
            return False
        return bag == subject if isinstance(bag, int) else subject in bag

    def objects(self, node: int) -> Collection[int]:
        return _all(self._objects.get(node))

    def usersets(self, node: int) -> Collection[int]:
        return _all(self._usersets.get(node))

    def conditional(self, node: int, *, usersets: bool) -> Conditional:
        return (self._conditional_usersets if usersets else self._conditional_objects).get(node, _NONE)

    def conditional_holders(self, subject: int) -> Collection[int]:
        return _all(self._conditional_holders.get(subject))

    def holders(self, subject: int) -> Collection[int]:
        return _all(self._holders.get(subject))

    def text(self, subject: int) -> str:
        return _text(self._texts[subject >> KIND_BITS], subject, self.names)

    def _node(self, object_: Subject) -> int:
        text = object_.object
        node = self._nodes.get(text)
        if node is None:
            node = self._nodes[text] = len(self._texts) << KIND_BITS | _kind(self.names, object_)
            self._texts.append(text)
        return node


class _Contextual:
    """A question's own tuples, by number."""

    def __init__(self) -> None:
        self.objects: dict[int, set[int]] = {}
        self.usersets: dict[int, set[int]] = {}
        self.holders: dict[int, set[int]] = {}
        self.conditional_objects: dict[int, dict[int, RelationshipCondition]] = {}
        self.conditional_usersets: dict[int, dict[int, RelationshipCondition]] = {}
        self.conditional_holders: dict[int, set[int]] = {}

    def conditional(self, node: int, *, usersets: bool) -> Conditional:
        return (self.conditional_usersets if usersets else self.conditional_objects).get(node, _NONE)


class Overlay:
    """A graph as one question sees it: with the question's names, known or not, and its contextual tuples.

    A contextual tuple stands in the place of the graph's, if there is one, with its own condition or none.
    """

    def __init__(self, graph: Graph, contextual: Collection[TupleKey] = ()) -> None:
        self.names = graph.names
        self.tuples: Tuples = self if contextual else graph
        """The quickest thing that answers as this does, of all that occurs in a tuple."""
        self._graph = graph
        self._nodes: dict[str, int] = {}
        self._texts: list[str] = []
        self._own = _Contextual() if contextual else _EMPTY
        for key in contextual:
            self._add(key)

    def subject(self, subject: Subject) -> int:
        """The node of a subject, or of an object with a relation."""
        return self._node(subject) | self.names.relation(subject.relation)

    def everybody(self, type_: str) -> int:
        """The node of a type's wildcard; zero if no tuple names it."""
        text = f"{type_}:*"
        return self._graph.node(text) or self._nodes.get(text, 0)

    def has(self, node: int, subject: int) -> bool:
        own, usersets = self._own, is_userset(subject)
        if subject in (own.usersets if usersets else own.objects).get(node, ()):
            return True
        return self._graph.has(node, subject) and subject not in own.conditional(node, usersets=usersets)

    def objects(self, node: int) -> Collection[int]:
        replaced = self._own.conditional(node, usersets=False)
        return _joined(self._graph.objects(node), replaced, self._own.objects.get(node))

    def usersets(self, node: int) -> Collection[int]:
        replaced = self._own.conditional(node, usersets=True)
        return _joined(self._graph.usersets(node), replaced, self._own.usersets.get(node))

    def conditional(self, node: int, *, usersets: bool) -> Conditional:
        extra = self._own.conditional(node, usersets=usersets)
        known = self._graph.conditional(node, usersets=usersets)
        return {**known, **extra} if extra else known

    def holders(self, subject: int) -> Collection[int]:
        return {*self._graph.holders(subject), *self._own.holders.get(subject, ())}

    def conditional_holders(self, subject: int) -> Collection[int]:
        return {*self._graph.conditional_holders(subject), *self._own.conditional_holders.get(subject, ())}

    def text(self, subject: int) -> str:
        object_ = subject >> KIND_BITS
        return self._graph.text(subject) if object_ >= 0 else _text(self._texts[~object_], subject, self.names)

    def _add(self, key: TupleKey) -> None:
        user = read_subject(key.user)
        node = self._node(read_object(key.object)) | self.names.relation(key.relation)
        subject, own = self.subject(user), self._own
        if key.condition:
            table = own.conditional_usersets if user.relation else own.conditional_objects
            table.setdefault(node, {})[subject] = key.condition
            own.conditional_holders.setdefault(subject, set()).add(node)
        else:
            (own.usersets if user.relation else own.objects).setdefault(node, set()).add(subject)
            own.holders.setdefault(subject, set()).add(node)

    def _node(self, object_: Subject) -> int:
        text = object_.object
        node = self._graph.node(text) or self._nodes.get(text)
        if node is None:
            node = self._nodes[text] = ~len(self._texts) << KIND_BITS | _kind(self.names, object_)
            self._texts.append(text)
        return node


_EMPTY = _Contextual()


def _joined(known: Collection[int], replaced: Conditional, extra: set[int] | None) -> Collection[int]:
    kept = [subject for subject in known if subject not in replaced] if replaced else known
    return extra.union(kept) if extra else kept


def _kind(names: Names, object_: Subject) -> int:
    return names.type(object_.type) << RELATION_BITS | (WILDCARD if object_.wildcard else 0)


def _text(object_: str, subject: int, names: Names) -> str:
    return f"{object_}#{names.relation_names[subject & RELATION_MASK]}" if is_userset(subject) else object_


def _all(bag: "_Bag | None") -> Collection[int]:
    if bag is None:
        return ()
    return (bag,) if isinstance(bag, int) else bag


def _put(table: dict[int, _Bag], key: int, value: int) -> None:
    bag = table.get(key)
    if bag is None:
        table[key] = value
    elif isinstance(bag, int):
        table[key] = array("q", (bag, value))
    elif isinstance(bag, set):
        bag.add(value)
    elif len(bag) < _SET_FROM:
        bag.append(value)
    else:
        table[key] = {*bag, value}


def _drop(table: dict[int, _Bag], key: int, value: int) -> None:
    bag = table[key]
    if isinstance(bag, int):
        del table[key]
        return
    bag.remove(value)
    if not bag:
        del table[key]
