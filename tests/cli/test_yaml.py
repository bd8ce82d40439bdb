"""What a person's YAML may hold, and what is refused with its place."""

from pathlib import Path

import pytest

from tenantry.cli.yaml import DEPTH_MAX, FILE_MAX_BYTES, read_yaml
from tenantry.core.errors import Invalid, TooLarge


def said(folder: Path, text: str | bytes) -> object:
    """What a file of this text says."""
    file = folder / "atlas.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(file)


def test_a_file_is_read_as_plain_values(tmp_path: Path) -> None:
    assert said(tmp_path, "tenantry: 1\nlist: [a, 2, true]\ntext: |\n  two\n  lines\n") == {
        "tenantry": 1,
        "list": ["a", 2, True],
        "text": "two\nlines\n",
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "line 4, column 3: the key c stands twice"),
        ("a: &x 1\nb: *x\n", "line 1, column 4: anchors and aliases"),
        ("a: 1\nb: *x\n", "line 2, column 4: anchors and aliases"),
        ("a: !!python/object/apply:os.system [ls]\n", "line 1, column 4: tags"),
        ("a: !!str 1\n", "line 1, column 4: tags"),
        ("1: a\n", "line 1, column 1: a key is a text"),
        ("? [a]\n: b\n", "a key is a text"),
        ("a: 1\n---\nb: 2\n", "line 2"),
        ("a: [" + "[" * DEPTH_MAX + "]" * DEPTH_MAX + "]", "nested deeper"),
        ("a: [1\n", "line 2"),
        (b"a: \xff\n", "no YAML in UTF-8"),
        ("<<: {a: 1}\n", "a key is a text"),
    ],
)
def test_what_could_mean_two_things_or_too_much_is_refused_with_its_place(
    tmp_path: Path, text: str | bytes, why: str
) -> None:
    with pytest.raises(Invalid, match=why):
        said(tmp_path, text)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(TooLarge):
        said(tmp_path, b"a: " + b"x" * FILE_MAX_BYTES)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"nothing\.yaml cannot be read"):
        read_yaml(tmp_path / "nothing.yaml")
