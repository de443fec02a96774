"""Heatmaps: a matrix of values, such as a confusion matrix."""

from __future__ import annotations

from typing import Any

from nnrun.base.shown import Chart
from nnrun.base.visible import visible
from nnrun.runs.drawing.parts import shown_names, tooltip_field
from nnrun.runs.drawing.thinning import MAX_CLASSES, Number, finite, largest, most_confused

# Up to this number of columns, the cells hold their values.
MAX_TEXT_COLUMNS = 12


def heatmap_spec(chart: Chart) -> tuple[dict[str, Any], list[str]]:
    """Return the specification of a heatmap, and what is left out."""
    columns, names = shown_names(chart.x), shown_names(chart.series)
    matrix = [[finite(value) for value in row] for row in chart.series.values()]
    columns, names, matrix, left_out = _cut_matrix(columns, names, matrix)
    every = [value for row in matrix for value in row if value is not None]
    is_count = all(isinstance(value, int) for value in every)
    is_share = not is_count and all(0 <= value <= 1 for value in every)
    most = max((abs(value) for value in every), default=0) or 1
    # Of counts and shares, the square root: errors are few beside the diagonal, and must be seen.
    power = 0.5 if is_count or is_share or chart.y_scale == "log" else 1.0
    rows = [
        {"x": column, "y": name, "value": value, "depth": round((abs(value) / most) ** power, 4),
         "text": _cell_text(value, is_share)}
        for name, row in zip(names, matrix, strict=True)
        for column, value in zip(columns, row, strict=False)
        if value is not None
    ]  # fmt: skip
    has_text = len(columns) <= MAX_TEXT_COLUMNS and len(names) <= 2 * MAX_TEXT_COLUMNS
    title = "count" if is_count else "share" if is_share else "value"
    legend = (
        None
        if has_text
        else {"format": ".0%" if is_share else "~s", "title": None, "tickCount": 5, "symbolStrokeWidth": 0}
    )
    tooltip = [
        tooltip_field("y", visible(chart.y_label) or "row", None),
        tooltip_field("x", visible(chart.x_label) or "column", None),
    ]
    tooltip.append(tooltip_field("value", title, every) | ({"format": ".2~%"} if is_share else {}))
    scale = {"domain": [0, most], "range": [0, 1], **({"type": "pow", "exponent": power} if power != 1 else {})}
    cell = {
        "fillOpacity": {"field": "size", "type": "quantitative", "scale": scale, "legend": legend},
        "tooltip": tooltip,
    }  # fmt: skip
    sized = [{"calculate": "abs(datum.value)", "as": "size"}]
    layers: list[dict[str, Any]] = [
        {"transform": [*sized, {"filter": "datum.value >= 0"}], "mark": {"type": "rect", "style": "heat"},
         "encoding": cell}
    ]  # fmt: skip
    if any(value < 0 for value in every):
        layers.append({"transform": [*sized, {"filter": "datum.value < 0"}], "encoding": cell,
                       "mark": {"type": "rect", "style": "heat-negative"}})  # fmt: skip
    if has_text:
        for style, test in (("heat-text", "datum.depth <= 0.55"), ("heat-text-on", "datum.depth > 0.55")):
            layers.append({"transform": [{"filter": test}], "encoding": {"text": {"field": "text"}},
                           "mark": {"type": "text", "style": style, "tooltip": None}})  # fmt: skip
    longest = max(map(len, columns), default=0)
    angle = 0 if longest <= 3 else -90 if len(columns) > MAX_TEXT_COLUMNS else -40
    x = {
        "field": "x", "type": "ordinal", "sort": None, "title": visible(chart.x_label) or None,
        "scale": {"domain": columns},
        "axis": {
            "labelAngle": angle, "labelOverlap": len(columns) > MAX_TEXT_COLUMNS, "domain": False, "ticks": False,
            "labelFlush": False,
        },
    }  # fmt: skip
    y = {
        "field": "y", "type": "ordinal", "sort": None, "title": visible(chart.y_label) or None,
        "scale": {"domain": names}, "axis": {"grid": False, "labelOverlap": True},
    }  # fmt: skip
    step = min(64, max(14, 400 / max(1, len(columns))))
    spec = {"height": round(step * max(1, len(names))), "data": {"values": rows}, "encoding": {"x": x, "y": y},
            "layer": layers, "usermeta": {"columns": len(columns)}}  # fmt: skip
    return spec, left_out


def _cell_text(value: float, is_share: bool) -> str:
    """Return the value in a cell: nothing for zero, so that the others stand out."""
    if value == 0:
        return ""
    if is_share:
        # Without the zero before the point: cells are narrow.
        return "" if value < 0.005 else f"{value:.2f}".removeprefix("0")
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 10_000 else f"{value / 1000:,.0f}k"
    return f"{value:.2g}"


def _cut_matrix(
    columns: list[str], names: list[str], matrix: list[list[Number]]
) -> tuple[list[str], list[str], list[list[Number]], list[str]]:
    """Return the part of a matrix that a page can show: of a confusion matrix the most confused classes."""
    if len(columns) <= MAX_CLASSES and len(names) <= MAX_CLASSES:
        return columns, names, matrix, []
    if columns == names:
        rows = across = most_confused(matrix)
        left_out = f"The {len(rows)} most confused of {len(names):,} classes are drawn."
    else:
        size = [[abs(value or 0) for value in row] for row in matrix]
        rows = largest([sum(row) for row in size], MAX_CLASSES)
        across = largest([sum(row[i] for row in size if i < len(row)) for i in range(len(columns))], MAX_CLASSES)
        left_out = (
            f"The largest {len(rows)} of {len(names):,} rows and {len(across)} of {len(columns):,} columns are drawn."
        )
    cut = [[matrix[row][i] if i < len(matrix[row]) else None for i in across] for row in rows]
    return [columns[i] for i in across], [names[i] for i in rows], cut, [left_out]
