"""A comparison as CSV: its runs, and the samples on which two runs differ."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from nnrun.base.visible import as_cell
from nnrun.tasks.comparison.comparison import Comparison
from nnrun.tasks.comparison.differences import title_of, value_text
from nnrun.tasks.comparison.families import Entry
from nnrun.tasks.comparison.samples import Pair


def as_csv(comparison: Comparison) -> str:
    """Return the runs as CSV, a line each, best first: settings that differ, every metric in full precision."""
    metrics = sorted({name for run in comparison.runs for name in run.metrics})
    keys = comparison.every_setting
    text = io.StringIO()
    writer = csv.writer(text)
    titles = [title_of(key) for key in keys]
    ends = [
        "interval_low",
        "interval_high",
        "difference_to_best",
        "p_holm",
        "seconds",
        "size_bytes",
        "started",
        "reason",
    ]
    writer.writerow(["rank", "ranked_by", "directory", "task", "state", *titles, *metrics, *ends])
    for number, metric, entry in _numbered(comparison):
        for run in entry.runs:
            interval, verdict = comparison.intervals.get(run), comparison.verdict_on(run)
            pair = verdict.pair if verdict else None
            row: list[object] = [number, metric, str(run.path), run.task or "", run.state]
            row += [value_text(run, key) for key in keys]
            row += [run.metrics.get(name, "") for name in metrics]
            row += [*(interval[1:] if interval else ("", ""))]
            row += [-pair.tested.difference if pair else "", verdict.p if verdict and pair else ""]
            row += ["" if run.seconds is None else run.seconds, run.num_bytes, run.started or ""]
            row += [run.reason or entry.why or ""]
            writer.writerow(map(as_cell, row))
    return text.getvalue()


def _numbered(comparison: Comparison) -> Iterator[tuple[object, str, Entry]]:
    """Yield the entries with their ranks and metrics; those that are not ranked have neither."""
    for family in comparison.ranked.families:
        yield from ((number, family.metric, entry) for number, entry in enumerate(family.entries, 1))
    yield from (("", "", entry) for entry in comparison.ranked.unranked)


def samples_csv(pairs: Sequence[Pair]) -> str:
    """Return the samples on which runs differ as CSV, worst first."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["first", "second", "index", "sample", "target", "prediction_first", "prediction_second", "better"])
    for pair in pairs:
        for found in pair.differing:
            row = [str(pair.first.path), str(pair.second.path), found.index, found.name, found.target]
            writer.writerow(map(as_cell, [*row, found.first, found.second, found.better]))
    return text.getvalue()
