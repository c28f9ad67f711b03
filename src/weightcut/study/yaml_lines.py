"""Reading YAML with the line of every key, so that errors can name the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from weightcut.errors import UsageError

Where = tuple[str | int, ...]


class Document:
    """Plain data read from a YAML file, and the line on which each key or item stands."""

    def __init__(self, data: Any, lines: dict[Where, int], source: str) -> None:
        self.data, self._lines, self.source = data, lines, source

    def place(self, *where: str | int) -> str:
        """Return `file:line` of the deepest known part of a path of keys; "" without a file."""
        for end in range(len(where), -1, -1):
            if where[:end] in self._lines:
                return f"{self.source}:{self._lines[where[:end]]}"
        return self.source

    def set(self, path: str, text: str) -> None:
        """Set the value at a dotted path (`tasks.0.limit`) to a YAML value, as `--set` does."""
        keys = [int(part) if part.isdigit() else part for part in path.split(".")]
        target = self.data
        for key in keys[:-1]:
            target = self._enter(target, key, path)
        self._put(target, keys[-1], _value(text, path), path)

    def _enter(self, target: Any, key: str | int, path: str) -> Any:
        if isinstance(target, dict):
            return target.setdefault(key, {})
        if isinstance(target, list) and isinstance(key, int) and key < len(target):
            if isinstance(target[key], str):
                target[key] = {"name": target[key]}
            return target[key]
        raise UsageError(f"no such place in the study: {path!r}", place="--set")

    def _put(self, target: Any, key: str | int, value: Any, path: str) -> None:
        in_list = isinstance(target, list) and isinstance(key, int) and key < len(target)
        if not isinstance(target, dict) and not in_list:
            raise UsageError(f"no such place in the study: {path!r}", place="--set")
        target[key] = value


def read_yaml(path: Path) -> Document:
    """Read a YAML file; duplicate keys and broken YAML raise UsageError with file and line."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise UsageError(f"broken YAML: {error.problem}", place=f"{path}:{line}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"cannot read the study: {error}", place=str(path)) from error
    lines: dict[Where, int] = {}
    data = _plain(node, (), lines, str(path)) if node is not None else None
    return Document(data, lines, str(path))


def _plain(node: yaml.Node, where: Where, lines: dict[Where, int], source: str) -> Any:
    lines.setdefault(where, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise UsageError("a key is a single value", place=f"{source}:{line}")
            key = _scalar(key_node, source)
            if key in result:
                raise UsageError(f"the key {key!r} stands twice", place=f"{source}:{line}")
            lines[(*where, key)] = line
            result[key] = _plain(value_node, (*where, key), lines, source)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_plain(n, (*where, i), lines, source) for i, n in enumerate(node.value)]
    return _scalar(node, source)


def _scalar(node: yaml.Node, source: str) -> Any:
    try:
        return yaml.SafeLoader("").construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError) as error:
        place = f"{source}:{node.start_mark.line + 1}"
        raise UsageError(f"cannot read the value: {_said(error)}", place=place) from error


def _value(text: str, path: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        cause = f"cannot read the value of {path!r}, {text!r}: {_said(error)}"
        raise UsageError(cause, place="--set") from error


def _said(error: Exception) -> str:
    """Return what is wrong, without the marks and lines that YAML adds to it."""
    return str(getattr(error, "problem", None) or error)
