"""What may be committed, and what a wheel holds: nothing about the machine it was made on."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# The letter classes keep this file from finding itself.
FORBIDDEN = {
    "the host of a package registry": re.compile(r"p[y]pi\.(org|io)|pythonhos[t]ed|npm[j]s\.(org|com)|crate[s]\.io"),
    "a path of one machine": re.compile(
        r"(?<![\w.~$}>-])/(wor[k]|roo[t]|hom[e]/\w+|User[s]/\w+|op[t]/wheels)(/|\b(?!-))"
    ),
    "an option of one machine's package index": re.compile(r"index-ur[l][= ]+\S+:/|trusted-hos[t][= ]+\w"),
    "a private key": re.compile(r"-----BEGIN (\w+ )*PRIVATE KE[Y]-----"),
}
DATA = Path("tests/data")  # copied test vectors: their keys are public, their text is not ours


def committable() -> list[Path]:
    """Every file that is, or would be, in a commit."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("this is no git clone, or git is not installed")
    return [path for name in listed.decode().split("\0") if name and (path := ROOT / name).is_file()]


def findings(text: str) -> list[str]:
    """What a text holds that does not belong into a commit."""
    return [f"{what}: {found[0]!r}" for what, pattern in FORBIDDEN.items() if (found := pattern.search(text))]


def test_no_file_tells_of_the_machine_it_was_made_on() -> None:
    wrong = []
    for path in committable():
        if DATA not in path.relative_to(ROOT).parents:
            text = path.read_bytes().decode("utf-8", errors="replace")
            wrong += [f"{path.relative_to(ROOT)} holds {found}" for found in findings(text)]
    assert wrong == []


@pytest.mark.parametrize(
    "text",
    ["see p" + "ypi.org", "/ro" + "ot/x", "cd /wo" + "rk/a", "/ho" + "me/ann/a", "-----BEGIN EC PRIVATE " + "KEY-----"],
)
def test_what_does_not_belong_is_found(text: str) -> None:
    assert len(findings(text)) == 1


@pytest.mark.parametrize("text", ["/v1/users/{user_id}", "docs/work/x", "the root key", "~/work", "/homepage"])
def test_what_belongs_is_left_alone(text: str) -> None:
    assert findings(text) == []


def test_no_file_is_an_artefact_or_a_secret_by_its_name() -> None:
    wrong = re.compile(r"(^|/)(\.env|\.venv|\.idea|\.vscode|__pycache__|.*\.(pyc|so|db|sqlite3?|key|whl))(/|$)")
    assert [str(path) for path in committable() if wrong.search(str(path.relative_to(ROOT)))] == []


def test_sup_11_a_wheel_holds_the_package_alone_and_is_built_to_the_same_bytes_again(tmp_path: Path) -> None:
    """SUP-11: no tests, keys, settings or machine paths in the wheel; a second build gives the same bytes."""
    wheels = []
    for build in ("first", "second"):
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / build)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env=os.environ | {"SOURCE_DATE_EPOCH": "1"})
        wheels += list((tmp_path / build).glob("*.whl"))
    assert wheels[0].read_bytes() == wheels[1].read_bytes()
    with zipfile.ZipFile(wheels[0]) as archive:
        names = archive.namelist()
        assert "tenantry/__init__.py" in names
        assert [name for name in names if not re.match(r"tenantry(-[\w.]+\.dist-info)?/", name)] == []
        assert [(n, found) for n in names for found in findings(archive.read(n).decode("utf-8", "replace"))] == []
