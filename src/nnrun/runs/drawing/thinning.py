"""What is left of long series and large matrices on a page, where a browser would have too much to draw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Number = int | float | None
MAX_ROWS = 2_000
MAX_VALUES = 8_000
MAX_CLASSES = 30
MAX_BARS = 60
LARGEST, SMALLEST = 1e100, 1e-100


def finite(value: object) -> Number:
    """Return a number, rounded to six digits, a large one to ten; None for NaN, infinities and what is no number.

    Numbers that no chart has an axis for count as infinite or as zero.
    """
    # Numbers of numpy and torch, too.
    if value is None or isinstance(value, str | bytes):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    if not math.isfinite(number) or abs(number) > LARGEST:
        return None
    if _is_whole(value, number):
        return int(number)
    # Large values may all be near to each other, as years or prices are.
    digits = 6 if abs(number) < 1e5 else 10
    return float(f"{number:.{digits}g}") if abs(number) >= SMALLEST else 0.0


def _is_whole(value: object, number: float) -> bool:
    """Return whether a value is an integer, also one of numpy."""
    return isinstance(value, int) or (number.is_integer() and "int" in type(value).__name__)


def thinned(series: Sequence[Sequence[Number]], most: int = MAX_ROWS) -> list[int]:
    """Return at most `most` positions of equally long series: the first, the last, and the extremes of each part."""
    length = max(map(len, series), default=0)
    most = max(min(most, MAX_VALUES // max(1, len(series))), 64)
    if length <= most:
        return list(range(length))
    # With many series, the extremes of some of them stand for all.
    followed = series[: max(1, most // 32)]
    num_parts = max(1, (most - 2) // (2 * len(followed)))
    kept = {0, length - 1}
    for part in range(num_parts):
        begin, end = part * length // num_parts, (part + 1) * length // num_parts
        for values in followed:
            present = [(value, index) for index, value in enumerate(values[begin:end], begin) if value is not None]
            if present:
                kept |= {min(present)[1], max(present)[1]}
    return sorted(kept)


def most_confused(matrix: Sequence[Sequence[Number]], most: int = MAX_CLASSES) -> list[int]:
    """Return the classes of a square matrix with the largest sums beside the diagonal, in the matrix's order."""
    confused = [0.0] * len(matrix)
    for row, values in enumerate(matrix):
        for column, value in enumerate(values):
            if row != column and value:
                confused[row] += abs(value)
                confused[column] += abs(value)
    return sorted(sorted(range(len(matrix)), key=lambda index: (-confused[index], index))[:most])


def largest(sums: Sequence[float], most: int) -> list[int]:
    """Return the positions of the largest values, in order of position."""
    return sorted(sorted(range(len(sums)), key=lambda index: (-sums[index], index))[:most])


def ends(series: Mapping[str, Sequence[Number]], most: int = MAX_BARS) -> list[int]:
    """Return the positions with the smallest and the largest values of the first series, half of each."""
    values = next(iter(series.values()))
    order = sorted((index for index, value in enumerate(values) if value is not None), key=lambda i: (values[i], i))
    if len(order) <= most:
        return sorted(order)
    return sorted({*order[: most // 2], *order[-(most - most // 2) :]})
