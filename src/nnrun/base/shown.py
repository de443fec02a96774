"""What is shown of a result: tables, charts and galleries as plain data, and a metric as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Table:
    """Rows below titles; `summary` says in a line what matters most in it, where there is room for no more."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    summary: str = ""


@dataclass(frozen=True)
class Chart:
    """Values over places: a line, points or bars for each name, or, of a `heatmap`, a row for each.

    `x` are the places, which all series share.
    """

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

# Between these a metric has four digits behind the point; errors of values may be of any size.
_SMALLEST, _LARGEST = 1e-3, 1e5


def metric_text(value: float) -> str:
    """Return a metric as text: with four digits behind the point, unless these would hide it or be noise."""
    if value == 0 or _SMALLEST <= abs(value) < _LARGEST:
        return f"{value:.4f}"
    return f"{value:.3g}" if abs(value) < _SMALLEST else f"{value:.6g}"


def counted(number: int, noun: str, nouns: str = "") -> str:
    """Return a number of things: `1 sample`, `1,234 samples`; `nouns` is a plural that does not end with s alone."""
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"


def fitting(parts: Sequence[tuple[int, str]], width: int | None) -> str:
    """Join texts to a line of at most `width` characters, leaving out those that matter least.

    Each comes with a number: what matters most has the lowest. One of them is always there.
    """
    kept = list(parts)
    while width is not None and len(kept) > 1 and len("  ".join(text for _, text in kept)) > width:
        kept.remove(max(reversed(kept), key=lambda part: part[0]))
    return "  ".join(text for _, text in kept)
