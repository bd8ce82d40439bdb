"""Opening what somebody else put into a folder: a name may lead to a pipe, a device or gigabytes, and none may hang or fill a verifier."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from tenantry.audit.proof import ProofFailed

SMALL_MAX_BYTES = 1 << 20
"""The longest manifest, checkpoint or key history; events and hashes are read in pieces and may be of any length."""


def open_file(path: Path) -> BinaryIO:
    """Open a regular file, or what a link to one names, for reading.

    Raises:
        ProofFailed: `malformed`, it is not there, is no regular file or may not be read.
    """
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 (who asked closes it)
    except OSError as error:
        raise ProofFailed("malformed", f"{path.name} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ProofFailed("malformed", f"{path.name} is not a regular file")
    return file


def read_file(path: Path) -> bytes:
    """The whole of a small file.

    Raises:
        ProofFailed: `malformed`, it cannot be opened, or has more than `SMALL_MAX_BYTES`.
    """
    with open_file(path) as file:
        content = file.read(SMALL_MAX_BYTES + 1)
    if len(content) > SMALL_MAX_BYTES:
        raise ProofFailed("malformed", f"{path.name} has more than {SMALL_MAX_BYTES} bytes")
    return content


def _without_waiting(path: str, flags: int) -> int:
    """A pipe opens at once, where it would wait for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)
