"""Scopes are made in one file, each for a stated reason."""

import ast
from pathlib import Path

import pytest

import tenantry
from tenantry.core import scopes
from tenantry.core.errors import Denied, NotFound
from tenantry.core.ids import PLATFORM
from tenantry.core.principal import SYSTEM, Principal

ORG = "org_01JDNQ3W4RZ0H6V8XK5T2C7M9E"
KINDS = {"TenantScope", "DoorScope", "ClaimScope"}
SOURCE = Path(tenantry.__file__).parent


def test_no_file_but_their_own_makes_scopes_or_reaches_for_their_seal() -> None:
    made: dict[str, int] = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = node.func if isinstance(node, ast.Call) else node
            called = isinstance(node, ast.Call) and getattr(name, "id", getattr(name, "attr", "")) in KINDS
            sealed = (
                isinstance(node, ast.Name | ast.Attribute) and getattr(node, "id", getattr(node, "attr", "")) == "_SEAL"
            )
            if called or sealed:
                made[str(path.relative_to(SOURCE))] = made.get(str(path.relative_to(SOURCE)), 0) + 1
    assert set(made) == {"core/scopes.py"}


@pytest.mark.parametrize("kind", [scopes.TenantScope, scopes.DoorScope, scopes.ClaimScope])
def test_a_scope_cannot_be_made_by_its_class(kind: type[scopes.TenantScope]) -> None:
    with pytest.raises(TypeError, match="made by the functions"):
        kind(ORG, object())


def test_a_scope_is_of_one_organization_and_says_so() -> None:
    assert scopes.of_principal(Principal("user_1", ORG, None)).org == ORG
    assert (scopes.of_job(ORG).org, scopes.of_platform().org) == (ORG, PLATFORM)
    assert repr(scopes.of_door(ORG)) == f"DoorScope({ORG})"


@pytest.mark.parametrize("org", ["", "org_", ORG.lower(), ORG + " ", f"{ORG},{PLATFORM}", "user_" + ORG[4:]])
def test_a_scope_of_no_organization_is_not_made(org: str) -> None:
    for make in (scopes.of_job, scopes.of_door, scopes.of_claim):
        with pytest.raises(NotFound):
            make(org)


def test_only_an_operator_enters_an_organization() -> None:
    assert scopes.of_entry(SYSTEM, ORG).org == ORG
    with pytest.raises(Denied):
        scopes.of_entry(Principal("user_1", ORG, None), ORG)
