"""A comparison in words and figures, as the console and the page show it."""

from __future__ import annotations

from nnrun.base.shown import counted, metric_text
from nnrun.tasks.comparison.comparison import Comparison, Verdict
from nnrun.tasks.comparison.differences import ABSENT
from nnrun.tasks.comparison.read_run import FINISHED, Run
from nnrun.tasks.comparison.samples import Pair
from nnrun.tasks.comparison.statistics import CONFIDENCE, POWER, p_text

SIGNIFICANCE = 1 - CONFIDENCE
_KILO = 1000


def figure(run: Run, name: str) -> str:
    """Return a metric of a run as text."""
    return metric_text(run.metrics[name]) if name in run.metrics else ABSENT


def interval_text(run: Run, comparison: Comparison) -> str:
    """Return the interval of a run's test metric."""
    found = comparison.intervals.get(run)
    return ABSENT if found is None else f"{metric_text(found[1])} to {metric_text(found[2])}"


def signed(value: float) -> str:
    """Return a difference with its sign."""
    return f"{'+' if value > 0 else '-' if value < 0 else ''}{metric_text(abs(value))}"


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


def state_text(run: Run) -> str:
    """Return the state of a run, for a table."""
    return run.state if run.state != FINISHED or run.metrics else f"{run.state}, no metrics"


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
    if (tested.p < SIGNIFICANCE) != (tested.low > 0 or tested.high < 0):
        found.append(("note", "test and interval disagree, as they may near the limit; the test decides"))
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
