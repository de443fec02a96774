"""What the template of a page needs: sections as plain values, with texts that may be shown, widths, and pictures."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any

from nnrun.base.shown import Chart, Gallery, Section, Shown, Table, Text, counted, metric_text
from nnrun.base.visible import visible, visible_lines
from nnrun.runs.charts import drawn

# Above this number of rows, a table is folded; above the second, its end is left out.
LONG_TABLE, MAX_TABLE_ROWS = 25, 2_000
# A table of at most this size stands beside another item.
SMALL_ROWS, SMALL_COLUMNS = 14, 4
# With more columns, the columns are narrow.
MANY_COLUMNS = 8
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
_NUMBER = re.compile(r"[-+−]?[\d,]*\.?\d+([eE][-+]?\d+)?( ?(%|s|ms|MB|kB|GB|x))?|–|")
# Columns of names, which may be numbers.
_NAMES = {"class", "label", "predicted", "sample", "target", "true", "truth"}
_PARTS = re.compile(r"[^./_]*[./_]|[^./_]+")
_NUMBER_AND_MORE = re.compile(r"(?P<number>[-+]?\d[\d,.]*( ?%)?)( \((?P<inside>[^()]+)\)|: (?P<after>.+))")


def items_of(sections: Sequence[Section]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the sections as the template takes them, and the specifications of their charts, in order."""
    charts: list[dict[str, Any]] = []
    budget = _Budget(MAX_PICTURE_BYTES)
    return [_section(section, number, charts, budget) for number, section in enumerate(sections, 1)], charts


class _Budget:
    """The bytes that are left for pictures."""

    def __init__(self, num_bytes: int) -> None:
        self._left = num_bytes

    def takes(self, num_bytes: int) -> bool:
        """Take bytes, if there are as many."""
        fits = num_bytes <= self._left
        self._left -= num_bytes if fits else 0
        return fits


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
    is_long, is_dense = num_rows > LONG_TABLE, len(table.columns) > MANY_COLUMNS
    return {
        "kind": "table",
        "title": visible(table.title),
        # On the console, two spaces separate its parts.
        "summary": visible(table.summary).replace("  ", " · "),
        "columns": [_parts(visible(str(column)), is_dense=is_dense) for column in table.columns],
        "is_dense": is_dense,
        # A row that is longer than the titles has cells without one.
        "numeric": [*numeric, *[False] * max((len(row) - len(numeric) for row in rows), default=0)],
        "rows": rows,
        "is_long": is_long,
        "counted": f"Show all {counted(num_rows, 'row')}" if not more else f"Show {len(rows):,} of {num_rows:,} rows",
        "left_out": f"{counted(more, 'row')} more." if more else "",
        "is_wide": is_long or len(table.columns) > SMALL_COLUMNS or num_rows > SMALL_ROWS,
    }


def _parts(title: str, *, is_dense: bool) -> list[str]:
    """Return the parts between which a title of a dense table may be broken: after a point, a slash, an underscore."""
    return _PARTS.findall(title) if is_dense else [title]


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
