"""What is decided about: documents in folders in folders, groups on the upper ones, people in the groups.

Every answer lies four tuples deep: a document's folder, that folder's folder, a group that sees it, a member. The shape is the
same at every size; there are only more of everything. One question in five is allowed.
"""

import random
from collections.abc import Iterator

import msgspec

MEMBERS = 79
FOLDERS = 20
DOCUMENTS = 20
TUPLES_A_BRANCH = 1 + MEMBERS + FOLDERS + FOLDERS * DOCUMENTS
"""An upper folder with its group, members, folders and documents."""

ALLOWED_ONE_IN = 5
RELATION = "viewer"
MODEL = """
model
  schema 1.1
type user
type group
  relations
    define member: [user, group#member]
type folder
  relations
    define parent: [folder]
    define viewer: [user, group#member] or viewer from parent
type document
  relations
    define parent: [folder]
    define viewer: [user, group#member] or viewer from parent
"""


class Fact(msgspec.Struct, frozen=True, gc=False):
    """A tuple, as text."""

    user: str
    relation: str
    object: str


class Corpus(msgspec.Struct, frozen=True):
    """About so many tuples, the same ones every time."""

    tuples: int

    @property
    def branches(self) -> int:
        """Upper folders, each with what is below it."""
        return self.tuples // TUPLES_A_BRANCH

    def facts(self) -> Iterator[Fact]:
        """All of them."""
        for branch in range(self.branches):
            yield Fact(f"group:{branch}#member", "viewer", f"folder:{branch}")
            for member in range(MEMBERS):
                yield Fact(_member(branch, member), "member", f"group:{branch}")
            for folder in range(FOLDERS):
                yield Fact(f"folder:{branch}", "parent", f"folder:{branch}-{folder}")
                for document in range(DOCUMENTS):
                    yield Fact(f"folder:{branch}-{folder}", "parent", f"document:{branch}-{folder}-{document}")

    def questions(self, count: int) -> list[Fact]:
        """Questions about documents chosen by lot; one in five asks for a member, the others for members of another branch."""
        lot = random.Random(self.tuples)
        asked: list[Fact] = []
        for number in range(count):
            branch, folder, document = lot.randrange(self.branches), lot.randrange(FOLDERS), lot.randrange(DOCUMENTS)
            away = 0 if number % ALLOWED_ONE_IN == 0 else lot.randrange(1, self.branches)
            user = _member((branch + away) % self.branches, lot.randrange(MEMBERS))
            asked.append(Fact(user, RELATION, f"document:{branch}-{folder}-{document}"))
        return asked


def _member(branch: int, member: int) -> str:
    return f"user:{branch}-{member}"
