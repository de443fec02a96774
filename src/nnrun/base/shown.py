"""How results are shown: tables, charts and galleries as plain data, and metrics as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Table:
    """Rows with column titles; `summary` is a line with the main point, for where the table does not fit."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    summary: str = ""


@dataclass(frozen=True)
class Chart:
    """Values over `x`, which all series share: a line, points or bars for each, or a row of a `heatmap`."""

    title: str
    kind: Literal["line", "points", "bars", "heatmap"]
    x: Sequence[object]
    series: Mapping[str, Sequence[object]]
    x_label: str = ""
    y_label: str = ""


@dataclass(frozen=True)
class Gallery:
    """Samples by their index in a split, each with a caption."""

    title: str
    split: str
    captions: Mapping[int, str]


Shown = Table | Chart | Gallery

# Between these, a metric has four decimals; the errors of a regression may have any magnitude.
_SMALLEST, _LARGEST = 1e-3, 1e5


def metric_text(value: float) -> str:
    """Return a metric as text: with four decimals, unless they would hide the value or be noise."""
    if value == 0 or _SMALLEST <= abs(value) < _LARGEST:
        return f"{value:.4f}"
    return f"{value:.3g}" if abs(value) < _SMALLEST else f"{value:.6g}"


def counted(number: int, noun: str, nouns: str = "") -> str:
    """Return a number of things: `1 sample`, `1,234 samples`; `nouns` is a plural that does not end with s alone."""
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"


def fitting(parts: Sequence[tuple[int, str]], width: int | None) -> str:
    """Join texts to a line of at most `width` characters, dropping the least important.

    Each has a priority: the most important has the lowest number. At least one is kept.
    """
    kept = list(parts)
    while width is not None and len(kept) > 1 and len("  ".join(text for _, text in kept)) > width:
        kept.remove(max(reversed(kept), key=lambda part: part[0]))
    return "  ".join(text for _, text in kept)
