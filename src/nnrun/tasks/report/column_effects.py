"""The section of a report on what the predictions depend on: the columns of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nnrun.base.shown import Chart, Section, Shown, Table, Text, counted, metric_text
from nnrun.tasks.report.read import RunRead, is_number, mapping

# Columns whose importance is drawn, and of which the main line tells.
_MOST_DRAWN, _MOST_TOLD = 20, 3


def section_columns(run: RunRead) -> Section:
    """Return the importance of each column, that of columns that say nearly the same, and the prediction along some."""
    found = mapping(run.summary.get("column_effects"))
    importance, together = _ranked(found.get("importance")), _ranked(found.get("together"))
    if not importance:
        left_out = found.get("num_left_out")
        return Section(HEADING, [Text("", _not_measured(left_out))] if is_number(left_out) and left_out else [])
    metric = str(found.get("metric"))
    drawn = importance[:_MOST_DRAWN]
    shown: list[Shown] = [
        Chart(
            "Importance of the columns" + (f": the first {_MOST_DRAWN}" if len(importance) > _MOST_DRAWN else ""),
            "bars",
            [row["names"][0] for row in drawn],
            {metric: [row["mean"] for row in drawn]},
            y_label=f"fall of {metric}",
            note=how(found),
        ),
        Table(f"Fall of {metric} if a column is shuffled", _TITLES, list(map(cells_of, importance))),
    ]
    if together:
        rows = list(map(cells_of, together))
        shown.append(
            Table(f"Fall of {metric} if columns that say nearly the same are shuffled together", _TITLES, rows)
        )
        shown.append(Text("", SHARED))
    return Section(HEADING, [*shown, *_curves(found, run)])


HEADING = "What the predictions depend on"
SHARED = "Columns that say nearly the same share their importance: shuffled alone, each hides what it is worth."
_TITLES = ("column", "mean", "standard deviation")


def in_short(found: Mapping[str, Any]) -> str:
    """Return the most important columns as a line."""
    first = [row for row in _ranked(found.get("importance"))[:_MOST_TOLD] if row["mean"] > 0]
    told = ", ".join(f"{row['names'][0]} {metric_text(row['mean'])}" for row in first)
    return f"{told} (fall of {found.get('metric')} if shuffled)" if told else ""


def cells_of(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the cells of a row of importance."""
    deviation = row.get("deviation")
    return " + ".join(map(str, row["names"])), f"{row['mean']:.4f}", f"{deviation:.4f}" if is_number(deviation) else ""


def how(found: Mapping[str, Any]) -> str:
    """Return how the importance was measured, in a few sentences."""
    rows, of_rows, repeats = (int(found.get(key) or 0) for key in ("num_rows", "of_rows", "repeats"))
    which = f"{rows:,} of {of_rows:,} test rows" if rows != of_rows else f"the {counted(of_rows, 'test row')}"
    text = (
        f"How much {found.get('metric')} falls if the cells of a column are shuffled among {which}; the mean of "
        f"{counted(repeats, 'shuffle')} (Breiman 2001). The network is not trained again. It says what this "
        "network uses, not what causes the target."
    )
    left_out = found.get("num_left_out")
    return f"{text} {_not_measured(left_out)}" if is_number(left_out) and left_out else text


def _not_measured(number: float) -> str:
    """Return how many columns are left out, and why."""
    return f"Not measured for lack of time: {counted(int(number), 'column')}."


def _curves(found: Mapping[str, Any], run: RunRead) -> Iterator[Shown]:
    """Yield how to read the mean prediction along a column, and that along each column that has it."""
    charts = list(_charts(found, run))
    if charts:
        yield Text(
            "How to read the charts below",
            f"The mean prediction over {counted(int(found['num_rows']), 'test row')} if the column is set to the same "
            "value in all, and their other cells stay as they are (partial dependence, Friedman 2001). Where columns "
            "depend on each other, some of these rows are ones that cannot occur.",
        )
    yield from charts


def _charts(found: Mapping[str, Any], run: RunRead) -> Iterator[Chart]:
    is_probability = run.problem is None or run.problem.has_probabilities
    predicted = "mean probability" if is_probability else "mean prediction"
    curves = found.get("curves")
    for curve in curves if isinstance(curves, list) else ():
        name, x, series = (mapping(curve).get(key) for key in ("name", "x", "series"))
        values = list(mapping(series).values())
        if (
            not isinstance(x, list)
            or not values
            or not all(isinstance(of, list) and len(of) == len(x) for of in values)
        ):
            continue
        yield Chart(
            f"Prediction along {name}",
            "line" if curve.get("is_ordered") else "bars" if is_probability else "points",
            x,
            mapping(series),
            x_label=str(name),
            y_label=f"{predicted}, {next(iter(mapping(series)))}" if len(values) == 1 else predicted,
        )


def _ranked(rows: Any) -> Sequence[Mapping[str, Any]]:
    """Return rows of importance that can be shown."""
    return [
        row
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(mapping(row).get("names"), list) and row["names"] and is_number(row.get("mean"))
    ]
