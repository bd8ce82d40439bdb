"""Whatever a room runs is in its schema: on PostgreSQL a statement or read that is not has no function, and is refused when it is used."""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from types import ModuleType

import tenantry
from tenantry.app.node import ROOMS
from tenantry.store import Read, Statement

ELSEWHERE = "tenantry.cli"
"""The demonstration's ledger has a schema of its own."""


def modules() -> Iterator[ModuleType]:
    """Every module of the server but the command line."""
    for found in pkgutil.walk_packages(tenantry.__path__, "tenantry."):
        if not found.name.startswith(ELSEWHERE) and not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def kept(value: object) -> Iterator[Read | Statement]:
    """What a name of a module stands for, if that is a statement or read, or holds some."""
    if isinstance(value, Read | Statement):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from kept(one)
    elif isinstance(value, tuple | list | frozenset | set):
        for one in value:
            yield from kept(one)


def test_every_statement_and_read_of_a_module_is_in_a_schema() -> None:
    registered = {one.name for schema in ROOMS for one in (*schema.statements, *schema.reads)}
    known = {
        one.name: module.__name__ for module in modules() for value in vars(module).values() for one in kept(value)
    }
    assert len(known) > 100
    assert {name: module for name, module in known.items() if name not in registered} == {}
