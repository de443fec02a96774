"""Runs ranked: those that can be compared by the same metric, best first, and those that differ in the seed as one."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nnrun.base.errors import ConfigError
from nnrun.config.monitor import LOSS, PREFIX
from nnrun.tasks.comparison.differences import identity
from nnrun.tasks.comparison.read_run import Run

# Besides the seed: sections of what is written, which change nothing that is measured.
_SEED, _OF_OUTPUT = "seed", ("export", "logger")


@dataclass(frozen=True, eq=False)
class Entry:
    """A rank: a run, or several that differ in the seed alone, best first; their mean, deviation, best and worst.

    A seed that occurs twice counts once. Without a value, a run is listed and not ranked; `why` says why.
    """

    runs: Sequence[Run]
    value: float | None = None
    deviation: float | None = None
    values: Sequence[float] = ()
    why: str | None = None

    @property
    def is_group(self) -> bool:
        """Whether it stands for several runs."""
        return len(self.runs) > 1

    @property
    def best(self) -> Run:
        """Its best run."""
        return self.runs[0]


@dataclass(frozen=True, eq=False)
class Family:
    """Runs that can be compared, by a metric: the same data, and the same kind of problem. `name` tells them apart."""

    metric: str
    is_less_better: bool
    entries: Sequence[Entry]
    name: str = ""
    notes: Sequence[str] = ()

    @property
    def runs(self) -> list[Run]:
        """Its runs, best first."""
        return [run for entry in self.entries for run in entry.runs]


@dataclass(frozen=True, eq=False)
class Ranked:
    """Families of runs, the largest first, and the runs that no metric ranks."""

    families: Sequence[Family]
    unranked: Sequence[Entry] = ()
    notes: Sequence[str] = field(default=())

    @property
    def entries(self) -> list[Entry]:
        """All entries, in the order in which they are shown."""
        return [*(entry for family in self.families for entry in family.entries), *self.unranked]


def rank(
    runs: Sequence[Run], metric: str | None = None, ways: Mapping[str, Mapping[str, bool]] | None = None
) -> Ranked:
    """Return runs ranked by the metric that they monitor, or by another one.

    `ways` has whether higher is better for the metrics of each problem, by its class. Raises ConfigError for a metric
    that no run has.
    """
    unranked = [Entry([run], why=run.reason) for run in runs if not run.is_measured]
    groups: dict[tuple[str, ...], list[Run]] = {}
    measured = [run for run in runs if run.is_measured]
    if metric is not None and not any(metric in run.metrics for run in measured):
        names = sorted({name for run in measured for name in run.metrics})
        raise ConfigError.of("compare.metric", metric, ", ".join(names) or "none, since no run has metrics")
    for run in measured:
        if run.settings is None:
            unranked.append(Entry([run], why=f"not ranked: its settings are unknown ({run.reason})"))
        else:
            groups.setdefault(kind_of(run), []).append(run)
    families: list[Family] = []
    for group in groups.values():
        for name, better, members, notes in _by_metric(group, metric, ways or {}):
            without = [run for run in members if better is None or name not in run.metrics]
            why = f"not ranked: it has no {name}" if better is not None else f"not ranked: is a high {name} good?"
            unranked += [Entry([run], why=run.reason or why) for run in without]
            kept = [run for run in members if run not in without]
            if better is not None and kept:
                families.append(Family(name, not better, _entries(kept, name, not better), notes=tuple(notes)))
    families.sort(key=lambda family: -len(family.runs))
    named = [Family(f.metric, f.is_less_better, f.entries, _name(f, families), f.notes) for f in families]
    return Ranked(named, unranked, tuple(_notes(named, metric)))


def kind_of(run: Run) -> tuple[str, ...]:
    """Return what must be equal in runs that are ranked against each other: their samples and their problem."""
    samples = sorted(f"{key}={value!r}" for key, value in run.yardstick.samples.items())
    settings = run.settings or {}
    return (*samples, f"problem={settings.get('problem._target_')}", f"data.targets={settings.get('data.targets')}")


def _by_metric(
    runs: Sequence[Run], metric: str | None, ways: Mapping[str, Mapping[str, bool]]
) -> Iterable[tuple[str, bool | None, list[Run], list[str]]]:
    """Yield a metric, whether higher is better, the runs that it ranks, and notes; None if the direction is unknown."""
    if metric is not None:
        yield metric, _way(runs, metric, ways), list(runs), []
        return
    by_monitor: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        by_monitor.setdefault((str(run.monitor), str(run.mode)), []).append(run)
    for (monitor, mode), members in by_monitor.items():
        losses = {repr(sorted(run.yardstick.loss.items(), key=str)) for run in members}
        headlines = {f"{PREFIX}{run.headline}" for run in members}
        better = {"max": True, "min": False}.get(mode)
        if monitor != LOSS or len(losses) == 1:
            yield monitor, better, members, []
        elif len(headlines) == 1 and all(run.metrics.keys() >= headlines for run in members):
            headline = headlines.pop()
            note = f"ranked by {headline}: the runs differ in their loss, so their losses cannot be compared"
            yield headline, True, members, [note]
        else:
            for loss in sorted(losses):
                of_it = [run for run in members if repr(sorted(run.yardstick.loss.items(), key=str)) == loss]
                yield monitor, better, of_it, []


def _way(runs: Sequence[Run], metric: str, ways: Mapping[str, Mapping[str, bool]]) -> bool | None:
    """Return whether higher is better for a metric of some runs; None where it is unknown."""
    name = metric.rpartition("/")[2]
    for run in runs:
        if run.monitor is not None and run.monitor.rpartition("/")[2] == name and run.mode is not None:
            return run.mode == "max"
        if name == run.headline:
            return True
        known = ways.get(str((run.settings or {}).get("problem._target_")), {})
        if name in known:
            return known[name]
    return False if name == LOSS.rpartition("/")[2] else None


def _entries(runs: Sequence[Run], metric: str, is_less_better: bool) -> list[Entry]:
    """Return runs as entries, best first."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(str(identity(run, (_SEED, *_OF_OUTPUT))), []).append(run)
    entries = []
    for members in groups.values():
        members.sort(key=lambda run: _order(run.metrics[metric], is_less_better))
        by_seed = {run.seed: run.metrics[metric] for run in reversed(members)}
        values = list(by_seed.values())
        deviation = statistics.stdev(values) if len(values) > 1 else None
        entries.append(Entry(members, statistics.fmean(values), deviation, sorted(values, reverse=not is_less_better)))
    return sorted(entries, key=lambda entry: _order(entry.value or 0.0, is_less_better))


def _order(value: float, is_less_better: bool) -> float:
    """Return a number that is lowest for the best value."""
    return value if is_less_better else -value


def _name(family: Family, families: Sequence[Family]) -> str:
    """Return what tells a family from the others: its data, its problem, its metric."""
    if len(families) == 1:
        return ""
    keys = dict.fromkeys(key for other in families for key in other.runs[0].yardstick.samples)

    def value(of: Family, key: str) -> object:
        return of.runs[0].yardstick.samples.get(key)

    differing = [key for key in keys if any(value(other, key) != value(family, key) for other in families)]
    # The first settings that tell all families apart say enough: the name of the data comes first.
    num_kinds = len({repr([value(other, key) for key in differing]) for other in families})
    enough = next(
        number
        for number in range(len(differing) + 1)
        if len({repr([value(other, key) for key in differing[:number]]) for other in families}) == num_kinds
    )
    texts = [f"{key}={value(family, key)}" for key in differing[:enough] if value(family, key) is not None]
    problems = {str((other.runs[0].settings or {}).get("problem._target_")) for other in families}
    if len(problems) > 1:
        texts.append(str((family.runs[0].settings or {}).get("problem._target_")).rpartition(".")[2].lower())
    return ", ".join(texts)


def _notes(families: Sequence[Family], metric: str | None) -> list[str]:
    """Return what a reader should know of the ranking as a whole."""
    notes = list(dict.fromkeys(note for family in families for note in family.notes))
    if len(families) > 1:
        notes.append("runs on different samples, problems or metrics are ranked apart: their results do not compare")
    if metric is not None and metric.startswith("test/"):
        notes.append(f"ranked by {metric}: a run chosen by its test result looks better than it is on new samples")
    return notes
