"""Parts of specifications that several kinds of charts share: names, values, axes, colors, tooltips."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nnrun.base.shown import Chart
from nnrun.base.visible import distinct, visible
from nnrun.runs.drawing.thinning import Number, finite

# Above this number of series, a legend is longer than the chart.
MAX_LEGEND = 16
MAX_NAME = 60
# The height of a chart in pixels, if nothing else decides it.
HEIGHT = 280


def shown_name(text: object) -> str:
    """Return a name as one line of a length that a legend has place for."""
    name = visible(str(text))
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"


def shown_names(texts: Iterable[object]) -> list[str]:
    """Return names as they are shown, without duplicates."""
    return distinct([shown_name(text) for text in texts])


def plain_values(chart: Chart) -> tuple[list[Any], dict[str, list[Number]], bool]:
    """Return x, each series of the same length by its name, and whether x are numbers.

    What a logarithmic scale cannot show is None.
    """
    numbers = [finite(x) for x in chart.x]
    is_number = any(x is not None for x in numbers) and not any(isinstance(x, str) for x in chart.x)
    series = {}
    for name, row in zip(shown_names(chart.series), chart.series.values(), strict=True):
        values = [finite(value) for value in row]
        if chart.y_scale == "log":
            values = [value if value is not None and value > 0 else None for value in values]
        series[name] = (values + [None] * len(chart.x))[: len(chart.x)]
    if not is_number:
        return shown_names(chart.x), series, False
    seen = [i for i, x in enumerate(numbers) if x is not None and (x > 0 or chart.x_scale == "linear")]
    return [numbers[i] for i in seen], {name: [row[i] for i in seen] for name, row in series.items()}, True


def _ticks(scale: str, values: Iterable[Number]) -> dict[str, Any]:
    """Return the settings of an axis for the ticks that these values need."""
    sizes = [abs(value) for value in values if value]
    low, high = min(sizes, default=1), max(sizes, default=1)
    if scale == "log":
        # Over several powers of ten, these alone: the lines between them would fill the chart.
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        step = max(1, len(powers) // 6)
        return {"values": [10.0**power for power in powers[::step]], "format": "~g"} if high / low >= 100 else {}
    if high >= 10_000:
        return {"format": "~s"}
    return {"format": "~g"} if high < 1e-3 else {}


def _tooltip_format(values: Iterable[Number]) -> str:
    """Return d3's format for a value in a tooltip."""
    present = [value for value in values if value is not None]
    if all(isinstance(value, int) for value in present):
        return ",d"
    return ",.1~f" if any(abs(value) >= 1e5 for value in present) else ".5~g"


def _scale(kind: str, **others: object) -> dict[str, Any]:
    """Return a scale that fits its domain; a linear one names no type."""
    # By default, a linear one would reach to zero: values that are far from it would all lie on a line.
    return {**({"type": "log"} if kind == "log" else {"zero": False}), **others}


def x_encoding(
    chart: Chart, xs: Sequence[Any], is_number: bool, series: Mapping[str, Sequence[Number]]
) -> dict[str, Any]:
    """Return the encoding of x. With a diagonal, both axes have the same range."""
    others = [value for row in series.values() for value in row] if chart.diagonal else []
    title = visible(chart.x_label) or None
    if not is_number:
        angle = 0 if max((len(x) for x in xs), default=0) <= 5 else -40
        axis: dict[str, Any] = {"labelAngle": angle, "labelOverlap": True}
        return {"field": "x", "type": "ordinal", "sort": None, "title": title, "axis": axis}
    axis = {"labelOverlap": True, "tickCount": 8, **_ticks(chart.x_scale, xs)}
    if all(float(x).is_integer() for x in xs) and chart.x_scale == "linear":
        axis["tickMinStep"] = 1
    scale = _scale(chart.x_scale, nice=chart.kind == "points", domain=_domain(xs, (*chart.marks.values(), *others)))
    return {"field": "x", "type": "quantitative", "title": title, "axis": axis, "scale": scale}


def _domain(values: Iterable[Number], others: Iterable[object] = ()) -> list[float]:
    """Return the smallest and the largest value, with some room if they are the same."""
    present = [value for value in (*values, *map(finite, others)) if value is not None]
    low, high = min(present, default=0), max(present, default=1)
    if low == high:
        room = abs(low) / 2 or 1
        low, high = low - room, high + room
    return [low, high]


def y_encoding(
    chart: Chart, xs: Sequence[Any], series: Mapping[str, Sequence[Number]], field: str = "y"
) -> dict[str, Any]:
    """Return the encoding of y; the name of a lone series is its title if it has no other."""
    title = visible(chart.y_label) or (next(iter(series)) if len(series) == 1 else None)
    every = [value for row in series.values() for value in row]
    axis = {"labelOverlap": True, **_ticks(chart.y_scale, every)}
    scale = _scale(chart.y_scale, nice=True, domain=_domain(every, xs if chart.diagonal else ()))
    return {"field": field, "type": "quantitative", "title": title, "axis": axis, "scale": scale}


def color_encoding(names: Sequence[str]) -> dict[str, Any]:
    """Return the encoding of the series as colors, with a legend if it is of use."""
    legend = {"symbolLimit": MAX_LEGEND} if 1 < len(names) <= MAX_LEGEND else None
    return {"field": "series", "type": "nominal", "sort": None, "title": None, "legend": legend,
            "scale": {"domain": list(names)}}  # fmt: skip


def usermeta(names: Sequence[str]) -> dict[str, Any]:
    """Return what a page needs to lay out the legend: the width of its longest entry in pixels."""
    return {"legend_entry": min(320, 7 * max(map(len, names), default=0)) + 40}


def tooltip_field(field: str, title: str, values: Iterable[Number] | None) -> dict[str, Any]:
    """Return a line of a tooltip; without numbers it is a text."""
    # Vega-Lite puts the title into an expression, in which it escapes quotes alone.
    title = title.replace("\\", "\\\\")
    if values is None:
        return {"field": field, "type": "nominal", "title": title}
    return {"field": field, "type": "quantitative", "title": title, "format": _tooltip_format(values)}
