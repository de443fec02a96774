"""Pages: what is to be shown, as one HTML file that needs no network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from nnrun.base.files import write_text
from nnrun.base.shown import Chart, Gallery, Page, Section, Shown, Table, Text, counted, metric_text
from nnrun.base.visible import visible, visible_lines
from nnrun.runs.charts import drawn
from nnrun.runs.drawing.theme import DARK, LIGHT, chart_config

# Above this number of rows, a table is folded; above the second, its end is left out.
LONG_TABLE, MAX_TABLE_ROWS = 25, 2_000
# A table of at most this size stands beside another item.
SMALL_ROWS, SMALL_COLUMNS = 14, 4
# Up to this number, facts stand side by side, unless one is longer than a line.
FEW_FACTS, LONG_FACT = 9, 60
# A command up to this length stands beside another item.
SHORT_COMMAND = 100
# A chart that is taller, in pixels, takes the whole width.
TALL_CHART = 520
# In base64: what leaves a page below 3 MB, with Vega's scripts and the charts.
MAX_PICTURE_BYTES = 1_400_000
# Pictures smaller than this are enlarged without smoothing.
SMALL_PICTURE = 96
# In the order in which they are loaded.
SCRIPTS = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js")
_NUMBER = re.compile(r"[-+−]?[\d,]*\.?\d+([eE][-+]?\d+)?( ?(%|s|ms|MB|kB|GB|x))?|–|")
# Columns of names, which may be numbers.
_NAMES = {"class", "label", "predicted", "sample", "target", "true", "truth"}
_NUMBER_AND_MORE = re.compile(r"(?P<number>[-+]?\d[\d,.]*( ?%)?)( \((?P<inside>[^()]+)\)|: (?P<after>.+))")


def write_page(page: Page, path: Path, *, note: str = "") -> None:
    """Write a page, with `note` at its foot. All texts are shown as texts, whatever is in them."""
    # A run that writes no page does not pay for it.
    from jinja2 import Environment, PackageLoader, select_autoescape  # noqa: PLC0415
    from markupsafe import Markup  # noqa: PLC0415

    environment = Environment(
        autoescape=select_autoescape(default=True),
        loader=PackageLoader("nnrun.runs", "page_files"),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    charts: list[dict[str, Any]] = []
    budget = _Budget(MAX_PICTURE_BYTES)
    sections = [_section(section, number, charts, budget) for number, section in enumerate(page.sections, 1)]
    scripts = _scripts() if charts else []
    html = environment.get_template("page.html").render(
        title=visible(page.title),
        lead=visible(page.lead),
        note=visible_lines(note),
        sections=sections,
        style=Markup(_style()),
        scripts=[Markup(script) for script in scripts],
        policy=_policy(scripts),
        charts=Markup(_json({"config": chart_config("var(--{})".format), "specs": charts})) if charts else "",
    )
    write_text(path, html)


class _Budget:
    """The bytes that are left for pictures."""

    def __init__(self, num_bytes: int) -> None:
        self._left = num_bytes

    def takes(self, num_bytes: int) -> bool:
        """Take bytes, if there are as many."""
        fits = num_bytes <= self._left
        self._left -= num_bytes if fits else 0
        return fits


def _file(folder: str, name: str) -> str:
    return files("nnrun.runs").joinpath(folder, name).read_text(encoding="utf-8")


def _scripts() -> list[str]:
    """Return the scripts of a page with charts: Vega's, without the address of their source maps, and ours."""
    vega = [re.sub(r"\n//# sourceMappingURL=\S+\s*$", "\n", _file("vega", name)) for name in SCRIPTS]
    vega[0] = f"/* The licenses of these scripts:\n{_file('vega', 'LICENSES.txt').replace('*/', '* /')}*/\n{vega[0]}"
    return [*vega, _file("page_files", "page.js")]


def _policy(scripts: Sequence[str]) -> str:
    """Return the page's security policy: it loads nothing, and runs no script but these."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes) or "'none'"
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"


def _style() -> str:
    """Return the style sheet; paper is light."""
    light, dark = (
        ":root { " + " ".join(f"--{name}: {color};" for name, color in colors.items()) + " }"
        for colors in (LIGHT, DARK)
    )
    rules = _file("page_files", "page.css")
    return f"{light}\n@media screen and (prefers-color-scheme: dark) {{ {dark} }}\n{rules}"


def _json(value: object) -> str:
    """Return JSON that may stand in a script element."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _section(section: Section, number: int, charts: list[dict[str, Any]], budget: _Budget) -> dict[str, Any]:
    items = [_item(shown, charts, budget) for shown in section.shown]
    _set_widths(items)
    return {"heading": visible(section.heading), "anchor": f"section-{number}", "shown": items}


def _set_widths(items: Sequence[dict[str, Any]]) -> None:
    """Let an item that has no neighbor to stand beside take the whole width: charts stand beside charts."""
    alone: dict[str, Any] | None = None
    for item in items:
        if alone and not item["is_wide"] and (item["kind"] == "chart") == (alone["kind"] == "chart"):
            alone = None
            continue
        if alone:
            alone["is_wide"] = True
        alone = None if item["is_wide"] else item
    if alone:
        alone["is_wide"] = True


def _item(shown: Shown, charts: list[dict[str, Any]], budget: _Budget) -> dict[str, Any]:
    """Return what the template needs of a shown object."""
    if isinstance(shown, Chart):
        return _chart(shown, charts)
    if isinstance(shown, Gallery):
        return _gallery(shown, budget)
    if isinstance(shown, Text):
        kind = "code" if shown.is_code else "text"
        return {
            "kind": kind,
            "title": visible(shown.title),
            "text": visible_lines(shown.text),
            "is_wide": kind == "text" or len(shown.text) > SHORT_COMMAND,
        }
    return _table(shown) if shown.columns else _facts(shown)


def _chart(chart: Chart, charts: list[dict[str, Any]]) -> dict[str, Any]:
    spec, notes = drawn(chart)
    charts.append(spec)
    columns = spec.get("usermeta", {}).get("columns")
    return {
        "kind": "chart",
        "title": visible(chart.title),
        "number": len(charts) - 1,
        "described": spec["description"],
        "notes": notes,
        # The cells of a small matrix stay near to squares.
        "max_width": 160 + 72 * columns if columns else None,
        "is_wide": spec["height"] > TALL_CHART,
    }


def _facts(table: Table) -> dict[str, Any]:
    rows = [(_cell(row[0]), *_split("  ".join(map(_cell, row[1:])))) for row in table.rows if row]
    longest = max((len(value) for _, value, _ in rows), default=0)
    return {
        "kind": "facts",
        "title": visible(table.title),
        "summary": visible(table.summary),
        "rows": rows,
        "is_few": len(rows) <= FEW_FACTS and longest <= LONG_FACT,
        "is_wide": longest > LONG_FACT or len(rows) > SMALL_ROWS,
    }


def _split(value: str) -> tuple[str, str]:
    """Return the number at the beginning of a fact, and what is said of it, in parentheses or after a colon."""
    found = _NUMBER_AND_MORE.fullmatch(value)
    return (found["number"], found["inside"] or found["after"]) if found else (value, "")


def _table(table: Table) -> dict[str, Any]:
    rows = [[_cell(cell) for cell in row] for row in table.rows[:MAX_TABLE_ROWS]]
    numeric = [_is_numeric(table, i, [row[i] for row in rows if i < len(row)]) for i in range(len(table.columns))]
    num_rows, more = len(table.rows), len(table.rows) - len(rows)
    is_long = num_rows > LONG_TABLE
    return {
        "kind": "table",
        "title": visible(table.title),
        "summary": visible(table.summary),
        "columns": [visible(str(column)) for column in table.columns],
        # A row that is longer than the titles has cells without one.
        "numeric": [*numeric, *[False] * max((len(row) - len(numeric) for row in rows), default=0)],
        "rows": rows,
        "is_long": is_long,
        "counted": f"Show all {counted(num_rows, 'row')}" if not more else f"Show {len(rows):,} of {num_rows:,} rows",
        "left_out": f"{counted(more, 'row')} more." if more else "",
        "is_wide": is_long or len(table.columns) > SMALL_COLUMNS or num_rows > SMALL_ROWS,
    }


def _is_numeric(table: Table, column: int, texts: Sequence[str]) -> bool:
    """Return whether a column has numbers: no names, also if the names are numbers."""
    is_first = column == 0 and len(table.columns) > 1  # what the row is about
    if is_first or table.columns[column] in _NAMES or not all(map(_NUMBER.fullmatch, texts)):
        return False
    # A number that is given as text has a point, a unit or separators; digits alone are the name of a class.
    given = [row[column] for row in table.rows[: len(texts)] if column < len(row)]
    return not given or not all(isinstance(cell, str) and cell.isdigit() for cell in given)


def _cell(value: object) -> str:
    """Return a value as text: `–` for none."""
    if value is None or value != value:  # noqa: PLR0124 - NaN, of any library
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return metric_text(value) if abs(value) != float("inf") else "–"
    return visible_lines(str(value))


def _gallery(gallery: Gallery, budget: _Budget) -> dict[str, Any]:
    samples, num_left_out = [], 0
    for index, caption in gallery.captions.items():
        picture = gallery.pictures.get(index)
        uri = f"data:image/png;base64,{base64.b64encode(picture).decode()}" if picture else ""
        if uri and not budget.takes(len(uri)):
            uri, num_left_out = "", num_left_out + 1
        samples.append(
            {
                "picture": uri,
                "is_small": picture is not None and _largest_side(picture) < SMALL_PICTURE,
                "caption": visible_lines(caption),
                "alt": f"{visible(gallery.split)} sample {index}: {visible(caption)}",
            }
        )
    left_out = f"{counted(num_left_out, 'picture')} left out: the page would be too large." if num_left_out else ""
    return {
        "kind": "gallery",
        "title": visible(gallery.title),
        "samples": samples,
        "left_out": left_out,
        "is_wide": True,
    }


def _largest_side(png: bytes) -> int:
    """Return the larger of width and height, which a PNG file states in its first chunk."""
    return max(int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big"))
