"""The tree: what can be cut, what descends from what, and whose revision counts. One table; everything else asks it.

A path is the ids that a credential descends from. It names both sides, the subject's and the actor's, so that it is no single line: each
id stands below a parent that stands before it. The ids of the organization and those of the platform are kept apart, because a revision
belongs to one of them.
"""

import enum

import msgspec

from tenantry.core.errors import Invalid
from tenantry.core.ids import PLATFORM, is_ulid

RUN_DEPTH = 3
"""Runs in one path: a run, what it started, and what that started."""


class Side(enum.Enum):
    """Whose revision counts for a cut."""

    ORGANIZATION = "organization"
    PLATFORM = "platform"


class Kind(msgspec.Struct, frozen=True):
    """A kind of branch. `number` stands for it in a token: it is never given to another kind."""

    name: str
    number: int
    prefix: str
    parents: tuple[str, ...]
    side: Side = Side.ORGANIZATION


_OWN_GRANT = ("service", "agent", "mcp_server")
"""Who acts for itself: its own record is the grant."""

KINDS: tuple[Kind, ...] = (
    Kind("organization", 1, "org", ()),
    Kind("blueprint", 2, "blueprint", ("organization",)),
    Kind("agent", 3, "agent", ("blueprint", "organization")),  # a visiting agent has no blueprint
    Kind("user", 4, "user", ("organization",)),
    Kind("service", 5, "service", ("organization",)),
    Kind("mcp_server", 6, "mcp", ("organization",)),
    Kind("connection", 7, "connection", ("organization",)),
    Kind("directory", 8, "directory", ("organization",)),
    Kind("session", 9, "session", ("user",)),
    Kind("grant", 10, "grant", ("user", "organization")),
    Kind("run", 11, "run", ("run", "session", "grant", "organization", *_OWN_GRANT)),
    Kind("job", 12, "job", ("run", "grant", "organization", *_OWN_GRANT)),
    Kind("key", 13, "key", ("service", "mcp_server", "agent", "directory", "job")),
    Kind("portal_session", 14, "portal", ("organization",)),
    Kind("entry", 15, "entry", ("organization",)),
    Kind("family", 16, "family", ("grant",)),
    Kind("approval", 17, "approval", ("grant",)),
    Kind("account", 18, "account", (), Side.PLATFORM),
    Kind("application", 19, "app", (), Side.PLATFORM),
    Kind("signing_key", 20, "key", (), Side.PLATFORM),
    Kind("operator", 21, "user", (), Side.PLATFORM),  # a user of the platform, behind an entry
)

BY_NAME = {kind.name: kind for kind in KINDS}
BY_NUMBER = {kind.number: kind for kind in KINDS}
_BY_PREFIX = {(kind.prefix, kind.side): kind for kind in KINDS}


class NoBranch(Invalid):
    """This path cannot be one of the tree."""

    code = "no_branch"


def kind_of(branch: str, side: Side = Side.ORGANIZATION) -> Kind:
    """The kind that an id is of.

    Raises:
        NoBranch: it is no id, or of nothing that can be cut.
    """
    prefix, _, tail = branch.partition("_")
    kind = _BY_PREFIX.get((prefix, side))
    if kind is None or not is_ulid(tail):
        raise NoBranch(f"{branch[:64]!r} is no branch of the {side.value}.")
    return kind


def check_path(org: str, path: tuple[str, ...], platform_path: tuple[str, ...] = ()) -> None:
    """Refuse what the tree does not know: the organization first, each other id below a parent that stands before it.

    Raises:
        NoBranch: it does not begin with `org`, an id stands twice or below none of its parents, or runs are nested deeper than
            `RUN_DEPTH`.
    """
    if not path or path[0] != org:
        raise NoBranch("A path begins with its organization.")
    _check_side(path, Side.ORGANIZATION)
    _check_side(platform_path, Side.PLATFORM)


def side_of(org: str, branch: str) -> Side:
    """Whose a branch is that `org` names: the platform's own kinds are the platform's alone to name.

    Raises:
        NoBranch: it is no branch of that organization's.
    """
    for side in Side if org == PLATFORM else (Side.ORGANIZATION,):
        if (branch.partition("_")[0], side) in _BY_PREFIX:
            kind_of(branch, side)
            return side
    raise NoBranch(f"{branch[:64]!r} is no branch of this organization.")


def _check_side(path: tuple[str, ...], side: Side) -> None:
    before: set[str] = set()
    runs = 0
    for place, branch in enumerate(path):
        kind = kind_of(branch, side)
        if branch in path[:place]:
            raise NoBranch(f"{branch} stands twice in a path.")
        if kind.parents and before.isdisjoint(kind.parents):
            raise NoBranch(
                f"A {kind.name} descends from {' or '.join(kind.parents)}, and the path names none before it."
            )
        if kind.name == "organization" and place:
            raise NoBranch("A path has one organization.")
        runs += kind.name == "run"
        before.add(kind.name)
    if runs > RUN_DEPTH:
        raise NoBranch(f"Runs are nested at most {RUN_DEPTH} deep.")
