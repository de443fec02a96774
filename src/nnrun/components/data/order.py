"""The order of names: as people count, 1, 2, 10, or as texts are compared, 1, 10, 2."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_DIGITS = re.compile("([0-9]+)")


def natural_key(text: str) -> tuple[Any, ...]:
    """Return by what a text is sorted so that whole numbers in it count as numbers: `img2` before `img10`."""
    parts = _DIGITS.split(text)
    # Without zeros in front, the number of digits comes first: no number is too long for that.
    numbers = [(len(digits.lstrip("0")), digits.lstrip("0")) for digits in parts[1::2]]
    return (*(part for pair in zip(parts, [*numbers, ()], strict=False) for part in pair), text)


def path_key(path: str) -> tuple[Any, ...]:
    """Return by what a path is sorted: folder by folder, each in the natural order."""
    return tuple(natural_key(part) for part in path.split("/"))


# What data.class_order may say, and by what the names of classes are sorted then.
CLASS_ORDERS: dict[str, Callable[[str], Any]] = {"natural": natural_key, "text": str}
