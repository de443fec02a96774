"""Report on a repeated run: what differs in settings, environment and data, and then in metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnrun.assembly.data.opened import Opened
from nnrun.assembly.data.overlap import how_it_differs
from nnrun.assembly.job import Job
from nnrun.base.errors import DataError
from nnrun.base.files import read_record
from nnrun.base.shown import metric_text
from nnrun.checkpoints.saved_run import SavedRun
from nnrun.config.interpolation import plain_shapes
from nnrun.runs.console import Console
from nnrun.runs.summary import Summary
from nnrun.tasks.session import Session
from nnrun.tasks.train.resume import changes

# Keys of environment.json on which the bits of a run may depend.
_ENVIRONMENT = ("python", "platform", "versions", "cpu", "device", "threads", "kernels", "git_commit")
_WEIGHTS = "transfer.weights"
_MAX_CHARACTERS = 100


@dataclass(frozen=True)
class Repetition:
    """The run that is repeated, and the differences from it that are known before training."""

    run: Path
    settings: Sequence[str]
    environment: Sequence[str]
    data: Sequence[str]

    @property
    def differs(self) -> list[str]:
        """All differences."""
        return [*self.settings, *self.environment, *self.data]

    def compare(self, summary: Summary, console: Console) -> None:
        """Report how the metrics differ from those of the run, and record all differences in the summary."""
        found: dict[str, Any] = {"run": str(self.run), "settings": self.settings, "environment": self.environment}
        found |= {"data": self.data, "metrics": None}
        summary.repeated = found
        theirs = _metrics_of(self.run)
        if theirs is None:
            console.note(f"{self.run} did not finish: there are no metrics to compare")
            return
        values = {name: (theirs.get(name), summary.metrics.get(name)) for name in (*theirs, *summary.metrics)}
        other = {name: pair for name, pair in values.items() if pair[0] != pair[1]}
        found["metrics"] = {name: {"before": before, "now": now} for name, (before, now) in other.items()}
        if not other:
            console.say(f"all {len(values)} metrics are bit-identical to those of {self.run}", style="bold")
            return
        known = "" if self.differs else ", although no other difference is known"
        console.note(f"{len(other)} of {len(values)} metrics differ from those of {self.run}{known}")
        for name in (name for name in other if name.rpartition("/")[2] in ("loss", summary.headline)):
            console.say(f"{name} {_difference(*other[name])}")


def begin_again(job: Job, saved: SavedRun, data: Opened, session: Session) -> Repetition:
    """Report the known differences from the run that is repeated, and return them.

    Raises DataError if the shape of the samples or the targets differ: that cannot be the same run.
    """
    before = saved.config["data"].get("in_shape")
    if data.targets != saved.targets or (before is not None and before != plain_shapes(data.in_shape)):
        raise DataError(
            f"{saved.run} was trained on samples of {before} with {saved.targets}, but data={job.settings.data.name} "
            f"has {plain_shapes(data.in_shape)} with {data.targets}: it cannot be repeated on this data"
        )
    is_same = data.fingerprint == saved.data_fingerprint
    known = [] if is_same else [f"the data has changed ({how_it_differs(saved, data)})"]
    again = Repetition(saved.run, [line for _, line in changes(job, saved)], _environment_of(saved.run, job), known)
    for line in again.differs:
        session.console.note(f"unlike {saved.run}: {line}")
    if not again.differs:
        session.console.say(f"settings, data and environment are the same as in {saved.run}")
    return again


def _environment_of(run: Path, job: Job) -> list[str]:
    """Return the differences from the environments that a run was made in, a line each."""
    earlier = read_record(run / "environment.json")
    if earlier is None:
        return ["its environment.json cannot be read, so differences in the environment are unknown"]
    now, resumed = job.environment(), earlier.get("resumed")
    later = resumed if isinstance(resumed, list) else []
    records = [earlier, *(record for record in later if isinstance(record, dict))]
    lines = [line for record in records for line in _differences(record, now)]
    if _WEIGHTS in now and (before := _shown(earlier.get(_WEIGHTS))) != _shown(now[_WEIGHTS]):
        lines.append(f"{_WEIGHTS}: {before} -> {_shown(now[_WEIGHTS])}")
    dirty = [run for run, record in (("that run", earlier), ("this run", now)) if record.get("git_dirty")]
    return [*dict.fromkeys(lines), *(f"the code of {run} had uncommitted changes" for run in dirty)]


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield the differences between two environments."""
    for key in _ENVIRONMENT:
        one, other = before.get(key), now.get(key)
        pairs = [(key, one, other)]
        if isinstance(one, dict) and isinstance(other, dict):
            pairs = [(name, one.get(name), other.get(name)) for name in (*other, *(set(one) - set(other)))]
        yield from (f"{name}: {_shown(a)} -> {_shown(b)}" for name, a, b in pairs if a != b)


def _shown(value: Any) -> str:
    """Return a value from a file as a short text; for recorded weights, their hash."""
    value = value.get("sha256") if isinstance(value, dict) else value
    return str(value)[:_MAX_CHARACTERS]


def _metrics_of(run: Path) -> dict[str, float | None] | None:
    """Return the metrics of a finished run, or None."""
    summary = read_record(run / "summary.json")
    metrics = (summary or {}).get("metrics")
    if summary is None or summary.get("state") != "finished" or not isinstance(metrics, dict):
        return None
    return {str(name): value for name, value in metrics.items() if isinstance(value, int | float | None)}


def _difference(before: float | None, now: float | None) -> str:
    """Return two values of a metric, and their difference."""
    if before is None or now is None:
        return f"{now}, before {before}"
    return f"{metric_text(now)}, before {metric_text(before)} ({now - before:+.2g})"
