"""YAML from a file that a person wrote, as plain values: strictly, within limits.

What makes one text mean two things is refused: a key that stands twice, anchors and aliases (which a few lines make into gigabytes),
tags, and more than one document.
"""

from pathlib import Path
from typing import Any

import yaml

from tenantry.core.errors import Invalid, TooLarge

FILE_MAX_BYTES = 1 << 20
DEPTH_MAX = 32


def read_yaml(path: Path) -> Any:
    """What a file says.

    Raises:
        Invalid: it cannot be read, is no YAML, or uses what is refused here; the sentence says where.
        TooLarge: it has more than `FILE_MAX_BYTES`.
    """
    try:
        with path.open("rb") as file:
            text = file.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}.") from error
    if len(text) > FILE_MAX_BYTES:
        raise TooLarge(f"{path} has more than {FILE_MAX_BYTES} bytes.")
    try:
        return yaml.load(text, _Strict)  # noqa: S506 - a safe loader that takes less
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise Invalid(f"{path}: {_said(error)}.") from error


class _Strict(yaml.SafeLoader):
    """The safe loader without anchors, tags, doubled keys and depth."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _refused("anchors and aliases are not taken", event.start_mark)
        if getattr(event, "tag", None):
            raise _refused("tags are not taken", event.start_mark)
        if self._depth >= DEPTH_MAX:
            raise _refused(f"nested deeper than {DEPTH_MAX}", event.start_mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise _refused("a key is a text", key.start_mark)
            if key.value in seen:
                raise _refused(f"the key {key.value} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _refused(why: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=why, problem_mark=mark)


def _said(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return "it is no YAML in UTF-8"
