"""The independent verifier: a small Go program over golang.org/x/mod, built once a run; skipped where Go is not here."""

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "interop" / "go"


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the peer; it prints why and ends with 1 where it refuses."""
    return subprocess.run([_built(), *arguments], check=False, input=stdin, capture_output=True, timeout=60)


@functools.cache
def _built() -> Path:
    if shutil.which("go") is None:
        pytest.skip("peer: Go is not installed")
    got = subprocess.run(["go", "mod", "download"], check=False, cwd=SOURCE, capture_output=True, timeout=100)
    if got.returncode:
        pytest.skip(f"peer: golang.org/x/mod cannot be fetched: {got.stderr.decode()[:200]}")
    program = Path(tempfile.mkdtemp(prefix="tenantry-peer-")) / "peer"
    subprocess.run(["go", "build", "-o", program, "."], cwd=SOURCE, check=True, timeout=100)
    return program
