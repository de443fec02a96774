"""The summary of a run: summary.json, and the table that is printed at the end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol

from nnrun.base.files import write_json
from nnrun.base.shown import counted, metric_text
from nnrun.runs.console import Console
from nnrun.runs.sheet import Sheet

SCHEMA = 1

# The parts of a run, in words.
PARTS = {
    "opening": "opening the data",
    "measuring": "measuring batch sizes or steps",
    "training": "training steps",
    "validation": "validation during the training",
    "checkpoints": "waiting for checkpoints",
    "test": "evaluation of the best weights",
    "columns": "importance of the columns",
    "exports": "exports and their verification",
}


class Reached(Protocol):
    """The result of a command, as --json prints it."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""


@dataclass(kw_only=True)
class Summary:
    """The content of summary.json. Accuracies are fractions; `metrics` holds no timings."""

    schema: ClassVar[int] = SCHEMA
    task: str
    state: str
    run: str
    metrics: dict[str, float]
    monitor: str
    mode: str
    # The main metric, such as `accuracy`: higher is better. None where nothing is measured.
    headline: str | None = None
    best: dict[str, Any] | None = None
    train: dict[str, Any] = field(default_factory=dict)
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    # What the predictions depend on, for a run with a report on samples that have columns.
    column_effects: dict[str, Any] | None = None
    wall_seconds: float
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    # The seconds of each part of the run, such as `opening` and `training`; and the peaks of its memory, in bytes.
    time: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    # Findings from reading the data, such as skipped files; the targets, and the samples of each split.
    data: dict[str, Any] = field(default_factory=dict)
    # The reason for each logger that failed: it received nothing after that.
    failed_loggers: dict[str, str] = field(default_factory=dict)
    # What went wrong in the training, and what usually helps: a sentence or two each, in the order they were found.
    warnings: list[str] = field(default_factory=list)
    # For repeat=: the repeated run, the known differences from it, and every metric that differs.
    repeated: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the summary as plain values."""
        return asdict(self)

    def write(self, folder: Path) -> None:
        """Write summary.json."""
        write_json(folder / "summary.json", self.to_json(), SCHEMA)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Summary:
        """Return a summary that was written earlier; unknown keys are ignored."""
        known = {field.name for field in fields(cls)}
        return cls(**{key: item for key, item in value.items() if key in known})

    @property
    def monitored(self) -> float | None:
        """The validation metric by which jobs of a sweep are ranked."""
        return self.metrics.get(self.monitor)


def show(
    summary: Summary, figures: Sequence[tuple[str, str]], console: Console, commands: Sequence[str], *, trained: bool
) -> None:
    """Print a table of the results and their paths, and the commands that one may want next.

    `figures` are the measurements, a title and a line each.
    """
    console.say(f"{summary.task} {summary.state} after {summary.wall_seconds:.1f} s", style="bold")
    table = Sheet(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    for title, line in figures:
        table.add_row(title, line)
    how = f", by {summary.monitor}" if summary.monitored is not None else ""
    if summary.monitored is None and trained:
        how = ", the last one: there is no validation split to choose by"
    if summary.best:
        table.add_row("best", f"epoch {summary.best['epoch']}, step {summary.best['step']:,}{how}")
    if summary.train.get("samples_per_second"):
        train = summary.train
        table.add_row(
            "training",
            f"{counted(train['steps'], 'step')}, {counted(train['epochs'], 'epoch')}, {train['seconds']:.1f} s, "
            f"{train['samples_per_second']:,.0f} samples/s",
        )
        share = train["checkpoint_fraction"]
        beside = train["checkpoint_background_seconds"]
        table.add_row(
            "checkpoints",
            f"{train['checkpoint_seconds']:.1f} s, {share:.1%} of the training; {beside:.1f} s in the background",
        )
    if trained and summary.time:
        slowest = max(summary.time, key=lambda part: summary.time[part])
        seconds, total = summary.time[slowest], max(summary.wall_seconds, 1e-9)
        share = f"{seconds:.1f} s, {min(seconds / total, 1):.0%} of the run"
        table.add_row("slowest", f"{PARTS.get(slowest, slowest)}, {share}")
    if skipped := summary.train.get("skipped_updates"):
        updates = counted(skipped, "update")
        table.add_row("skipped", f"{updates} whose loss or gradients were NaN or infinite", style="red")
    for name, artifact in summary.artifacts.items():
        size = artifact["size_bytes"]
        table.add_row(name, f"{artifact['path']}, {size / 1e6:.2f} MB" if size else "not exported")
        if artifact["ok"]:
            table.add_row("  verified", _verified(artifact))
        else:
            table.add_row("  rejected", artifact["reason"], style="red")
        if published := artifact.get("published"):
            table.add_row("  uploaded", f"{published['url']}{_existed(published)}")
        for index, text in enumerate((*artifact["notes"], *_worst(artifact))):
            table.add_row("" if index else "  note", text)
    console.table(table, path=("directory", summary.run))
    for index, command in enumerate(commands):
        console.say(f"{'or' if index else 'next'}: {command}")


def _existed(published: Mapping[str, Any]) -> str:
    """Return what is said of a repository that was there before."""
    return ", a commit of a repository that existed: its visibility is unchanged" if published["existed"] else ""


def _verified(artifact: Mapping[str, Any]) -> str:
    """Return the verification of an artifact as a line, with its speed beside PyTorch's."""
    latency, speed = (
        f"{artifact[key]:{form}} (PyTorch {artifact[key + '_eager']:{form}})"
        for key, form in (("latency_ms_batch_1", ".2f"), ("samples_per_second", ",.0f"))
    )
    metric = artifact["metric_artifact"]  # None where the test split is too small for one
    score = f"{artifact['metric']} {metric_text(math.nan if metric is None else metric)}"
    return (
        f"{artifact['agreement']:.2%} of {counted(artifact['num_samples'], 'sample')} agree, "
        f"largest difference {artifact['max_abs_diff']:.1e}, {score}, {latency} ms a sample, {speed} samples/s"
    )


def _worst(artifact: Mapping[str, Any]) -> list[str]:
    """Return the samples that led to the rejection of an artifact, a line each."""
    return [
        f"test sample {sample['index']} is {sample['target']}: PyTorch says {sample['eager']} "
        f"{_values(sample['predictions_eager'])}, the artifact {sample['artifact']} "
        f"{_values(sample['predictions_artifact'])}"
        for sample in artifact["worst"]
    ]


def _values(predictions: Mapping[str, float]) -> str:
    """Return some predictions by their names."""
    return "(" + ", ".join(f"{name}: {value:.4g}" for name, value in predictions.items()) + ")"
