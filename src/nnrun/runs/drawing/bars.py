"""Bars: of numbers along an axis, or with a name each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nnrun.base.shown import Chart
from nnrun.base.visible import visible
from nnrun.runs.drawing.lines import diagonal, marks
from nnrun.runs.drawing.parts import (
    HEIGHT,
    color_encoding,
    plain_values,
    tooltip_field,
    usermeta,
    x_encoding,
    y_encoding,
)
from nnrun.runs.drawing.thinning import MAX_BARS, Number, ends, thinned


def bar_spec(chart: Chart) -> tuple[dict[str, Any], list[str]]:
    """Return the specification of bars, and what is left out."""
    xs, series, is_number = plain_values(chart)
    width = _bin_width(xs) if is_number and series and chart.x_scale == "linear" else None
    return _histogram(chart, xs, series, width) if width else _named_bars(chart, xs, series)


def _bin_width(xs: Sequence[float]) -> float | None:
    """Return the distance of numbers that are evenly spaced, from small to large."""
    steps = [b - a for a, b in itertools.pairwise(xs)]
    if not steps or min(steps) <= 0 or max(steps) - min(steps) > 1e-3 * max(steps):
        return None
    return sum(steps) / len(steps)


def _histogram(
    chart: Chart, xs: Sequence[float], series: Mapping[str, Sequence[Number]], width: float
) -> tuple[dict[str, Any], list[str]]:
    """Return bars over an axis of numbers: each as wide as the distance of two of them."""
    kept = thinned(list(series.values()))
    left_out = [f"{len(kept):,} of {len(xs):,} bars are drawn, extremes among them."] if len(kept) < len(xs) else []
    names, every = list(series), [value for values in series.values() for value in values]
    share = 0.92 * width / len(names)
    rows = [
        {"x": xs[i], "from": xs[i] - 0.46 * width + number * share,
         "to": xs[i] - 0.46 * width + (number + 1) * share, "y": values[i], "series": name}
        for number, (name, values) in enumerate(series.items())
        for i in kept
        if values[i] is not None
    ]  # fmt: skip
    tooltip = [tooltip_field("series", "series", None)] if len(names) > 1 else []
    tooltip += [
        tooltip_field("x", visible(chart.x_label) or "x", xs),
        tooltip_field("y", visible(chart.y_label) or names[0], every),
    ]
    along = x_encoding(chart, xs, True, series)
    low, high = along["scale"]["domain"]
    along["scale"]["domain"] = [min(low, xs[0] - width / 2), max(high, xs[-1] + width / 2)]
    bars = {
        "data": {"values": rows},
        "mark": {"type": "bar"},
        "encoding": {
            "x": {**along, "field": "from"},
            "x2": {"field": "to"},
            "y": _from_zero(y_encoding(chart, xs, series), every),
            "y2": {"datum": _decade_below(every) if chart.y_scale == "log" else 0},
            "color": color_encoding(names),
            "tooltip": tooltip,
        },
    }
    spec = {"height": HEIGHT + 40 * chart.diagonal, "usermeta": usermeta(names),
            "layer": [bars, *diagonal(chart, xs, series), *marks(chart, xs, True)]}  # fmt: skip
    return spec, left_out


def _from_zero(encoding: dict[str, Any], values: Iterable[Number]) -> dict[str, Any]:
    """Return an encoding of lengths: they begin at zero, or on a logarithmic scale at the power of ten below all."""
    low, high = encoding["scale"]["domain"]
    is_log = encoding["scale"].get("type") == "log"
    low = _decade_below(values) if is_log else min(low, 0)
    scale = {**encoding["scale"], "domain": [low, high if is_log else max(high, 0)]}
    return {**encoding, "scale": scale, "stack": None}


def _decade_below(values: Iterable[Number]) -> float:
    """Return the largest power of ten that is smaller than all values."""
    smallest = min((value for value in values if value is not None and value > 0), default=1)
    return max(10.0 ** math.floor(math.log10(smallest * 0.999)), 1e-300)


def _named_bars(
    chart: Chart, xs: Sequence[Any], series: Mapping[str, Sequence[Number]]
) -> tuple[dict[str, Any], list[str]]:
    """Return bars with a name each: upright if all names are short and few, else lying."""
    kept, left_out = list(range(len(xs))), []
    if len(xs) > MAX_BARS and series:
        kept = ends(series)
        left_out = [f"The {len(kept)} smallest and largest of {len(xs):,} are drawn."]
    names, every = list(series), [value for values in series.values() for value in values]
    shown = [str(xs[i]) for i in kept]
    rows = [
        {"x": str(xs[i]), "y": values[i], "series": name}
        for name, values in series.items()
        for i in kept
        if values[i] is not None
    ]
    lies = max(map(len, shown), default=0) > 8 or len(shown) > 20
    length = _from_zero(y_encoding(chart, xs, series), every)
    name = {"field": "x", "type": "nominal", "sort": None, "title": visible(chart.x_label) or None,
            "scale": {"domain": shown, "paddingInner": 0.25},
            "axis": {"grid": False, "labelOverlap": False} if lies
            else {"labelAngle": 0 if sum(map(len, shown)) <= 32 or max(map(len, shown)) <= 4 else -40}}  # fmt: skip
    tooltip = [tooltip_field("x", visible(chart.x_label) or "name", None)]
    tooltip += [tooltip_field("series", "series", None)] if len(names) > 1 else []
    tooltip.append(tooltip_field("y", visible(chart.y_label) or (names[0] if len(names) == 1 else "value"), every))
    encoding: dict[str, Any] = {"color": color_encoding(names), "tooltip": tooltip}
    encoding |= {"y": name, "x": length} if lies else {"x": name, "y": length}
    if chart.y_scale == "log":
        encoding["x2" if lies else "y2"] = {"datum": _decade_below(every)}
    if len(names) > 1:
        encoding["yOffset" if lies else "xOffset"] = {"field": "series", "type": "nominal", "sort": None,
                                                      "scale": {"domain": names}}  # fmt: skip
    if lies:
        encoding["x"]["axis"] = {**encoding["x"]["axis"], "grid": True, "tickCount": 6}
    height = len(shown) * max(20, 9 * len(names) + 8) if lies else HEIGHT
    spec = {"height": max(height, 60), "data": {"values": rows}, "mark": {"type": "bar"}, "encoding": encoding,
            "usermeta": usermeta(names)}  # fmt: skip
    return spec, left_out
