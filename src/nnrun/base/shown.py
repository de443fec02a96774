"""What is to be shown of a result, as plain data: a table, a chart, a gallery."""

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
    """Values over places: a line or points for each name, or, of a `heatmap`, a matrix under one name.

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
