"""Lines and points."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from nnrun.base.shown import Chart
from nnrun.base.visible import distinct, visible
from nnrun.runs.drawing.parts import (
    HEIGHT,
    MAX_LEGEND,
    color_encoding,
    plain_values,
    shown_name,
    tooltip_field,
    usermeta,
    x_encoding,
    y_encoding,
)
from nnrun.runs.drawing.theme import NUM_COLORS
from nnrun.runs.drawing.thinning import Number, finite, thinned

# Above this number of series, a tooltip shows one alone.
MAX_TOOLTIP = 10
# Up to this number, each point of a line is marked.
MAX_POINTS = 40
# Drawn one after the other in each round of the colors.
DASHES = ([1, 0], [6, 3], [2, 2], [8, 2, 2, 2])
HOVER = {"type": "point", "fields": ["x"], "nearest": True, "on": "pointerover", "clear": "pointerout"}


def _is_joined(values: Sequence[Number]) -> bool:
    """Return whether a series has no two values in a row: its gaps are those of its own interval, and are joined."""
    return not any(a is not None and b is not None for a, b in itertools.pairwise(values))


def line_spec(chart: Chart) -> tuple[dict[str, Any], list[str]]:
    """Return the specification of lines, and what is left out."""
    xs, series, is_number = plain_values(chart)
    names, joined = list(series), {name: _is_joined(values) for name, values in series.items()}
    kept = thinned(list(series.values()))
    left_out = [f"{len(kept):,} of {len(xs):,} points are drawn, extremes among them."] if len(kept) < len(xs) else []
    rows = []
    for i in kept:
        row = {f"s{number}": values[i] for number, values in enumerate(series.values()) if values[i] is not None}
        rows.append({"x": xs[i], **row})
    keys = [f"s{number}" for number in range(len(names))]
    every_key, bands = dict(zip(names, keys, strict=True)), list(chart.bands)
    names = [name for name in names if not any(name in band for band in bands)]
    keys = [every_key[name] for name in names]
    known = [{"key": key, "series": name, "joined": joined[name]} for key, name in zip(keys, names, strict=True)]
    unfolded: list[dict[str, Any]] = [
        {"fold": keys, "as": ["key", "y"]},
        {"lookup": "key", "from": {"data": {"values": known}, "key": "key", "fields": ["series", "joined"]}},
    ]
    y = y_encoding(chart, xs, series)
    lines = {
        "transform": [*unfolded, {"filter": "isValid(datum.y) || !datum.joined"}],
        "mark": {"type": "line", "order": None, "invalid": "break-paths-show-path-domains"},
        "encoding": {"y": y, "color": color_encoding(names), **_dash_encoding(names)},
    }
    # Where there are few, each value is marked: a lone one would not be seen.
    marked = "isValid(datum.y)" if len(kept) <= MAX_POINTS else "isValid(datum.y) && datum.joined"
    dots = {**lines, "transform": [*unfolded, {"filter": marked}], "mark": {"type": "point", "filled": True, "size": 22,
            "opacity": 1, "tooltip": None}}  # fmt: skip
    has_dots = len(names) <= MAX_LEGEND and (len(kept) <= MAX_POINTS or any(joined.values()))
    x_title = visible(chart.x_label) or "x"
    layers: list[dict[str, Any]] = [
        *(_area(every_key[low], every_key[high], y) for low, high in bands),
        *diagonal(chart, xs, series),
        lines,
        *([dots] if has_dots else []),
        *marks(chart, xs, is_number),
    ]
    if len(every_key) <= MAX_TOOLTIP:
        titles = distinct([x_title, *every_key])
        tooltip = [tooltip_field("x", titles[0], xs if is_number else None)]
        tooltip += [
            tooltip_field(key, title, values)
            for key, title, values in zip(every_key.values(), titles[1:], series.values(), strict=True)
        ]  # fmt: skip
        layers += _hover_rule(tooltip, unfolded, y, color_encoding(names))
    else:
        every = [value for values in series.values() for value in values]
        tooltip = [tooltip_field("series", "series", None), tooltip_field("x", x_title, xs if is_number else None)]
        tooltip.append(tooltip_field("y", visible(chart.y_label) or "value", every))
        layers.append(_nearest_point([*unfolded, {"filter": "isValid(datum.y)"}], y, color_encoding(names), tooltip))
    spec = {"height": HEIGHT + 40 * chart.diagonal, "data": {"values": rows}, "usermeta": usermeta(names),
            "encoding": {"x": x_encoding(chart, xs, is_number, series)}, "layer": layers}  # fmt: skip
    return spec, left_out


def _dash_encoding(names: Sequence[str]) -> dict[str, Any]:
    """Return what tells series of the same color apart, if there are more of them than colors."""
    if len(names) <= NUM_COLORS:
        return {}
    dashes = [DASHES[number // NUM_COLORS % len(DASHES)] for number in range(len(names))]
    encoding = color_encoding(names)
    return {"strokeDash": {**encoding, "scale": {**encoding["scale"], "range": dashes}}}


def _area(low: str, high: str, y: Mapping[str, Any]) -> dict[str, Any]:
    """Return the area between two series."""
    return {"mark": {"type": "area", "style": "band", "tooltip": None, "order": None},
            "encoding": {"y": {**y, "field": low}, "y2": {"field": high}}}  # fmt: skip


def _hover_rule(
    tooltip: Sequence[Mapping[str, Any]],
    unfolded: Sequence[Mapping[str, Any]],
    y: Mapping[str, Any],
    color: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Return a vertical line at the nearest x, with the values of all series, and a point on each of them."""
    return [
        {
            "mark": {"type": "rule", "style": "hover"},
            "params": [{"name": "hover", "select": HOVER}],
            "encoding": {
                "opacity": {"condition": {"param": "hover", "empty": False, "value": 1}, "value": 0},
                "tooltip": list(tooltip),
            },
        },
        {
            "transform": [*unfolded, {"filter": {"param": "hover", "empty": False}}, {"filter": "isValid(datum.y)"}],
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1, "style": "hover-point",
                     "tooltip": None},
            "encoding": {"y": dict(y), "color": dict(color)},
        },
    ]  # fmt: skip


def _nearest_point(
    transform: Sequence[Mapping[str, Any]],
    y: Mapping[str, Any],
    color: Mapping[str, Any],
    tooltip: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return points of which the nearest is shown, with its own tooltip."""
    select = {"type": "point", "nearest": True, "on": "pointerover", "clear": "pointerout"}
    return {
        "transform": list(transform),
        "mark": {"type": "point", "filled": True, "size": 60, "style": "hover-point"},
        "params": [{"name": "hover", "select": select}],
        "encoding": {
            "y": dict(y),
            "color": dict(color),
            "opacity": {"condition": {"param": "hover", "empty": False, "value": 1}, "value": 0},
            "tooltip": list(tooltip),
        },
    }


def marks(chart: Chart, xs: Sequence[Any], is_number: bool) -> list[dict[str, Any]]:
    """Return the vertical lines, each with its label at the top, on the side where there is place."""
    numbers = {shown_name(label): finite(x) for label, x in chart.marks.items()}
    found = [(x, label) for label, x in numbers.items() if x is not None and (x > 0 or chart.x_scale == "linear")]
    if not found or not is_number or not xs:
        return []
    low, high = min(*xs, *(x for x, _ in found)), max(*xs, *(x for x, _ in found))
    layers: list[dict[str, Any]] = []
    for row, (x, label) in enumerate(sorted(found)):
        share = (x - low) / ((high - low) or 1)
        align = "left" if share < 0.15 else "right" if share > 0.85 else "center"
        data, encoding = {"values": [{"x": x, "label": label}]}, {"x": {"field": "x", "type": "quantitative"}}
        text = {
            "type": "text", "style": "mark-label", "baseline": "bottom", "align": align, "dy": -4 - 13 * (row % 3),
            "tooltip": None,
        }  # fmt: skip
        layers += [
            {"data": data, "mark": {"type": "rule", "style": "mark-rule", "tooltip": None}, "encoding": encoding},
            {"data": data, "mark": text, "encoding": {**encoding, "y": {"value": 0}, "text": {"field": "label"}}},
        ]
    return layers


def diagonal(chart: Chart, xs: Sequence[Any], series: Mapping[str, Sequence[Number]]) -> list[dict[str, Any]]:
    """Return the line y = x over the range of all values."""
    ys = [value for row in series.values() for value in row if value is not None]
    if not chart.diagonal or not ys or not xs or isinstance(xs[0], str):
        return []
    ends_of_line = [{"x": value, "y": value} for value in (min(*xs, *ys), max(*xs, *ys))]
    encoding = {"x": {"field": "x", "type": "quantitative"}, "y": {"field": "y", "type": "quantitative"}}
    return [{"data": {"values": ends_of_line}, "encoding": encoding,
             "mark": {"type": "line", "style": "diagonal", "tooltip": None}}]  # fmt: skip


def point_spec(chart: Chart) -> tuple[dict[str, Any], list[str]]:
    """Return the specification of points, and what is left out."""
    xs, series, is_number = plain_values(chart)
    names = list(series)
    kept = thinned(list(series.values()))
    left_out = [f"{len(kept):,} of {len(xs):,} points are drawn, extremes among them."] if len(kept) < len(xs) else []
    rows = [
        {"x": xs[i], "y": values[i], "series": name}
        for name, values in series.items()
        for i in kept
        if values[i] is not None
    ]
    every = [value for values in series.values() for value in values]
    tooltip = [tooltip_field("series", "series", None)] if len(names) > 1 else []
    tooltip.append(tooltip_field("x", visible(chart.x_label) or "x", xs if is_number else None))
    tooltip.append(tooltip_field("y", visible(chart.y_label) or "y", every))
    encoding: dict[str, Any] = {"y": y_encoding(chart, xs, series), "color": color_encoding(names), "tooltip": tooltip}
    if 1 < len(names) <= MAX_LEGEND:
        encoding["shape"] = {**color_encoding(names)}
    crowded = len(rows) > 200
    mark = {"type": "point", "filled": True, "size": 24 if crowded else 64, "opacity": 0.45 if crowded else 0.85}
    layers = [*diagonal(chart, xs, series), {"data": {"values": rows}, "mark": mark, "encoding": encoding}]
    spec = {
        "height": HEIGHT + 40 * chart.diagonal,
        "usermeta": usermeta(names),
        "encoding": {"x": x_encoding(chart, xs, is_number, series)},
        "layer": [*layers, *marks(chart, xs, is_number)],
    }
    return spec, left_out
