"""The table of a sweep: the results of its jobs, best first, in files and on the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich import box

from nnrun.base.files import write_json, write_text
from nnrun.base.shown import metric_text
from nnrun.base.visible import as_cell
from nnrun.config.monitor import LOSS
from nnrun.runs.sheet import Sheet
from nnrun.sweeps.ranking import Yardstick, choose_ranking, order
from nnrun.sweeps.seams import JobState

# The files of a sweep, in its folder, and the schema of sweep.json.
CSV_NAME, JSON_NAME = "sweep.csv", "sweep.json"
SCHEMA = 1
# The metrics of an inspection that the table on the terminal shows, besides the monitored metric and the main metric of
# the validation and test splits.
_OF_AN_INSPECTION = ("model/parameters", "model/forward_flops")


@dataclass
class JobResult:
    """A job as sweep.json has it: what it is, and its result once it has one."""

    number: int
    # The swept settings, as typed, without secrets.
    overrides: dict[str, str]
    directory: str
    # None as long as it has not ended.
    exit_code: int | None
    state: str
    monitor: str | None = None
    monitored: float | None = None
    mode: str | None = None
    seconds: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    reason: str | None = None
    # The words of its command line, without secrets; the hash of its composed config; and what the search calls it.
    words: list[str] = field(default_factory=list)
    config: str | None = None
    point: int | None = None
    # The number of a job that it was trained together with, the same for all of these; None if it trained by itself.
    stack: int | None = None
    # It was the best of the jobs when these were trained together, and is trained again by itself.
    is_alone: bool = False
    yardstick: Yardstick = field(default_factory=Yardstick)

    @property
    def has_ended(self) -> bool:
        """Whether it has a result that stays, good or bad."""
        return self.state in (JobState.FINISHED, JobState.FAILED, JobState.PRUNED)


def ranked(results: Sequence[JobResult]) -> list[JobResult]:
    """Return the jobs, best first, by the metric that they can be compared by; those without a value last."""
    return order(results, choose_ranking(results))


def write_table(results: Sequence[JobResult], swept: Sequence[str], folder: Path, record: Mapping[str, Any]) -> Path:
    """Write the jobs that have ended, best first, as sweep.csv, and all of them in sweep.json beside `record`.

    Returns the path of sweep.csv. Each file is replaced whole.
    """
    rows = ranked([result for result in results if result.has_ended])
    table = folder / CSV_NAME
    write_text(table, as_csv(rows, swept, metric_names(rows)))
    write_json(folder / JSON_NAME, {**record, "jobs": as_plain(results)}, SCHEMA)
    return table


def as_plain(results: Sequence[JobResult]) -> list[dict[str, Any]]:
    """Return the jobs, best first, as plain values."""
    return [asdict(row) for row in ranked(results)]


def metric_names(rows: Sequence[JobResult]) -> list[str]:
    """Return the name of every metric that a job has."""
    return sorted({name for result in rows for name in result.metrics})


def as_csv(rows: Sequence[JobResult], swept: Sequence[str], metrics: Sequence[str]) -> str:
    """Return the jobs as CSV, one line each: the swept values, and every metric in full precision."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["job", *swept, "state", "exit_code", *metrics, "seconds", "directory", "reason"])
    for row in rows:
        values = [row.overrides.get(key, "") for key in swept]
        exact = [row.metrics.get(name, "") for name in metrics]
        end = [row.seconds, row.directory, row.reason or ""]
        writer.writerow(map(as_cell, [row.number, *values, row.state, row.exit_code, *exact, *end]))
    return text.getvalue()


def as_table(rows: Sequence[JobResult], swept: Sequence[str], metrics: Sequence[str]) -> Sheet:
    """Return the jobs as a table for the terminal, with the metrics that matter most."""
    watched = [row.monitor for row in rows if row.monitor]
    quoted = [f"{split}/{row.yardstick.headline}" for split in ("valid", "test") for row in rows]
    names = dict.fromkeys([LOSS, *watched, *quoted, *_OF_AN_INSPECTION])
    shown = [name for name in names if name in metrics]
    table = Sheet(box=box.SIMPLE_HEAD, pad_edge=False)
    # Dropped first on a narrow terminal: times, then metrics that are not monitored.
    importance = {name: 2 if name.startswith("test/") else 3 for name in shown if name not in watched}
    for title in ("job", *swept, *shown):
        table.add_column(title, overflow="fold", importance=importance.get(title, 0))
    # The exit code says which jobs failed; others that did not finish are told apart by their state.
    has_states = any(row.state not in (JobState.FINISHED, JobState.FAILED) for row in rows)
    if has_states:
        table.add_column("state", importance=1)
    table.add_column("seconds", importance=4)
    table.add_column("exit", importance=1)
    for row in rows:
        values = [row.overrides.get(key, "") for key in swept]
        figures = [_figure(name, row.metrics[name]) if name in row.metrics else "-" for name in shown]
        state = [str(row.state)] if has_states else []
        table.add_row(str(row.number), *values, *figures, *state, f"{row.seconds:.1f}", str(row.exit_code))
    return table


def _figure(name: str, value: float) -> str:
    """Return a metric for the terminal; counts of a network are whole numbers."""
    return f"{value:,.0f}" if name.startswith("model/") else metric_text(value)
