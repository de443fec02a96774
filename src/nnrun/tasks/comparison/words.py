"""A comparison in words and figures, as the console, the page and CSV files show it."""

from __future__ import annotations

import csv
import functools
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nnrun.base.shown import counted, metric_text
from nnrun.base.visible import as_cell
from nnrun.tasks.comparison.comparison import Comparison, Verdict
from nnrun.tasks.comparison.differences import ABSENT, TARGET, title_of, value_text
from nnrun.tasks.comparison.families import Entry, Family
from nnrun.tasks.comparison.read_run import FINISHED, Run
from nnrun.tasks.comparison.samples import Pair
from nnrun.tasks.comparison.statistics import CONFIDENCE, POWER, p_text

SIGNIFICANCE = 1 - CONFIDENCE
_SEED = "seed"
_MOST_SEEDS = 4
_KILO = 1000


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
    runs, metric = family.runs, family.metric
    has_groups = any(entry.is_group for entry in family.entries)
    found = [
        Column(
            "run",
            9,
            lambda entry: counted(len(entry.runs), "run") if entry.is_group else comparison.names[entry.best],
            lambda run: comparison.names[run],
            is_path=True,
        )
    ]
    for key in _varied(runs, comparison):
        # A parameter of different classes says less than a setting that means the same in all runs.
        importance = 4 if key == _SEED or _is_of_several(key, runs) else 3
        found.append(Column(title_of(key), importance, _setting_of_entry(key), functools.partial(value_text, key=key)))
    found.append(Column(metric, 0, lambda entry: _spread(entry, metric), lambda run: figure(run, metric)))
    if has_groups:
        found.append(Column("best", 5, lambda entry: _end(entry, 0), lambda _: ""))
        found.append(Column("worst", 5, lambda entry: _end(entry, -1), lambda _: ""))
    for name in _also_shown(family):
        importance = 1 if name.startswith("test/") else 5
        found.append(
            Column(name, importance, functools.partial(_spread, name=name), functools.partial(figure, name=name))
        )
        if any(comparison.intervals.get(run, ("",))[0] == name for run in runs):
            found.append(
                Column(
                    "95 % interval",
                    2,
                    lambda entry: "" if entry.is_group else interval_text(entry.best, comparison),
                    lambda run: interval_text(run, comparison),
                )
            )
    if any(verdict.pair is not None and verdict.second in runs for verdict in comparison.verdicts):
        found.append(
            Column(
                "to the best",
                2,
                lambda entry: "" if entry.is_group else _verdict_cell(comparison.verdict_on(entry.best)),
                lambda run: _verdict_cell(comparison.verdict_on(run)),
            )
        )
    found.append(Column("time", 6, _time_of_entry, lambda run: seconds_text(run.seconds)))
    found.append(
        Column(
            "size",
            7,
            lambda entry: bytes_text(sum(run.num_bytes for run in entry.runs)),
            lambda run: bytes_text(run.num_bytes),
        )
    )
    return found


def _varied(runs: Sequence[Run], comparison: Comparison) -> list[str]:
    """Return the settings in which some runs differ."""
    return [key for key in comparison.settings if len({value_text(run, key) for run in runs}) > 1]


def common_settings(runs: Sequence[Run], comparison: Comparison) -> list[str]:
    """Return the settings in which runs differ and that mean the same in all of them."""
    return [key for key in _varied(runs, comparison) if not _is_of_several(key, runs)]


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


def figure(run: Run, name: str) -> str:
    """Return a metric of a run as text."""
    return metric_text(run.metrics[name]) if name in run.metrics else ABSENT


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


def interval_text(run: Run, comparison: Comparison) -> str:
    """Return the interval of a run's test metric."""
    found = comparison.intervals.get(run)
    return ABSENT if found is None else f"{metric_text(found[1])} to {metric_text(found[2])}"


def _verdict_cell(verdict: Verdict | None) -> str:
    """Return how a run differs from the best, in the table."""
    if verdict is None:
        return ""
    if verdict.pair is None:
        return ABSENT
    return f"{signed(-verdict.pair.tested.difference)}, {p_text(verdict.p or 0.0)}"


def signed(value: float) -> str:
    """Return a difference with its sign."""
    return f"{'+' if value > 0 else '-' if value < 0 else ''}{metric_text(abs(value))}"


def _time_of_entry(entry: Entry) -> str:
    known = [run.seconds for run in entry.runs if run.seconds is not None]
    return seconds_text(sum(known)) if known else ABSENT


def seconds_text(seconds: float | None) -> str:
    """Return a duration as text."""
    if seconds is None:
        return ABSENT
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def bytes_text(number: int) -> str:
    """Return a size as text."""
    value, units = float(number), ["kB", "MB", "GB", "TB"]
    value /= _KILO
    while value >= _KILO and len(units) > 1:
        value /= _KILO
        units.pop(0)
    return f"{value:.3g} {units[0]}" if value < _KILO else f"{value:,.0f} {units[0]}"


def facts_of(pair: Pair, verdict: Verdict, comparison: Comparison) -> list[tuple[str, str]]:
    """Return a paired test in full: a name and a line each."""
    tested = pair.tested
    found = [("A", _run_line(pair.first, pair, comparison)), ("B", _run_line(pair.second, pair, comparison))]
    found.append(
        (
            "A - B",
            f"{signed(tested.difference)} in {pair.what}, 95 % interval {signed(tested.low)} to {signed(tested.high)}",
        )
    )
    found.append(("test", f"{pair.test} on the same {counted(pair.num_samples, 'sample')}: {p_text(tested.p)}"))
    if verdict.p is not None and verdict.p != tested.p:
        found.append(("corrected", f"{p_text(verdict.p)} (Holm)"))
    found.append(("samples", ", ".join(f"{name} {number:,}" for name, number in pair.counts.items())))
    found.append(("result", conclusion(pair)))
    found.extend(("note", note) for note in pair.notes)
    return found


def _run_line(run: Run, pair: Pair, comparison: Comparison) -> str:
    name = f"test/{run.headline}"
    value = f"{name} {figure(run, name)}" if name in run.metrics else pair.what
    interval = f" ({interval_text(run, comparison)})" if run in comparison.intervals else ""
    return f"{comparison.names[run]}  {value}{interval}"


def conclusion(pair: Pair) -> str:
    """Return what a paired test shows, and how many samples would show a difference of this size."""
    tested = pair.tested
    if tested.p < SIGNIFICANCE:
        better = "A" if tested.difference > 0 else "B"
        text = f"{better} is better on samples like these (p below {SIGNIFICANCE:.2g})"
    else:
        text = f"these samples do not show that one is better (p not below {SIGNIFICANCE:.2g})"
    if tested.needed is None:
        return f"{text}; there is no difference to find"
    needed = counted(tested.needed, "sample")
    return f"{text}; a difference of this size takes about {needed} to be found {POWER:.0%} of the time"


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


def state_text(run: Run) -> str:
    """Return the state of a run, for a table."""
    return run.state if run.state != FINISHED or run.metrics else f"{run.state}, no metrics"
