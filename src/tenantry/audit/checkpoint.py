"""Checkpoints (C2SP tlog-checkpoint v1.0.0): which log, how many leaves, which root; signed as a note.

The origin names the log and its key: `HOST/audit/ORGANIZATION`, so that no organization's checkpoint passes for
another's. No extension lines: nobody could audit them.
"""

import base64
import re
from collections.abc import Sequence

import msgspec

from tenantry.audit.merkle import HASH_BYTES
from tenantry.audit.note import Opened, Signer, Verifier, open_note, sign
from tenantry.audit.proof import ProofFailed

_TEXT = re.compile(r"([^\n]+)\n(0|[1-9]\d{0,18})\n([A-Za-z0-9+/]{43}=)\n", re.ASCII)


class Checkpoint(msgspec.Struct, frozen=True):
    """The head of a log: the root over its first `size` leaves."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @property
    def organization(self) -> str:
        """The id of the organization whose log this is: the origin's last part."""
        return self.origin.rpartition("/")[2]


def origin(host: str, organization: str) -> str:
    """The name of an organization's log at `host`, and of the key that signs its checkpoints."""
    return f"{host}/audit/{organization}"


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a checkpoint, without saying anything about who signed it.

    Raises `ProofFailed` (`malformed`) for extension lines, leading zeros and every spelling but `Checkpoint.text`'s.
    """
    match = _TEXT.fullmatch(text)
    root = base64.b64decode(match[3]) if match else b""
    if match is None or len(root) != HASH_BYTES or base64.b64encode(root).decode() != match[3]:
        raise ProofFailed("malformed", f"not a checkpoint: {text[:200]!r}")
    return Checkpoint(match[1], int(match[2]), root)


def sign_checkpoint(checkpoint: Checkpoint, signers: Sequence[Signer]) -> bytes:
    """Return the signed note; each signer's name is the checkpoint's origin, or ValueError is raised."""
    if any(signer.name != checkpoint.origin for signer in signers):
        raise ValueError(f"only a key named {checkpoint.origin!r} signs its checkpoints")
    return sign(checkpoint.text(), signers)


def open_checkpoint(note: bytes, verifiers: Sequence[Verifier]) -> tuple[Checkpoint, Opened]:
    """Return the checkpoint of a note that a key of its own origin signed, and who signed it.

    Raises `ProofFailed`: `malformed`, or `checkpoint_signature` (also where only keys of other names signed).
    """
    opened = open_note(note, verifiers)
    checkpoint = parse_checkpoint(opened.text)
    if all(verifier.name != checkpoint.origin for verifier in opened.signed_by):
        raise ProofFailed("checkpoint_signature", f"no key of {checkpoint.origin[:200]!r} signed this checkpoint")
    return checkpoint, opened
