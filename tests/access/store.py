"""A store to ask: one model in the language, and tuples written as `document:1#viewer@user:anne`."""

from tenantry.access.check import check
from tenantry.access.explain import Explanation, explain
from tenantry.access.graph import Graph, Names
from tenantry.access.language import parse
from tenantry.access.lists import list_objects, list_users
from tenantry.access.plan import Plan, compile_model
from tenantry.access.tuples import TupleKey


def key(text: str) -> TupleKey:
    """Read a tuple."""
    left, _, user = text.partition("@")
    object_, _, relation = left.partition("#")
    return TupleKey(user, relation, object_)


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

    def allows(self, question: str, *contextual: str) -> bool:
        """Check."""
        return check(self.plan, self.graph, key(question), keys(*contextual))

    def objects(self, user: str, relation: str, type_: str, *contextual: str) -> list[str]:
        """List objects."""
        return list_objects(self.plan, self.graph, user, relation, type_, keys(*contextual))

    def users(self, node: str, filter_: str, *contextual: str) -> list[str]:
        """List the users of `document:1#viewer`."""
        object_, _, relation = node.partition("#")
        return list_users(self.plan, self.graph, object_, relation, filter_, keys(*contextual))

    def explained(self, question: str, *contextual: str) -> Explanation:
        """Explain."""
        return explain(self.plan, self.graph, key(question), keys(*contextual))
