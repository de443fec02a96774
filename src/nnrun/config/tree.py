"""Full keys: the value at one in a config of plain values, and whether one is in a section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def value_at(tree: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """Return the value at a dotted key, or `default` where there is none."""
    node: Any = tree
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return default
        node = node[part]
    return node


def is_within(key: str, name: str) -> bool:
    """Return whether a key is that of a setting or section, or of something in it."""
    return key == name or key.startswith(name + ".")
