"""What results look like: tables, charts, galleries and pages as plain data, and metrics as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal


@dataclass(frozen=True)
class Table:
    """Rows with column titles; `summary` is a line with the main point, for where the table does not fit.

    There, `label` stands in front of it, or the title. Without titles of columns it is a list of facts: a name and a
    value in each row.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    summary: str = ""
    label: str = ""


@dataclass(frozen=True)
class Chart:
    """Values over `x`, which all series share: a line, points or bars for each, or a row of a `heatmap`.

    `parallel` has an axis for each x, whose values are numbers or names, and a line through all axes for each series:
    there, `x_label` says what an axis is, and `y_label` what a line is.
    A value of None is a gap; in a line with no two values in a row, the values are joined. `marks` are
    vertical lines, by their labels; a `diagonal` is the line y = x, for comparison; `bands` are pairs of lines between
    which the area is filled. `note` is a sentence on how to read it.
    """

    title: str
    kind: Literal["line", "points", "bars", "heatmap", "parallel"]
    x: Sequence[object]
    series: Mapping[str, Sequence[object]]
    x_label: str = ""
    y_label: str = ""
    x_scale: Literal["linear", "log"] = "linear"
    y_scale: Literal["linear", "log"] = "linear"
    marks: Mapping[str, float] = field(default_factory=dict)
    diagonal: bool = False
    bands: Sequence[tuple[str, str]] = ()
    note: str = ""


@dataclass(frozen=True)
class Gallery:
    """Samples by their index in a split, each with a caption; `pictures` holds PNG files of those that are images."""

    title: str
    split: str
    captions: Mapping[int, str]
    pictures: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Text:
    """A paragraph, or a command or other text to copy as it is (`is_code`)."""

    title: str
    text: str
    is_code: bool = False


Shown = Table | Chart | Gallery | Text


@dataclass(frozen=True)
class Section:
    """What a page shows under one heading, in order."""

    heading: str
    shown: Sequence[Shown]


@dataclass(frozen=True)
class Page:
    """A page: its title, a line beneath it, and its sections."""

    title: str
    lead: str
    sections: Sequence[Section]


# Between these, a metric has four decimals; the errors of a regression may have any magnitude.
_SMALLEST, _LARGEST = 1e-3, 1e5


def metric_text(value: float) -> str:
    """Return a metric as text: with four decimals, unless they would hide the value or be noise."""
    if value == 0 or _SMALLEST <= abs(value) < _LARGEST:
        return f"{value:.4f}"
    return f"{value:.3g}" if abs(value) < _SMALLEST else f"{value:.6g}"


def time_text(written: object) -> str:
    """Return a time of a run's files as people write it, to the minute; anything else as it is."""
    try:
        at = datetime.fromisoformat(str(written))
    except ValueError:
        return str(written)
    if at.tzinfo is None:
        return f"{at:%Y-%m-%d %H:%M}"
    try:
        return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except OverflowError:  # at the ends of the calendar
        return str(written)


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
