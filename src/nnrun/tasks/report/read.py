"""Read a run directory once, for a report: everything that it has, and nothing from elsewhere."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeGuard

from nnrun.base.errors import ArtifactError, ConfigError
from nnrun.base.files import read_record
from nnrun.base.sample_results import SampleResults
from nnrun.config.tree import value_at
from nnrun.config.yaml_files import read_yaml
from nnrun.core.seams.problem import Problem
from nnrun.runs.samples import SAMPLES_NAME, read_samples
from nnrun.tasks.report.faults import RECORDS, faults_of

# Longer files of rows and lines are not ours, or too long to draw: the rest is not read.
_MOST_ROWS, _MOST_LINES = 200_000, 20_000
# Of more rows of a split, some are read, evenly spaced: a chart has place for no more.
_MOST_OF_SPLIT = 4_000
_SPLIT, _STEP = re.compile(r'"split": *"(\w+)"'), re.compile(r'"step": *(\d+)\b')
# Replaces a path, or the name of a file, that a report does not show.
LEFT_OUT = "(left out)"
_NOTE, _SKIPPED = "note: ", ("skipped: ", "in train and ")
# How a note about the report itself begins: it is none about the run.
OF_THE_REPORT = "the report "


@dataclass(frozen=True)
class RunRead:
    """The files of a run, as plain values, and the problem that says what its results mean.

    What a file lacks, or a file that is missing or damaged, is empty here. `place` is the path of the run directory;
    None where paths are left out (`without_private`).
    """

    place: str | None
    summary: Mapping[str, Any]
    status: Mapping[str, Any]
    environment: Mapping[str, Any]
    config: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    manifest: Mapping[str, Any]
    # From run.log: the notes, and the lines that name samples.
    notes: Sequence[str]
    named: Sequence[str]
    samples: SampleResults | None
    problem: Problem | None
    # The files that are missing or damaged.
    faults: Sequence[str] = ()
    # What was left out of it.
    left_out: str = ""
    # The splits of which only every n-th row was read, with n.
    strides: Mapping[str, int] = field(default_factory=dict)
    # profile/profile.json.
    profile: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The network and the data: `cnn on digits`."""
        model, data = self.setting("model._target_"), self.setting("data.name")
        name = self.setting("model.name") if str(model).startswith("nnrun.") else None
        words = name if isinstance(name, str) else str(model or "a network").rpartition(".")[2].lower()
        return f"{words} on {data}" if data else words

    @property
    def headline(self) -> str | None:
        """The name of the main metric."""
        found = self.summary.get("headline")
        return found if isinstance(found, str) else self.problem.headline if self.problem else None

    @functools.cached_property
    def metrics(self) -> Mapping[str, float]:
        """The final metrics by full name; those of the newest rows where there is no summary."""
        found = self.summary.get("metrics")
        if isinstance(found, Mapping) and found:
            return {key: value for key, value in found.items() if is_number(value)}
        newest: dict[str, float] = {}
        for row in self.rows:
            newest |= {f"{row['split']}/{name}": value for name, value in metrics_of(row).items()}
        return newest

    @property
    def monitor(self) -> str:
        """The metric by which the best weights are chosen."""
        return str(self.summary.get("monitor") or self.setting("early_stopping.monitor") or "valid/loss")

    @property
    def best_step(self) -> int | None:
        """The step of the best weights; None where it is unknown."""
        best = self.summary.get("best")
        step = best.get("step") if isinstance(best, Mapping) else None
        if step is None:
            files = self.manifest.get("files")
            named = [entry for entry in files if isinstance(entry, Mapping)] if isinstance(files, list) else []
            step = next((entry.get("step") for entry in named if entry.get("name") == self.manifest.get("best")), None)
        return step if isinstance(step, int) else None

    @property
    def best_epoch(self) -> int | None:
        """The epoch of the best weights; None where it is unknown."""
        best = self.summary.get("best")
        if isinstance(best, Mapping) and isinstance(best.get("epoch"), int):
            return int(best["epoch"])
        return next((row["epoch"] for row in self.rows if row["step"] == self.best_step), None)

    @functools.cached_property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % confidence interval of the main metric on the test split; None where it cannot be computed."""
        if self.problem is None or self.samples is None or f"test/{self.headline}" not in self.metrics:
            return None
        return self.problem.interval(self.samples)

    @property
    def details(self) -> Mapping[str, Mapping[str, Any]]:
        """What the problem reported for each split."""
        found = self.summary.get("details")
        named = found.items() if isinstance(found, Mapping) else ()
        return {str(split): value for split, value in named if isinstance(value, Mapping)}

    def setting(self, key: str) -> Any:
        """Return a setting of the config by its full key, with a reference to another setting replaced by its value."""
        return resolved(value_at(self.config, key), self.config)


def read_run(path: Path, problem: Problem | None) -> RunRead:
    """Read a run directory; a file that is missing or damaged is empty."""
    records = {name: read_record(path / name) or {} for name in RECORDS}
    summary, status, environment, manifest = records.values()
    profile = read_record(path / "profile" / "profile.json") or {}
    lines = list(_lines(path / "run.log", _MOST_LINES))
    notes = [line.removeprefix(_NOTE) for line in lines if line.startswith(_NOTE)]
    try:
        config = read_yaml(path / "config.yaml")
    except ConfigError:
        config = {}
    try:
        samples = read_samples(path) if (path / SAMPLES_NAME).exists() else None
    except ArtifactError:
        samples = None
    run = RunRead(
        place=_place(path),
        summary=summary,
        status=status,
        environment=environment,
        config=config,
        rows=(),
        manifest=manifest,
        notes=list(dict.fromkeys(note for note in notes if not note.startswith(OF_THE_REPORT))),
        named=list(dict.fromkeys(line for line in lines if line.startswith(_SKIPPED))),
        samples=samples,
        problem=problem,
        profile=profile,
    )
    kept, strides = _thinned(list(_lines(path / "metrics.jsonl", _MOST_ROWS)), run.best_step)
    rows, read = list(_rows(kept)), {**records, "config.yaml": config, SAMPLES_NAME: samples}
    return replace(run, rows=rows, strides=strides, faults=tuple(faults_of(path, read, len(kept) - len(rows))))


def mapping(value: object) -> Mapping[str, Any]:
    """Return a value that should be a mapping; an empty one in place of anything else."""
    return value if isinstance(value, Mapping) else {}


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a plain value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def metrics_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a row of metrics.jsonl by their bare names, without those that place it."""
    return {key: value for key, value in row.items() if key not in ("step", "epoch") and is_number(value)}


def resolved(value: Any, config: Mapping[str, Any]) -> Any:
    """Return a value of a config; one that is only a reference to another setting as the value of that.

    Other references are left as they are: the config may be a stranger's, and a reference can name an environment
    variable.
    """
    for _ in range(10):  # a stranger's may refer to itself
        if not (isinstance(value, str) and value.startswith("${") and value.endswith("}")):
            break
        found = value_at(config, value[2:-1], value)
        if found is value:
            break
        value = found
    return value


def _place(path: Path) -> str:
    """Return a run directory as a command in the current directory may name it."""
    whole, here = path.absolute(), Path.cwd()
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else str(whole)


def _thinned(lines: Sequence[str], best_step: int | None) -> tuple[Sequence[str], dict[str, int]]:
    """Return lines of metrics.jsonl, of a split with many only every n-th; and n for each such split.

    The last of each split, and those of the best step, are kept.
    """
    if len(lines) <= _MOST_OF_SPLIT:
        return lines, {}
    by_split: dict[str, list[int]] = {}
    for number, line in enumerate(lines):
        found = _SPLIT.search(line)
        by_split.setdefault(found[1] if found else "", []).append(number)
    strides = {split: -(-len(numbers) // _MOST_OF_SPLIT) for split, numbers in by_split.items()}
    kept = {number for split, numbers in by_split.items() for number in numbers[:: -strides[split]]}
    if best_step is not None:
        kept |= {i for i, line in enumerate(lines) if (at := _STEP.search(line)) and int(at[1]) == best_step}
    return [lines[number] for number in sorted(kept)], {split: n for split, n in strides.items() if n > 1}


def _rows(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of metrics.jsonl that say where they belong."""
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        is_placed = isinstance(row, dict) and all(isinstance(row.get(key), int) for key in ("step", "epoch"))
        if is_placed and isinstance(row.get("split"), str):
            yield row


def _lines(path: Path, most: int) -> Iterator[str]:
    """Yield the first lines of a text file, of at most 64 KiB each; nothing if it cannot be read."""
    try:
        if not path.is_file():
            return
        with path.open(encoding="utf-8", errors="replace") as file:
            for _ in range(most):
                if not (line := file.readline(2**16)):
                    return
                yield line.rstrip("\n")
    except OSError:
        return
