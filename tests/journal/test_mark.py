"""The destruction list beside the database: what a crash leaves of it, and what is refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tenantry.core.errors import Unsafe
from tenantry.journal import Destruction, DestructionList
from tests.faults.disk import Disk

ALICE, BOB = Destruction("org_a", "user_alice"), Destruction("org_a", "user_bob")


@pytest.mark.parametrize("torn", [b'{"org":"org_a","sub', b'{"org":"org_b","subject":"org_b"}'])
def test_what_is_added_after_a_torn_write_is_read_back(tmp_path: Path, torn: bytes) -> None:
    erased = DestructionList(tmp_path)
    erased.add([ALICE])
    with (tmp_path / "destroyed.jsonl").open("ab") as file:
        file.write(torn)
    assert erased.read() == [ALICE]
    erased.add([ALICE, BOB])
    assert DestructionList(tmp_path).read() == [ALICE, BOB]


def test_a_list_that_was_changed_is_refused_and_not_shortened(tmp_path: Path) -> None:
    erased = DestructionList(tmp_path)
    erased.add([ALICE, BOB])
    path = tmp_path / "destroyed.jsonl"
    damaged = path.read_bytes().replace(b'"org"', b'"xxx"', 1)
    path.write_bytes(damaged)
    with pytest.raises(Unsafe, match=r"destroyed\.jsonl cannot be read"):
        erased.read()
    with pytest.raises(Unsafe):
        erased.add([Destruction("org_c", "org_c")])
    assert path.read_bytes() == damaged


def test_the_list_is_for_its_owner_alone(tmp_path: Path) -> None:
    DestructionList(tmp_path).add([ALICE])
    assert (tmp_path / "destroyed.jsonl").stat().st_mode & 0o777 == 0o600


_ADD = """
import sys
from pathlib import Path
from tenantry.journal import Destruction, DestructionList
DestructionList(Path(sys.argv[1])).add([Destruction("org_a", subject) for subject in sys.argv[2:]])
"""


def test_a_list_that_was_added_to_survives_a_power_loss(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    disk = Disk(tmp_path / "disk", prefix=folder)
    for subject in (ALICE.subject, BOB.subject):
        subprocess.run([sys.executable, "-c", _ADD, folder, subject], env=os.environ | disk.env, check=True)
        disk.power_loss()
        assert DestructionList(folder).read()[-1].subject == subject
    assert DestructionList(folder).read() == [ALICE, BOB]
