"""Charts as Vega-Lite specifications: plain dicts, which pages embed and other programs can read.

Colors are not in a specification but in the configuration beside it (`drawing/theme.py`), so that a page can follow the
reader's light or dark mode.
"""

from __future__ import annotations

from typing import Any

from nnrun.base.shown import Chart
from nnrun.base.visible import visible
from nnrun.runs.drawing.bars import bar_spec
from nnrun.runs.drawing.heatmap import heatmap_spec
from nnrun.runs.drawing.lines import line_spec, point_spec
from nnrun.runs.drawing.parallel import parallel_spec

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_SPECIFIED = {
    "line": line_spec,
    "points": point_spec,
    "bars": bar_spec,
    "heatmap": heatmap_spec,
    "parallel": parallel_spec,
}


def vega_lite(chart: Chart) -> dict[str, Any]:
    """Return a chart as a Vega-Lite specification, without its title.

    NaN, infinities and None are gaps. On a logarithmic scale, values that are not positive are left out. Where there
    is too much to draw, the description says what is left out.
    """
    return drawn(chart)[0]


def drawn(chart: Chart) -> tuple[dict[str, Any], list[str]]:
    """Return a chart's specification; and as sentences its note, and what the drawing leaves out."""
    spec, left_out = _SPECIFIED[chart.kind](chart)
    notes = [visible(note) for note in (chart.note, *left_out) if note]
    described = ". ".join(text.rstrip(".") for text in (visible(chart.title), *notes) if text)
    return {"$schema": SCHEMA, "description": described, "width": "container", **spec}, notes
