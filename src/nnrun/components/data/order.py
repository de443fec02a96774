"""The order of names: natural (1, 2, 10) or as strings (1, 10, 2)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_DIGITS = re.compile("([0-9]+)")


def natural_key(text: str) -> tuple[Any, ...]:
    """Return a sort key that compares the whole numbers in a text as numbers: `img2` before `img10`."""
    parts = _DIGITS.split(text)
    # The number of digits, without leading zeros, is compared first: so numbers of any length work.
    numbers = [(len(digits.lstrip("0")), digits.lstrip("0")) for digits in parts[1::2]]
    return (*(part for pair in zip(parts, [*numbers, ()], strict=False) for part in pair), text)


def path_key(path: str) -> tuple[Any, ...]:
    """Return a sort key for a path: folder by folder, in natural order."""
    return tuple(natural_key(part) for part in path.split("/"))


# The values of data.class_order, and the sort key of class names for each.
CLASS_ORDERS: dict[str, Callable[[str], Any]] = {"natural": natural_key, "text": str}
