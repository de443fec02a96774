"""Which runs to keep: the best, the newest, or the best of each sweep."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nnrun.base.shown import counted
from nnrun.tasks.clean.record import ALL_BEST, KEEP
from nnrun.tasks.comparison.families import Family, rank
from nnrun.tasks.comparison.read_run import DAMAGED, FINISHED, Run
from nnrun.tasks.comparison.words import figure

_SWEEP_NAME = "sweep.json"


@dataclass(frozen=True)
class Plan:
    """The runs to delete, and those to keep, each with the reason; `why_none` says why nothing would be deleted."""

    doomed: Sequence[Run]
    kept: Sequence[tuple[Run, str]]
    notes: Sequence[str] = ()
    why_none: str | None = None


def plan(runs: Sequence[Run], keep: str, ways: Mapping[str, Mapping[str, bool]]) -> Plan:
    """Return which runs to keep, by the value of clean.keep."""
    found = KEEP.fullmatch(keep)
    if found is None:
        assert keep == ALL_BEST, "the range of clean.keep allows nothing else"
        return _best_of_sweeps(runs, ways)
    number = int(found[2])
    if number >= len(runs):
        return Plan((), [(run, "") for run in runs], (), f"clean.keep={keep}, and there {_are(len(runs))}")
    return _best(runs, number, ways) if found[1] == "best" else _newest(runs, number)


def _are(number: int) -> str:
    return f"{'is' if number == 1 else 'are'} {counted(number, 'run')}"


def _best(runs: Sequence[Run], number: int, ways: Mapping[str, Mapping[str, bool]]) -> Plan:
    """Keep the best runs of each family, and finished ones that no metric ranks: they may be the best."""
    ranked = rank(runs, None, ways)
    kept: dict[Run, str] = {}
    for family in ranked.families:
        ordered = _in_order(family)
        for place, run in enumerate(ordered[:number], 1):
            kept[run] = f"number {place} by {family.metric}, {figure(run, family.metric)}"
    for entry in ranked.unranked:
        if entry.best.state in (FINISHED, DAMAGED):
            kept[entry.best] = f"cannot be ranked: {entry.why or 'it has no metrics'}"
    return _without(runs, kept, ranked.notes)


def _in_order(family: Family) -> list[Run]:
    """Return the runs of a family, the best first, whatever groups they are in."""
    sign = 1 if family.is_less_better else -1
    return sorted(family.runs, key=lambda run: sign * run.metrics[family.metric])


def _newest(runs: Sequence[Run], number: int) -> Plan:
    """Keep the runs that were started last; without a time, that of the directory counts."""
    ordered = sorted(runs, key=_started, reverse=True)
    return _without(runs, {run: f"number {place} by start" for place, run in enumerate(ordered[:number], 1)}, ())


def _started(run: Run) -> float:
    from datetime import datetime  # noqa: PLC0415 - only here

    try:
        return datetime.fromisoformat(run.started or "").timestamp()
    except (ValueError, OverflowError, OSError):
        try:
            return run.path.stat().st_mtime
        except OSError:
            return 0.0


def _best_of_sweeps(runs: Sequence[Run], ways: Mapping[str, Mapping[str, bool]]) -> Plan:
    """Keep the best run of each sweep, and all that are not jobs of a sweep."""
    sweeps: dict[str, list[Run]] = {}
    kept: dict[Run, str] = {}
    for run in runs:
        folder = run.path.absolute().parent
        if (folder / _SWEEP_NAME).is_file():
            sweeps.setdefault(os.fspath(folder), []).append(run)
        else:
            kept[run] = "not a job of a sweep"
    notes: list[str] = []
    for jobs in sweeps.values():
        of_sweep = _best(jobs, 1, ways)
        kept |= dict(of_sweep.kept)
        notes += of_sweep.notes
    return _without(runs, kept, tuple(dict.fromkeys(notes)))


def _without(runs: Sequence[Run], kept: Mapping[Run, str], notes: Sequence[str]) -> Plan:
    return Plan([run for run in runs if run not in kept], list(kept.items()), notes)
