"""Runs compared: ranked, with intervals, the settings that differ, and paired tests of the best ones."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from nnrun.base.shown import counted
from nnrun.tasks.comparison.differences import differing_environment, differing_settings
from nnrun.tasks.comparison.families import Entry, Family, Ranked, rank
from nnrun.tasks.comparison.metric_intervals import interval_of, slow_interval_of
from nnrun.tasks.comparison.read_run import Run
from nnrun.tasks.comparison.samples import Pair, compare_pair
from nnrun.tasks.comparison.statistics import holm


@dataclass(frozen=True, eq=False)
class Verdict:
    """A run against the best of its family: the paired test, or why there is none; `p` is corrected (Holm)."""

    first: Run
    second: Run
    pair: Pair | None
    why: str | None = None
    p: float | None = None


@dataclass(frozen=True, eq=False)
class Importance:
    """The share of the differences between runs that each setting explains alone, the largest first.

    `after_epochs`: by their validations after so many epochs, which all of them reached; None: by what ranks them.
    `note` says what is not counted, or why nothing is known.
    """

    shares: Mapping[str, float]
    num_runs: int
    after_epochs: int | None = None
    note: str = ""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs compared. `intervals` and `names` are by run, `importance` by family, where it was estimated."""

    runs: Sequence[Run]
    ranked: Ranked
    settings: Sequence[str]
    every_setting: Sequence[str]
    environment: Sequence[str]
    intervals: Mapping[Run, tuple[str, float, float]]
    names: Mapping[Run, str]
    verdicts: Sequence[Verdict] = ()
    notes: Sequence[str] = field(default=())
    importance: Mapping[Family, Importance] = field(default_factory=dict)

    @property
    def is_pair(self) -> bool:
        """Whether there are exactly two runs: their test is shown in full."""
        return len(self.runs) == 2

    @property
    def shows_samples(self) -> bool:
        """Whether files may have names and pictures of samples."""
        return all(run.shows_samples for run in self.runs)

    def verdict_on(self, run: Run) -> Verdict | None:
        """Return the test of a run against the best."""
        return next((verdict for verdict in self.verdicts if verdict.second is run), None)


def compare_runs(
    runs: Sequence[Run],
    *,
    metric: str | None = None,
    ways: Mapping[str, Mapping[str, bool]] | None = None,
    num_tested: int = 10,
    notes: Sequence[str] = (),
) -> Comparison:
    """Compare runs; the best of the largest family is tested against the next ones, `num_tested` runs in all."""
    ranked = rank(runs, metric, ways)
    measured = [run for run in runs if run.is_measured]
    found = {run: interval for run in measured if (interval := interval_of(run)) is not None}
    for family in ranked.families:
        for run in family.runs[:num_tested]:
            if run not in found and (interval := slow_interval_of(run)) is not None:
                found[run] = interval
    verdicts, more = _verdicts(runs, ranked.families, num_tested)
    return Comparison(
        runs=runs,
        ranked=ranked,
        settings=differing_settings(runs),
        every_setting=differing_settings(runs, is_full=True),
        environment=differing_environment(runs),
        intervals=found,
        names=short_names(runs),
        verdicts=verdicts,
        notes=(*notes, *ranked.notes, *more),
    )


def _verdicts(runs: Sequence[Run], families: Sequence[Family], num_tested: int) -> tuple[list[Verdict], list[str]]:
    """Return the tests of the best run against the next ones, of groups that of their best runs, and notes on them."""
    if len(runs) == 2:
        order = [run for family in families for run in family.runs]
        first, second = order if len(order) == 2 else runs
        if not (first.is_measured and second.is_measured):
            return [], []
        return [_verdict(first, second)], []
    best = [entry.best for entry in families[0].entries][:num_tested] if families else []
    verdicts = [_verdict(best[0], other) for other in best[1:]]
    tested = [verdict for verdict in verdicts if verdict.pair is not None]
    corrected = dict(zip(tested, holm([v.pair.tested.p for v in tested if v.pair is not None]), strict=True))
    notes = []
    if tested:
        notes.append(
            f"the best run is tested against the next {counted(len(tested), 'run')} on the same test samples; p-values "
            "are corrected for their number (Holm)"
        )
        if any(entry.is_group for entry in families[0].entries):
            notes.append("a test is of two networks, the best of each group: another seed may turn it around")
    whys = list(dict.fromkeys(verdict.why for verdict in verdicts if verdict.why))
    notes += [f"not tested on the same samples: {why}" for why in whys[:3]]
    return [Verdict(v.first, v.second, v.pair, v.why, corrected.get(v)) for v in verdicts], notes


def _verdict(first: Run, second: Run) -> Verdict:
    found = compare_pair(first, second)
    if isinstance(found, str):
        return Verdict(first, second, None, found)
    return Verdict(first, second, found, None, found.tested.p)


def short_names(runs: Sequence[Run]) -> dict[Run, str]:
    """Return the path of each run below the folder that all have in common."""
    if len(runs) == 1:
        return {runs[0]: runs[0].path.name}
    try:
        common = os.path.commonpath([run.path.absolute().parent for run in runs])
    except ValueError:
        return {run: str(run.path) for run in runs}
    return {run: os.path.relpath(run.path.absolute(), common) for run in runs}


def as_plain(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as plain values, for JSON."""
    return {
        "families": [
            {
                "metric": family.metric,
                "mode": "min" if family.is_less_better else "max",
                "name": family.name,
                "entries": [_plain_entry(entry, comparison) for entry in family.entries],
                "importance": asdict(found) if (found := comparison.importance.get(family)) else None,
            }
            for family in comparison.ranked.families
        ],
        "not_ranked": [_plain_entry(entry, comparison) for entry in comparison.ranked.unranked],
        "settings_that_differ": list(comparison.settings),
        "tests": [_plain_verdict(verdict) for verdict in comparison.verdicts],
        "notes": list(comparison.notes),
    }


def _plain_entry(entry: Entry, comparison: Comparison) -> dict[str, Any]:
    values = list(entry.values)
    return {
        "value": entry.value,
        "num_runs": len(entry.runs),
        "num_seeds": len(values) or None,
        "deviation": entry.deviation,
        "best": values[0] if values else None,
        "worst": values[-1] if values else None,
        "reason": entry.why,
        "runs": [_plain_run(run, comparison) for run in entry.runs],
    }


def _plain_run(run: Run, comparison: Comparison) -> dict[str, Any]:
    interval = comparison.intervals.get(run)
    settings = run.settings or {}
    return {
        "directory": str(run.path),
        "task": run.task,
        "state": run.state,
        "reason": run.reason,
        "settings": {key: settings[key] for key in comparison.settings if key in settings},
        "metrics": dict(run.metrics),
        "interval": interval and {"metric": interval[0], "low": interval[1], "high": interval[2]},
        "best": dict(run.best),
        "seconds": run.seconds,
        "size_bytes": run.num_bytes,
        "started": run.started,
    }


def _plain_verdict(verdict: Verdict) -> dict[str, Any]:
    pair = verdict.pair
    found: dict[str, Any] = {"first": str(verdict.first.path), "second": str(verdict.second.path)}
    if pair is None:
        return {**found, "reason": verdict.why}
    tested = pair.tested
    return {
        **found,
        "what": pair.what,
        "test": pair.test,
        "num_samples": pair.num_samples,
        **pair.counts,
        "difference": tested.difference,
        "interval": [tested.low, tested.high],
        "p": tested.p,
        "p_corrected": verdict.p,
        "num_samples_needed": tested.needed,
        "num_differing": len(pair.differing),
    }
