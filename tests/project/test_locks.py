"""The locks: each above the security floors, complete, and free of anything about the machine that made them."""

import re
import subprocess
import sys
import tomllib
import zipfile
from datetime import UTC, date, datetime, timedelta
from difflib import SequenceMatcher
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
FLOORS: dict[str, Any] = tomllib.loads((ROOT / "requirements" / "floors.toml").read_text("utf-8"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)

ALIKE = 0.9
"""Of two names: above what differs in a letter or two of ten."""

each_lock = pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)


def pins(text: str) -> dict[str, Version]:
    """Every library a lock names, with the one version it allows."""
    return {canonicalize_name(name): Version(version) for name, version in PIN.findall(text)}


def below_floor(text: str) -> list[str]:
    """The libraries of a lock that stand below their floor, with the floor's reason."""
    locked = pins(text)
    return [
        f"{name} {locked[name]} is below {floor['version']}: {floor['reason']}"
        for name, floor in FLOORS["floor"].items()
        if name in locked and locked[name] < Version(floor["version"])
    ]


def foreign_lines(text: str) -> list[str]:
    """The lines of a lock that carry an address or an option other than a hash."""
    return [
        line
        for line in text.splitlines()
        if "://" in line or (line.lstrip().startswith("-") and not line.lstrip().startswith("--hash=sha256:"))
    ]


def test_there_is_a_pair_of_locks_for_each_python_we_name() -> None:
    named = [c.rsplit(" ", 1)[1] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]
    assert [lock.stem for lock in LOCKS] == sorted(f"{kind}-{minor}" for kind in ("runtime", "dev") for minor in named)


@each_lock
def test_a_lock_carries_no_address_and_no_option_but_hashes(lock: Path) -> None:
    assert foreign_lines(lock.read_text("utf-8")) == []


@pytest.mark.parametrize("line", ["--index-url https" + "://example.test", "-e .", "--no-binary click"])
def test_a_line_about_a_machine_is_found(line: str) -> None:
    assert foreign_lines(f"click==8.5.1 \\\n    --hash=sha256:00\n{line}\n") == [line]


@each_lock
def test_every_pin_of_a_lock_has_a_hash(lock: Path) -> None:
    blocks = re.split(r"^(?=[A-Za-z0-9])", lock.read_text("utf-8"), flags=re.MULTILINE)[1:]
    assert blocks
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block or not PIN.match(block)] == []


@each_lock
def test_a_lock_holds_every_requirement_of_the_project_in_a_version_it_allows(lock: Path) -> None:
    wanted = list(PROJECT["dependencies"])
    if lock.stem.startswith("dev"):
        wanted += [r for extra in PROJECT["optional-dependencies"].values() for r in extra]
    locked = pins(lock.read_text("utf-8"))
    for requirement in map(Requirement, wanted):
        assert locked[canonicalize_name(requirement.name)] in requirement.specifier


def lookalikes(text: str) -> list[tuple[str, str]]:
    """Pairs of a library of a lock and a better known one, of the lock or the floors, whose names nearly agree."""
    locked = sorted(pins(text))
    known = sorted({*locked, *map(canonicalize_name, FLOORS["floor"])})
    letters = {name: name.replace("-", "") for name in known}
    return [
        (name, other)
        for name in locked
        for other in known
        if name != other and SequenceMatcher(None, letters[name], letters[other], autojunk=False).ratio() > ALIKE
    ]


def floating_actions(workflow: str) -> list[str]:
    """The actions of a workflow that are named by a tag or branch, which somebody else can move, and not by a commit."""
    named = re.findall(r"^\s*(?:-\s*)?uses:\s*[\"']?([^\s\"'#]+)", workflow, re.MULTILINE)
    return [action for action in named if not action.startswith("./") and not re.search(r"@[0-9a-f]{40}$", action)]


@each_lock
def test_sup_10_no_library_has_nearly_the_name_of_another(lock: Path) -> None:
    """SUP-10: a name one slip of the finger away from a library we know is found; the lock as it is has none."""
    text = lock.read_text("utf-8")
    assert lookalikes(text) == []
    for squat in ("cryptograhpy", "msgspec2", "crypto-graphy"):
        assert squat in {name for name, _ in lookalikes(f"{text}\n{squat}==1.0 \\\n    --hash=sha256:00\n")}


def test_sup_10_an_action_of_continuous_integration_is_pinned_by_its_commit() -> None:
    """SUP-10: an action named by a tag is found; no workflow of the project names one so."""
    pinned = "      - uses: actions/checkout@" + "0" * 40 + "  # v5\n"
    assert floating_actions(pinned + "      - uses: ./here\n") == []
    assert floating_actions(pinned + "      uses: tj-actions/changed-files@v35\n") == ["tj-actions/changed-files@v35"]
    for workflow in ROOT.glob(".*/workflows/*.y*ml"):
        assert floating_actions(workflow.read_text("utf-8")) == [], workflow.name


@each_lock
def test_sup_10_no_lock_holds_a_library_below_its_security_floor(lock: Path) -> None:
    """SUP-10: a version lowered under its floor is refused, by name and reason; the lock as it is passes."""
    text = lock.read_text("utf-8")
    assert below_floor(text) == []
    lowered = re.sub(r"^cryptography==\S+", "cryptography==41.0.0", text, flags=re.MULTILINE)
    assert lowered != text
    assert [found.split(" is ")[0] for found in below_floor(lowered)] == ["cryptography 41.0.0"]


def test_sup_10_a_wheel_with_another_hash_is_not_installed(tmp_path: Path) -> None:
    """SUP-10: the installer takes the wheel whose hash is locked and refuses the same name with other bytes."""
    wheel = tmp_path / "tenantry_probe-1-py3-none-any.whl"
    info = "tenantry_probe-1.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tenantry_probe.py", "")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tenantry-probe\nVersion: 1\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")

    def install(digest: str) -> subprocess.CompletedProcess[str]:
        lock = tmp_path / "lock.txt"
        lock.write_text(f"tenantry-probe==1 --hash=sha256:{digest}\n")
        flags = ["--isolated", "--no-index", "--find-links", str(tmp_path), "--require-hashes", "--target"]
        command = [sys.executable, "-m", "pip", "install", *flags, str(tmp_path / digest[:8]), "-r", str(lock)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    right = install(sha256(wheel.read_bytes()).hexdigest())
    assert right.returncode == 0, right.stderr
    wrong = install(sha256(b"other bytes").hexdigest())
    assert wrong.returncode != 0
    assert "DO NOT MATCH THE HASHES" in wrong.stderr


@pytest.mark.long
def test_the_floors_were_looked_at_lately() -> None:
    """Long, so that a clone of an old release still passes `make test`: the day of the test is no fault of the code."""
    looked_at: date = FLOORS["looked_at"]
    assert datetime.now(UTC).date() - looked_at <= timedelta(days=FLOORS["max_age_days"])
