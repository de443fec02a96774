"""The colors of pages and charts, and the configuration that all charts share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Okabe and Ito's colors, which people with any kind of color vision can tell apart; brighter ones in dark mode.
LIGHT = {
    **{f"c{number}": color for number, color in enumerate(
        ("#0072b2", "#d55e00", "#009e73", "#b8558f", "#e69f00", "#4aa3d8", "#7a6a00", "#6b7280"))},
    "ink": "#1c2128", "muted": "#59636e", "grid": "#e7eaee", "line": "#d5dae0",
    "page": "#f5f6f8", "card": "#ffffff", "heat": "#0b5cab", "negative": "#b3400a", "on-heat": "#ffffff",
    "accent": "#0a58a8", "code": "#f0f2f5",
}  # fmt: skip
DARK = {
    **{f"c{number}": color for number, color in enumerate(
        ("#58b4f0", "#ff9457", "#35cfa0", "#eb9fcb", "#f3c34d", "#9cc4ff", "#f0e442", "#aab3bf"))},
    "ink": "#e6e9ee", "muted": "#a2abb8", "grid": "#2d343e", "line": "#3a424e",
    "page": "#12161c", "card": "#1a2028", "heat": "#63b3f5", "negative": "#ff9457", "on-heat": "#0b1118",
    "accent": "#7cc0ff", "code": "#232a34",
}  # fmt: skip
NUM_COLORS = 8
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def chart_config(color: Callable[[str], str]) -> dict[str, Any]:
    """Return the configuration of all charts; `color` turns a name of `LIGHT` into a color."""
    axis = {
        "labelColor": color("muted"), "titleColor": color("muted"), "titleFontWeight": 500, "titleFontSize": 12,
        "labelFontSize": 11, "gridColor": color("grid"), "domainColor": color("line"), "tickColor": color("line"),
        "labelPadding": 6, "titlePadding": 10,
        "labelLimit": 120,
        "titleLimit": 240,
    }  # fmt: skip
    return {
        "background": "transparent",
        "font": FONT,
        "aria": False,  # the chart has one description: its hundreds of marks would be read out one by one
        "padding": {"left": 4, "right": 10, "top": 6, "bottom": 4},
        "view": {"stroke": None},
        "axis": axis,
        "axisX": {"grid": False, "labelFlush": False, "labelSeparation": 8},
        "axisY": {"domain": False, "ticks": False, "tickCount": 6},
        "legend": {
            "orient": "bottom",
            "direction": "horizontal",
            "title": None,
            "labelColor": color("ink"),
            "titleColor": color("muted"),
            "labelFontSize": 12,
            "labelLimit": 320,
            "symbolSize": 90,
            "symbolStrokeWidth": 2.5,
            "columnPadding": 14,
            "rowPadding": 4,
            "offset": 14,
        },
        "range": {"category": [color(f"c{number}") for number in range(NUM_COLORS)]},
        "line": {"strokeWidth": 2, "strokeCap": "round", "strokeJoin": "round"},
        "bar": {"cornerRadiusEnd": 2},
        "rect": {"stroke": color("grid"), "strokeWidth": 1},
        "style": {
            "heat": {"color": color("heat")},
            "heat-negative": {"color": color("negative")},
            "heat-text": {"color": color("ink"), "fontSize": 10},
            "heat-text-on": {"color": color("on-heat"), "fontSize": 10},
            "mark-rule": {"color": color("muted"), "strokeDash": [4, 4], "strokeWidth": 1.2},
            "mark-label": {"limit": 180, "color": color("muted"), "fontSize": 11, "fontWeight": 600},
            "mark-label-halo": {
                "limit": 180,
                "color": color("card"),
                "stroke": color("card"),
                "strokeWidth": 4,
                "strokeJoin": "round",
                "fontSize": 11,
                "fontWeight": 600,
            },
            "band": {"color": color("muted"), "opacity": 0.16},
            "diagonal": {"color": color("muted"), "strokeDash": [2, 4], "strokeWidth": 1.2},
            "hover": {"color": color("muted"), "strokeWidth": 1},
            "hover-point": {"stroke": color("card"), "strokeWidth": 1.5},
        },
    }
