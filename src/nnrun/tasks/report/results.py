"""The sections of a report on a run's results: the metrics, the command that repeats them, the curves, the details."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nnrun.base.shown import Chart, Section, Shown, Table, Text, metric_text
from nnrun.runs.samples import SAMPLES_NAME
from nnrun.tasks.report.read import RunRead, is_number, mapping

SPLITS = {"test": "test", "valid": "validation", "train": "training"}
# With so many validations, the curve of a training value has a point for each of them.
_LEAST_VALIDATIONS = 5
# The curves in order: a title, and the name of a value in a row.
_CURVES = (("Learning rate", "lr"), ("Gradient norm", "grad_norm"))


def section_results(run: RunRead) -> Section:
    """Return the main metric with its interval and what a trivial guess gets, how the run ended, and all metrics."""
    facts: list[tuple[str, str]] = []
    if main := main_result(run):
        facts.append((f"test {run.headline}", main))
    facts += [*_gain(run), *_ended(run)]
    if run.best_step is not None:
        by = f", by {run.monitor}" if run.monitor in run.metrics or not run.summary else ""
        epoch = "" if run.best_epoch is None else f"epoch {run.best_epoch}, "
        facts.append(("best weights", f"{epoch}step {run.best_step:,}{by}"))
    if reason := mapping(run.summary.get("train")).get("stop_reason"):
        facts.append(("stopped early", str(reason)))
    shown: list[Shown] = [Table("Result", (), facts)]
    if metrics := run.metrics:
        shown.append(_metric_table(run, metrics))
    else:
        shown.append(Text("", "The run has no metrics."))
    return Section("Results", shown)


def main_result(run: RunRead) -> str:
    """Return the test result in the main metric with its 95 % confidence interval; empty where there is none."""
    value = run.metrics.get(f"test/{run.headline}")
    if value is None:
        return ""
    interval = run.interval
    between = (
        f" (95 % confidence interval {metric_text(interval[0])} to {metric_text(interval[1])})" if interval else ""
    )
    return metric_text(value) + between


def gain_of(run: RunRead) -> tuple[float, float] | None:
    """Return the main test metric of the best constant prediction, and the difference of the network from it."""
    value, baseline = run.metrics.get(f"test/{run.headline}"), run.details.get("test", {}).get("baseline")
    if value is None or not is_number(baseline) or not math.isfinite(baseline):
        return None
    return float(baseline), value - float(baseline)


def _gain(run: RunRead) -> list[tuple[str, str]]:
    """Return what a trivial guess gets, and the gain over it."""
    found = gain_of(run)
    if found is None:
        return []
    baseline, gain = found
    return [
        ("a trivial guess", f"{metric_text(baseline)}: the constant prediction that is best on the training split"),
        ("gain over it", f"{'+' if gain >= 0 else '-'}{metric_text(abs(gain))}"),
    ]


def _ended(run: RunRead) -> list[tuple[str, str]]:
    """Return how the run ended, if it did not finish."""
    state, reason = run.status.get("state"), run.status.get("reason")
    if state in ("finished", None):
        return []
    facts = [("state", f"{state}: these are the results up to then")]
    return [*facts, ("reason", str(reason))] if reason else facts


def _metric_table(run: RunRead, metrics: Mapping[str, float]) -> Table:
    """Return all metrics, a row each, with a column for each split."""
    splits = [split for split in SPLITS if any(key.startswith(f"{split}/") for key in metrics)]
    names = list(dict.fromkeys(key.partition("/")[2] for split in splits for key in metrics if key.startswith(split)))
    names = sorted(
        set(names) - {name for _, name in _CURVES}, key=lambda name: (name != run.headline, names.index(name))
    )
    rows = [
        (name, *("" if (value := metrics.get(f"{split}/{name}")) is None else metric_text(value) for split in splits))
        for name in names
    ]
    return Table("Metrics", ("metric", *(SPLITS[split] for split in splits)), rows)


def section_repeat(run: RunRead) -> Section:
    """Return the command that trained the run, and the one that repeats it and says what differs."""
    shown: list[Shown] = []
    if command := command_of(run):
        shown.append(Text("The command", command, is_code=True))
    # An evaluation has no checkpoint, which a repetition needs.
    if run.manifest:
        repeat = shlex.quote(f"repeat={run.place or 'RUN'}")
        shown.append(Text("Repeat it, and report what differs", f"nnrun {repeat}", is_code=True))
        shown += [Text("", "RUN stands for the run directory.")] if run.place is None else []
    return Section("Repeat this run", shown)


def command_of(run: RunRead) -> str:
    """Return the command line of a run, quoted for a shell; empty where it is unknown."""
    words = run.environment.get("command")
    return shlex.join(str(word) for word in words) if isinstance(words, list) else ""


def section_curves(run: RunRead) -> Section:
    """Return the loss, the main metric, the learning rate and the gradient norm over the training."""
    rows = [row for row in run.rows if row["split"] not in ("test", "watch")]
    main = run.monitor.partition("/")[2] if run.headline is None else run.headline
    titles = {"loss": "Loss", main: main.replace("_", " ").capitalize()}
    if (watched := run.monitor.partition("/")[2]) not in titles:
        titles[watched] = watched.replace("_", " ").capitalize()
    titles |= {name: title for title, name in _CURVES}
    shown = [chart for name, title in titles.items() if (chart := curve(run, rows, name, title))]
    missing = [Text("", "The run logged no metrics.")] if run.manifest else []
    return Section("Learning curves", [*shown, *thinned_note(run, ("train", "valid"))] if shown else missing)


def thinned_note(run: RunRead, splits: Sequence[str]) -> list[Text]:
    """Return which rows of metrics.jsonl are read of splits that have too many."""
    known = {split: run.strides[split] for split in splits if split in run.strides}
    of_each = (f"one of {stride} rows of the split {split}" for split, stride in known.items())
    return [Text("", f"metrics.jsonl is long: {', '.join(of_each)} is read.")] if known else []


def curve(run: RunRead, rows: Sequence[Mapping[str, Any]], name: str, title: str) -> Chart | None:
    """Return a value over the epochs, a line for each split, with the best epoch marked; None where it has no values.

    Beside several validations, a training value is its mean since the validation before.
    """
    position = _epochs(rows)
    by_split: dict[str, dict[int, float]] = {}
    for row in rows:
        value = row.get(name)
        if is_number(value) and math.isfinite(value):
            by_split.setdefault(row["split"], {})[row["step"]] = value
    if not by_split:
        return None
    trained, validated = by_split.get("train"), by_split.get("valid", {})
    is_by_validation = trained is not None and len(validated) >= _LEAST_VALIDATIONS
    if trained is not None and is_by_validation:
        by_split["train"] = means_between(trained, sorted(validated))
    steps = sorted({step for values in by_split.values() for step in values})
    at = {row["step"]: position(row) for row in rows if name in row}
    best = next((position(row) for row in rows if row["step"] == run.best_step), None)
    ordered = sorted(by_split.items(), key=lambda item: item[0] != "train")
    return Chart(
        title,
        "line" if len(steps) > 1 else "points",
        [at[step] for step in steps],
        {SPLITS.get(split, split): [values.get(step) for step in steps] for split, values in ordered},
        x_label="epoch",
        y_label=title.lower(),
        marks={"best": best} if best is not None else {},
        note="In training: the mean since the validation before." if is_by_validation else "",
    )


def means_between(values: Mapping[int, float], ends: Sequence[int]) -> dict[int, float]:
    """Return the mean of values that each cover the steps since the one before, for the steps up to each end.

    Both are in order.
    """
    found, waiting = dict[int, float](), iter([*ends])
    end, start, before, total = next(waiting, None), 0, 0, 0.0
    for step, value in values.items():
        while end is not None and step > end:
            start, before, total, end = end, end, 0.0, next(waiting, None)
        if end is None:
            break
        total, before = total + value * (step - before), step
        if before > start:
            found[end] = total / (before - start)
    return found


def _epochs(rows: Sequence[Mapping[str, Any]]) -> Callable[[Mapping[str, Any]], float]:
    """Return the function from a row to the epochs that are done at it, as a number with a fraction."""
    last: dict[int, int] = {}
    for row in rows:
        last[row["epoch"]] = max(row["step"], last.get(row["epoch"], 0))
    newest = max(last, default=0)

    def position(row: Mapping[str, Any]) -> float:
        epoch = row["epoch"]
        before = last.get(epoch - 1, 0)
        length = last[epoch] - before
        # The last epoch may have been cut short: it is as long as the one before it.
        if epoch == newest and epoch - 1 in last:
            length = max(length, before - last.get(epoch - 2, 0))
        return round(epoch - 1 + (row["step"] - before) / length, 4) if length > 0 else float(epoch)

    return position


def section_predictions(run: RunRead) -> Section:
    """Return what the problem shows of the test results: of their sums, and of each sample."""
    problem, details = run.problem, run.details.get("test")
    shown: list[Shown] = []
    if problem is not None and details is not None:
        shown += problem.show(details)
    if problem is not None and run.samples is not None:
        shown += problem.show_samples(run.samples)
    if run.samples is None and details is not None:
        text = "Curves, calibration and the costliest mistakes need test_samples.npz, which this run lacks."
        if any(SAMPLES_NAME in fault for fault in run.faults):
            text = "Curves, calibration and the costliest mistakes need test_samples.npz, which cannot be read."
        shown.append(Text("", text))
    return Section("Test predictions", shown)
