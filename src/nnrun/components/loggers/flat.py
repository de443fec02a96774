"""A config as one level of plain values, as trackers take it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a config by full key: `optimizer.lr`; a list is one value, an empty section none."""
    return dict(_pairs(config, ""))


def _pairs(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(node, Mapping):
        yield key, node
        return
    for name, value in node.items():
        yield from _pairs(value, f"{key}.{name}" if key else str(name))
