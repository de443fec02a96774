"""The sections of a report on the layers that `trainer.watch` measured, and on what `trainer.profile` found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nnrun.base.shown import Chart, Section, Shown, Table, Text, counted
from nnrun.tasks.report.read import RunRead, is_number, mapping
from nnrun.tasks.report.results import thinned_note

WATCH = "watch"
# The number of layers that a chart has place for.
_MOST_LAYERS = 8
_PARTS = ("data", "forward", "backward", "metrics", "optimizer")
# The number of operations of a profile that are shown.
_MOST_OPERATIONS = 10

# The names of the ends of the usual range.
_BAND = ("usual, from", "usual, to")

Values = Sequence[float | None]
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class _Part:
    """A part of the watched values, and how it is drawn; with a `usual` range, the layers far from it are extreme.

    Else the extreme layers are those far from the others, or on a linear axis, a share, the largest.
    """

    name: str
    title: str
    y_label: str
    is_log: bool = True
    usual: tuple[float, float] | None = None


_CHARTS = (
    _Part("gradients", "Gradient by layer", "root mean square"),
    _Part("updates", "Update by layer, relative to the weights", "update / weights", usual=(1e-4, 1e-2)),
    _Part("dead", "Dead units by layer", "share of the units", is_log=False),
    _Part("saturated", "Saturated outputs by layer", "share of the outputs", is_log=False),
    _Part("activations", "Outputs by layer", "root mean square"),
    _Part("weights", "Weights by layer", "norm"),
)


def section_layers(run: RunRead) -> Section:
    """Return the watched values of each layer over the steps, and the time of each part of a step."""
    rows = [row for row in run.rows if row["split"] == WATCH]
    charts = (_by_layer(rows, part) for part in _CHARTS)
    shown: list[Shown] = [*filter(None, charts), *_times(rows)]
    return Section("Layers", [*shown, *thinned_note(run, (WATCH,))] if shown else [])


def _by_layer(rows: Rows, part: _Part) -> Chart | None:
    """Return a line for each layer over the steps; None where nothing of the part was measured, or all of it is 0."""
    found, num_zeros = _values(rows, part)
    if not any(value for values in found.values() for value in values):
        return None
    series, notes = _most_extreme(found, part), list[str]()
    steps = [row["step"] for row in rows]
    bands = [_BAND] if part.usual is not None and len(steps) > 1 else []
    if part.usual is not None:
        low, high = part.usual
        notes.append(f"Usual is {low:g} to {high:g} (gray): above it a training may diverge, below it learns slowly.")
        series |= dict(zip(_BAND, ([low] * len(steps), [high] * len(steps)), strict=True)) if bands else {}
    if num_zeros:
        notes.append(f"{counted(num_zeros, 'value')} of exactly 0 cannot be drawn on this axis.")
    if len(found) > _MOST_LAYERS:
        how = "farthest from the usual" if part.usual else "farthest from the others" if part.is_log else "largest"
        notes.append(f"Drawn: {_MOST_LAYERS} of {len(found):,} layers, those {how}.")
    kind: Literal["line", "points"] = "line" if len(steps) > 1 else "points"
    scale: Literal["linear", "log"] = "log" if part.is_log else "linear"
    return Chart(
        part.title, kind, steps, series, "step", part.y_label, y_scale=scale, bands=bands, note=" ".join(notes)
    )


def _values(rows: Rows, part: _Part) -> tuple[dict[str, Values], int]:
    """Return the values of each layer, one for each row, and the number of zeros, which a logarithmic axis lacks."""
    found, num_zeros = dict[str, Values](), 0
    for key in dict.fromkeys(key for row in rows for key in row if key.startswith(f"{part.name}/")):
        numbers = [value if is_number(value := row.get(key)) and math.isfinite(value) else None for row in rows]
        num_zeros += sum(value == 0 for value in numbers) if part.is_log else 0
        found[key.partition("/")[2]] = [None if value is not None and part.is_log and value <= 0 else value
                                        for value in numbers]  # fmt: skip
    return found, num_zeros


def _most_extreme(found: Mapping[str, Values], part: _Part) -> dict[str, Values]:
    """Return the layers to draw, in the order of the network."""
    # The first update is often large: the median says what lasts.
    typical = {name: _median([value for value in values if value is not None]) for name, values in found.items()}
    if part.is_log:
        typical = {name: math.log(value) if value else None for name, value in typical.items()}
    middle = _median([value for value in typical.values() if value is not None]) or 0.0
    if part.usual is not None:
        middle = sum(map(math.log, part.usual)) / 2

    def extreme(name: str) -> float:
        value = typical[name]
        if value is None:
            return -1.0
        return abs(value - middle) if part.is_log else max(value for value in found[name] if value is not None)

    ranked = sorted(found, key=extreme, reverse=True)[:_MOST_LAYERS]
    return {name: values for name, values in found.items() if name in ranked}


def _median(values: Sequence[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None


def _times(rows: Rows) -> list[Shown]:
    """Return the median time of each part of a step."""
    found = []
    for part in _PARTS:
        times = sorted(row[key] for row in rows if is_number(row.get(key := f"time/{part}_ms")))
        if times:
            found.append((part, times[len(times) // 2]))
    whole = sum(value for _, value in found)
    cells = [(part, f"{value:,.2f} ms", f"{value / whole:.0%}") for part, value in found] if whole else []
    return [Table("Median time of a watched step", ("part", "time", "share"), cells)] if cells else []


def section_profile(run: RunRead) -> Section:
    """Return what the profiled steps were bound by, and their costliest operations."""
    profile = run.profile
    named = profile.get("operations")
    operations = [mapping(each) for each in named] if isinstance(named, list) else []
    rows = [
        (
            str(each.get("name")),
            *(f"{each[key]:{form}}" if is_number(each.get(key)) else None for key, form in _COLUMNS.values()),
        )
        for each in operations[:_MOST_OPERATIONS]
    ]
    shown: list[Shown] = [Text("", f"The training is {profile['advice']}.")] if profile.get("advice") else []
    if rows:
        shown.append(Table(_of_steps(profile), ("operation", *_COLUMNS), rows))
        shown.append(
            Text(
                "",
                "The time of an operation excludes those that it calls. profile/trace.json.gz opens in https://ui.perfetto.dev.",
            )
        )
    return Section("Profile", shown)


_COLUMNS = {
    "time per step (ms)": ("ms_per_step", ".3f"),
    "share": ("share", ".1%"),
    "calls per step": ("calls_per_step", ",.1f"),
}


def _of_steps(profile: Mapping[str, Any]) -> str:
    """Return the title of the table of operations."""
    steps = profile.get("steps")
    of = f", steps {steps[0]} to {steps[1]}" if isinstance(steps, list) and len(steps) == 2 else ""
    return f"Costliest operations{of}"
