"""A store to ask: one model in the language, and tuples written as `document:1#viewer@user:anne`.

A tuple under a condition is written `document:1#viewer@user:anne with in_network {"cidr": "10.0.0.0/8"}`.
"""

from collections.abc import Callable, Mapping

from tenantry.access.check import check
from tenantry.access.explain import Explanation, explain
from tenantry.access.graph import Graph, Names
from tenantry.access.language import parse
from tenantry.access.lists import list_objects, list_users
from tenantry.access.plan import Plan, compile_model
from tenantry.access.tuples import RelationshipCondition, TupleKey


def key(text: str) -> TupleKey:
    """Read a tuple."""
    tuple_, _, under = text.partition(" with ")
    left, _, user = tuple_.partition("@")
    object_, _, relation = left.partition("#")
    name, _, context = under.partition(" ")
    return TupleKey(user, relation, object_, RelationshipCondition(name, context or "{}") if name else None)


def keys(*texts: str) -> tuple[TupleKey, ...]:
    """Read tuples."""
    return tuple(map(key, texts))


def plan_of(definitions: str, names: Names | None = None) -> Plan:
    """Compile types that are written without the header."""
    return compile_model(parse(f"model\n  schema 1.1\n{definitions}").model, names or Names())


class Store:
    """A plan and a graph."""

    def __init__(self, definitions: str, *tuples: str) -> None:
        self.plan = plan_of(definitions)
        self.graph = Graph(self.plan.names)
        self.write(*tuples)

    def write(self, *tuples: str) -> None:
        """Write tuples that the model admits."""
        for one in keys(*tuples):
            self.plan.vocabulary.admit(one)
            self.graph.add(one)

    def allows(self, question: str, *contextual: str, context: Mapping[str, object] | None = None) -> bool:
        """Check."""
        return check(self.plan, self.graph, key(question), keys(*contextual), context)

    def objects(
        self, user: str, relation: str, type_: str, *contextual: str, context: Mapping[str, object] | None = None
    ) -> list[str]:
        """List objects."""
        return list_objects(self.plan, self.graph, user, relation, type_, keys(*contextual), context)

    def users(
        self, node: str, filter_: str, *contextual: str, context: Mapping[str, object] | None = None
    ) -> list[str]:
        """List the users of `document:1#viewer`."""
        object_, _, relation = node.partition("#")
        return list_users(self.plan, self.graph, object_, relation, filter_, keys(*contextual), context)

    def explained(
        self,
        question: str,
        *contextual: str,
        context: Mapping[str, object] | None = None,
        visible: Callable[[str], bool] | None = None,
    ) -> Explanation:
        """Explain."""
        return explain(self.plan, self.graph, key(question), keys(*contextual), context, visible)
