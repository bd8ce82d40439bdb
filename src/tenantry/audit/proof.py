"""The one error of everything that proves or verifies: what failed, where, and how.

Verification returns what it verified or raises this; no function here answers with a boolean.
"""

from typing import Literal

from tenantry.core import errors

Kind = Literal[
    "behind",
    "changed",
    "checkpoint_mismatch",
    "checkpoint_signature",
    "consistency",
    "file_changed",
    "foreign",
    "hashes_mismatch",
    "inclusion",
    "inserted",
    "key_revoked",
    "malformed",
    "missing",
    "personal_mismatch",
    "renumbered",
    "reordered",
    "truncated",
]


class ProofFailed(errors.ProofFailed):
    """Something claimed of a log does not hold.

    `kind` is stable and meant for programs; `index` is the first bad leaf, counted from 0, where one can be named.
    """

    def __init__(self, kind: Kind, message: str, *, index: int | None = None) -> None:
        where = "" if index is None else f" at index {index}"
        super().__init__(f"{kind}{where}: {message}")
        self.kind: Kind = kind
        self.index = index
