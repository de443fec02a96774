"""What is said of a run that is done anew: what differs in settings, environment and data, and then in metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnrun.assembly.data.opened import Opened
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

# What environment.json says of what the bits of a run may depend on.
_ENVIRONMENT = ("python", "platform", "versions", "cpu", "device", "threads", "kernels", "git_commit")
_WEIGHTS = "transfer.weights"
_MAX_CHARACTERS = 100


@dataclass(frozen=True)
class Repetition:
    """A run that is done anew, and in what this one is known to differ from it before it begins."""

    run: Path
    settings: Sequence[str]
    environment: Sequence[str]
    data: Sequence[str]

    @property
    def differs(self) -> list[str]:
        """All of it."""
        return [*self.settings, *self.environment, *self.data]

    def compare(self, summary: Summary, console: Console) -> None:
        """Say how the metrics differ from those of the run, and note all of it in the summary."""
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
            console.say(f"all {len(values)} metrics are those of {self.run}, to the last bit", style="bold")
            return
        known = "" if self.differs else ", though nothing else is known to differ"
        console.note(f"{len(other)} of {len(values)} metrics are not those of {self.run}{known}")
        for name in (name for name in other if name.rpartition("/")[2] in ("loss", summary.headline)):
            console.say(f"{name} {_difference(*other[name])}")


def begin_again(job: Job, saved: SavedRun, data: Opened, session: Session) -> Repetition:
    """Say in what a run that is done anew is known to differ from the run that it repeats, and return that.

    Raises DataError where the data has other samples or targets, so that it cannot be the same run.
    """
    before = saved.config["data"].get("in_shape")
    if data.targets != saved.targets or (before is not None and before != plain_shapes(data.in_shape)):
        raise DataError(
            f"{saved.run} was trained on samples of {before} with {saved.targets}, and data={job.settings.data.name} "
            f"has {plain_shapes(data.in_shape)} with {data.targets}: that would be another run"
        )
    is_same = data.fingerprint == saved.data_fingerprint
    known = [] if is_same else ["the data is not the same: its fingerprint differs"]
    again = Repetition(saved.run, [line for _, line in changes(job, saved)], _environment_of(saved.run, job), known)
    for line in again.differs:
        session.console.note(f"unlike {saved.run}: {line}")
    if not again.differs:
        session.console.say(f"the settings, the data and the environment are those of {saved.run}")
    return again


def _environment_of(run: Path, job: Job) -> list[str]:
    """Return in what the environment differs from those that a run was made in, a line each."""
    earlier = read_record(run / "environment.json")
    if earlier is None:
        return ["its environment.json cannot be read: what differs in the environment is not known"]
    now, resumed = job.environment(), earlier.get("resumed")
    later = resumed if isinstance(resumed, list) else []
    records = [earlier, *(record for record in later if isinstance(record, dict))]
    lines = [line for record in records for line in _differences(record, now)]
    if _WEIGHTS in now and (before := _shown(earlier.get(_WEIGHTS))) != _shown(now[_WEIGHTS]):
        lines.append(f"{_WEIGHTS}: {before} -> {_shown(now[_WEIGHTS])}")
    dirty = [whose for whose, record in (("then", earlier), ("now", now)) if record.get("git_dirty")]
    return [*dict.fromkeys(lines), *(f"{whose}, the code had changes that no commit holds" for whose in dirty)]


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield what differs between two environments."""
    for key in _ENVIRONMENT:
        one, other = before.get(key), now.get(key)
        pairs = [(key, one, other)]
        if isinstance(one, dict) and isinstance(other, dict):
            pairs = [(name, one.get(name), other.get(name)) for name in (*other, *(set(one) - set(other)))]
        yield from (f"{name}: {_shown(a)} -> {_shown(b)}" for name, a, b in pairs if a != b)


def _shown(value: Any) -> str:
    """Return a value out of a file as a text that is not long; of weights that were noted their hash."""
    value = value.get("sha256") if isinstance(value, dict) else value
    return str(value)[:_MAX_CHARACTERS]


def _metrics_of(run: Path) -> dict[str, float | None] | None:
    """Return the metrics of a run that came to its end."""
    summary = read_record(run / "summary.json")
    metrics = (summary or {}).get("metrics")
    if summary is None or summary.get("state") != "finished" or not isinstance(metrics, dict):
        return None
    return {str(name): value for name, value in metrics.items() if isinstance(value, int | float | None)}


def _difference(before: float | None, now: float | None) -> str:
    """Return two values of a metric, and how far they are apart."""
    if before is None or now is None:
        return f"{now}, there {before}"
    return f"{metric_text(now)}, there {metric_text(before)} ({now - before:+.2g})"
