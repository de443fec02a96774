"""A config as plain values, and what stands in it at a full key."""

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
