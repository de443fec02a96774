"""The charts of a page as PNG and SVG files. Needs vl-convert-python, which needs no browser."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nnrun.base.files import DurableFile, saving
from nnrun.base.foreign_errors import check_package
from nnrun.base.shown import Chart, Page
from nnrun.base.visible import visible
from nnrun.runs.charts import drawn
from nnrun.runs.drawing.theme import LIGHT, chart_config

# The version whose specifications pages draw.
VEGA_LITE = "6.4"
# In pixels; a PNG has twice as many.
WIDTH, CELL_WIDTH, SCALE = 560, 48, 2
_LONGEST_NAME = 40


def write_plots(page: Page, folder: Path) -> list[Path]:
    """Write each chart of a page as `01-loss.svg` and `01-loss.png`; return the files.

    Raises ResourceError if vl-convert-python is not installed, or if the disk refuses a file.
    """
    check_package("report.plots=true", "vl_convert")
    import vl_convert  # noqa: PLC0415 - as above

    with saving(folder):
        folder.mkdir(exist_ok=True)
    written = []
    for name, spec in _named_specs(page):
        # No address is fetched: a chart holds its data.
        options: dict[str, Any] = {
            "vl_version": VEGA_LITE,
            "config": _config(spec["usermeta"].get("legend_entry", WIDTH)),
            "allowed_base_urls": [],
        }
        svg = vl_convert.vegalite_to_svg(spec, **options)
        png = vl_convert.svg_to_png(svg, scale=SCALE)
        for suffix, data in ((".svg", svg.encode(errors="backslashreplace")), (".png", png)):
            path = folder / f"{name}{suffix}"
            with saving(path), DurableFile(folder) as file:
                file.write(data)
                file.commit(path.name)
            written.append(path)
    return written


def _named_specs(page: Page) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the specification of each chart under the name of its files."""
    charts = [shown for section in page.sections for shown in section.shown if isinstance(shown, Chart)]
    for number, chart in enumerate(charts, 1):
        spec, notes = drawn(chart)
        words = re.sub(r"[^a-z0-9]+", "-", chart.title.lower()).strip("-")[:_LONGEST_NAME].rstrip("-")
        columns = spec["usermeta"].get("columns")
        spec["width"] = min(WIDTH, max(CELL_WIDTH * columns, 200)) if columns else WIDTH
        if "layer" in spec:
            spec["layer"] = [layer for layer in spec["layer"] if not _is_for_hover(layer)]
        spec["autosize"] = {"type": "pad"}
        spec["title"] = {"text": visible(chart.title), "subtitle": notes}
        yield f"{number:02}-{words}".rstrip("-"), spec


def _is_for_hover(layer: Mapping[str, Any]) -> bool:
    """Return whether a layer is seen only under a mouse."""
    return "params" in layer or {"param": "hover", "empty": False} in [
        step.get("filter") for step in layer.get("transform", ())
    ]


def _config(legend_entry: int) -> dict[str, Any]:
    """Return the configuration of charts on white; `legend_entry` is the width of a series in the legend."""
    config = chart_config(LIGHT.__getitem__)
    title = {"anchor": "start", "color": LIGHT["ink"], "fontSize": 15, "offset": 14, "subtitleColor": LIGHT["muted"]}
    config["legend"]["columns"] = max(1, WIDTH // legend_entry)
    return {**config, "background": LIGHT["card"], "title": title, "padding": 16}
