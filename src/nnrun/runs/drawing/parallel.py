"""Parallel coordinates: an axis for each x, and a line through all of them for each series."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nnrun.base.shown import Chart
from nnrun.base.visible import distinct, visible
from nnrun.runs.drawing.parts import (
    HEIGHT,
    MAX_LEGEND,
    color_encoding,
    shown_name,
    shown_names,
    tooltip_field,
    usermeta,
)
from nnrun.runs.drawing.thinning import LARGEST, finite

# A range of positive numbers that is wider than this is drawn on a logarithmic axis.
_WIDE = 50
_MOST_LINES, _MOST_TICKS = 200, 6


def parallel_spec(chart: Chart) -> tuple[dict[str, Any], list[str]]:
    """Return the specification of lines through one axis for each x, and what is left out.

    An axis has numbers, or names with equal distances. The first series is drawn thicker.
    """
    axes, names = shown_names(chart.x), shown_names(chart.series)[:_MOST_LINES]
    left_out = [f"{len(names):,} of {len(chart.series):,} lines are drawn."] if len(names) < len(chart.series) else []
    columns = list(zip(*list(chart.series.values())[:_MOST_LINES], strict=False)) if names else []
    rows, ticks = [], []
    for number, (axis, values) in enumerate(zip(axes, columns, strict=False)):
        places, marked = _placed(values)
        ticks += [{"axis": axis, "y": y, "text": text} for y, text in marked]
        rows += [
            {"axis": axis, "n": number, "y": place, "series": name, "value": _text(value), "first": name == names[0]}
            for name, value, place in zip(names, values, places, strict=True)
            if place is not None
        ]
    labels = {"labelAngle": 0 if len(axes) <= 4 else -30, "labelLimit": 120, "domain": False, "ticks": False}
    x = {"field": "axis", "type": "nominal", "sort": None, "title": None, "scale": {"domain": axes}, "axis": labels}
    y = {"field": "y", "type": "quantitative", "axis": None, "scale": {"domain": [0, 1]}}
    color = color_encoding(names)
    titles = distinct([visible(chart.y_label) or "series", visible(chart.x_label) or "axis", "value"])
    tooltip = [tooltip_field(field, title, None) for field, title in zip(_TOOLTIP, titles, strict=True)]
    crowded = len(names) > MAX_LEGEND
    line = {"type": "line", "opacity": 0.5 if crowded else 0.9, "tooltip": None}
    lines = {"y": y, "color": color, "order": {"field": "n", "type": "quantitative"}}
    layers: list[dict[str, Any]] = [
        {"data": {"values": [{"axis": axis, "y": 0, "end": 1} for axis in axes]},
         "mark": {"type": "rule", "style": "hover", "tooltip": None}, "encoding": {"y": y, "y2": {"field": "end"}}},
        {"mark": {**line, "strokeWidth": 1 if crowded else 1.8}, "encoding": lines},
        {"transform": [{"filter": "datum.first"}], "mark": {**line, "strokeWidth": 5}, "encoding": lines},
        {"mark": {"type": "point", "filled": True, "size": 46, "opacity": 0.9},
         "encoding": {"y": y, "color": color, "tooltip": tooltip}},
        # On a background of their own, since lines cross them.
        *({"data": {"values": ticks}, "mark": {"type": "text", "style": style, "align": "left", "dx": 7,
                                               "tooltip": None},
           "encoding": {"y": y, "text": {"field": "text"}}} for style in ("mark-label-halo", "mark-label")),
    ]  # fmt: skip
    return {
        "height": HEIGHT,
        "data": {"values": rows},
        "usermeta": usermeta(names),
        "encoding": {"x": x},
        "layer": layers,
    }, left_out


# The fields of a row that a tooltip shows.
_TOOLTIP = ("series", "axis", "value")


def _placed(values: Sequence[object]) -> tuple[list[float | None], list[tuple[float, str]]]:
    """Return the place of each value on an axis from 0 to 1, and the marks on the axis with their texts."""
    numbers = [finite(value) for value in values]
    present = sorted({number for number in numbers if number is not None})
    if present and not any(isinstance(value, str) for value in values):
        is_log = present[0] > 0 and present[-1] / present[0] > _WIDE
        low, high = (math.log(present[0]), math.log(present[-1])) if is_log else (present[0], present[-1])

        def place(number: float | None) -> float | None:
            if number is None:
                return None
            return 0.5 if high == low else ((math.log(number) if is_log else number) - low) / (high - low)

        marked = present if len(present) <= _MOST_TICKS else [present[0], present[-1]]
        return [place(number) for number in numbers], [(place(number) or 0.0, _text(number)) for number in marked]
    names = sorted({str(value) for value in values if value is not None})
    places = {name: 0.5 if len(names) == 1 else number / (len(names) - 1) for number, name in enumerate(names)}
    marked_names = names if len(names) <= 2 * _MOST_TICKS else [names[0], names[-1]]
    found = [None if value is None else places[str(value)] for value in values]
    return found, [(places[name], _text(name)) for name in marked_names]


def _text(value: object) -> str:
    """Return a value as text."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
    return f"{value:.4g}" if is_number else shown_name(value)
