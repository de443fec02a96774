"""The table of a comparison: its lines, and its columns, some of which are dropped where it is narrow."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nnrun.base.shown import counted, metric_text
from nnrun.tasks.comparison.comparison import Comparison, Verdict
from nnrun.tasks.comparison.differences import ABSENT, TARGET, title_of, value_text
from nnrun.tasks.comparison.families import Entry, Family
from nnrun.tasks.comparison.read_run import Run
from nnrun.tasks.comparison.statistics import p_text
from nnrun.tasks.comparison.words import bytes_text, figure, interval_text, seconds_text, signed

_SEED = "seed"
# More seeds than these are counted instead of listed.
_MOST_SEEDS = 4


@dataclass(frozen=True)
class Column:
    """A column of the table: its title, how soon it is dropped (0 never), and its cells for entries and for runs."""

    title: str
    importance: int
    of_entry: Callable[[Entry], str]
    of_run: Callable[[Run], str]
    is_path: bool = False


@dataclass(frozen=True)
class Line:
    """A line of the table: its number (`2`, or `2.1` for a member of a group), its run, and its entry."""

    number: str
    run: Run
    entry: Entry
    is_member: bool


def lines_of(family: Family, start: int) -> Iterator[Line]:
    """Yield the lines of a family: each entry, and the members of a group beneath it."""
    for number, entry in enumerate(family.entries, start):
        yield Line(str(number), entry.best, entry, is_member=False)
        if entry.is_group:
            yield from (
                Line(f"{number}.{place}", run, entry, is_member=True) for place, run in enumerate(entry.runs, 1)
            )


def columns_of(family: Family, comparison: Comparison) -> list[Column]:
    """Return the columns of a family's table, in order."""
    runs, metric, names = family.runs, family.metric, comparison.names
    found = [
        Column(
            "run",
            9,
            lambda entry: counted(len(entry.runs), "run") if entry.is_group else names[entry.best],
            lambda run: names[run],
            is_path=True,
        )
    ]
    for key in _varied(runs, comparison.settings):
        # A parameter of different classes says less than a setting that means the same in all runs.
        importance = 4 if key == _SEED or _is_of_several(key, runs) else 2
        found.append(Column(title_of(key), importance, _setting_of_entry(key), functools.partial(value_text, key=key)))
    found.append(_of_metric(metric, 0))
    if any(entry.is_group for entry in family.entries):
        found.append(Column("best", 6, lambda entry: _end(entry, 0), lambda _: ""))
        found.append(Column("worst", 6, lambda entry: _end(entry, -1), lambda _: ""))
    for name in _also_shown(family):
        found.append(_of_metric(name, 1 if name.startswith("test/") else 5))
        if any(comparison.intervals.get(run, ("",))[0] == name for run in runs):
            found.append(_of_runs("95 % interval", 3, lambda run: interval_text(run, comparison)))
    if any(verdict.pair is not None and verdict.second in runs for verdict in comparison.verdicts):
        found.append(_of_runs("to the best", 3, lambda run: _verdict_cell(comparison.verdict_on(run))))
    found.append(Column("time", 6, _time_of_entry, lambda run: seconds_text(run.seconds)))
    found.append(Column("size", 7, _size_of_entry, lambda run: bytes_text(run.num_bytes)))
    return found


def _of_metric(name: str, importance: int) -> Column:
    """Return the column of a metric: of a group the mean and the standard deviation."""
    return Column(name, importance, functools.partial(_spread, name=name), functools.partial(figure, name=name))


def _of_runs(title: str, importance: int, of_run: Callable[[Run], str]) -> Column:
    """Return a column that is empty for groups."""
    return Column(title, importance, lambda entry: "" if entry.is_group else of_run(entry.best), of_run)


def _varied(runs: Sequence[Run], settings: Sequence[str]) -> list[str]:
    """Return those of some settings in which runs differ."""
    return [key for key in settings if len({value_text(run, key) for run in runs}) > 1]


def common_settings(runs: Sequence[Run], comparison: Comparison) -> list[str]:
    """Return the settings in which runs differ and that mean the same in all of them."""
    return [key for key in _varied(runs, comparison.settings) if not _is_of_several(key, runs)]


def decisive_settings(runs: Sequence[Run], settings: Sequence[str]) -> list[str]:
    """Return those of some settings that differ and were typed; if none was, those that mean the same in all runs.

    What was not typed follows from another option, or from the machine.
    """
    typed = {key for run in runs for key in run.typed}
    varied = _varied(runs, settings)
    chosen = [key for key in varied if key in typed or title_of(key) in typed]
    return chosen or [key for key in varied if not _is_of_several(key, runs)]


def _is_of_several(key: str, runs: Sequence[Run]) -> bool:
    """Return whether a setting belongs to different classes in some runs, such as those of two networks."""
    target = f"{key.rpartition('.')[0]}.{TARGET}"
    return key != target and len({(run.settings or {}).get(target) for run in runs}) > 1


def _also_shown(family: Family) -> list[str]:
    """Return the metrics beside the one that ranks: the main one of the test and validation splits."""
    headlines = dict.fromkeys(run.headline for run in family.runs if run.headline)
    names = [f"{split}/{headline}" for split in ("test", "valid") for headline in headlines]
    return [n for n in names if n != family.metric and any(n in run.metrics for run in family.runs)]


def _setting_of_entry(key: str) -> Callable[[Entry], str]:
    """Return the function that gives the cell of a setting for an entry: for a group the value, or the seeds."""

    def cell(entry: Entry) -> str:
        texts = list(dict.fromkeys(value_text(run, key) for run in entry.runs))
        if len(texts) <= 1:
            return texts[0] if texts else ABSENT
        if key != _SEED:
            return "several"
        return ", ".join(sorted(texts, key=_as_number)) if len(texts) <= _MOST_SEEDS else counted(len(texts), "seed")

    return cell


def _as_number(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return math.inf, text


def _spread(entry: Entry, name: str) -> str:
    """Return a metric of an entry: of a group its mean and standard deviation, each seed once."""
    if not entry.is_group:
        return figure(entry.best, name)
    by_seed = {run.seed: run.metrics[name] for run in reversed(entry.runs) if name in run.metrics}
    values = list(by_seed.values())
    if not values:
        return ABSENT
    mean = sum(values) / len(values)
    if len(values) == 1:
        return metric_text(mean)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return f"{metric_text(mean)} ± {metric_text(deviation)}"


def _end(entry: Entry, place: int) -> str:
    """Return the best or the worst value of a group."""
    return metric_text(entry.values[place]) if entry.is_group and entry.values else ""


def _verdict_cell(verdict: Verdict | None) -> str:
    """Return how a run differs from the best, in the table."""
    if verdict is None:
        return ""
    if verdict.pair is None:
        return ABSENT
    return f"{signed(-verdict.pair.tested.difference)}, {p_text(verdict.p or 0.0)}"


def _time_of_entry(entry: Entry) -> str:
    known = [run.seconds for run in entry.runs if run.seconds is not None]
    return seconds_text(sum(known)) if known else ABSENT


def _size_of_entry(entry: Entry) -> str:
    return bytes_text(sum(run.num_bytes for run in entry.runs))
