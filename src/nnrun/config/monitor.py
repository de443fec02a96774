"""The metric that decides which weights are the best, and whether more of it is better. Needs no torch.

The metrics of a problem of ours are known by a table beside it; those of the group `metric` have its options' names;
what a problem of the user's own measures is known once it is built.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from nnrun.base.errors import Complaint
from nnrun.config.meant import hint_for_value
from nnrun.config.tree import value_at

PREFIX = "valid/"
# What every problem has, and what decides where nothing else is said.
LOSS = "valid/loss"
# Of each problem by its class: its metrics, and whether more of one is better.
Metrics = Mapping[str, Mapping[str, bool]]


def monitored(tree: Mapping[str, Any], metrics: Metrics) -> tuple[str, str]:
    """Return the metric that decides which weights are the best, by default the loss, and `min` or `max`.

    The way is `auto` where it is known only once the metric is built.
    """
    section = tree.get("early_stopping")
    # Of a file, it may lack either.
    monitor, mode = LOSS, "auto"
    if isinstance(section, Mapping):
        monitor, mode = str(section.get("monitor", monitor)), str(section.get("mode", mode))
    return monitor, natural_mode(monitor, _known([_problem_of(tree)], metrics)) if mode == "auto" else mode


def natural_mode(monitor: str, known: Mapping[str, bool]) -> str:
    """Return whether a smaller or a larger value of a metric is better, `min` or `max`; `auto` where nobody knows.

    `known` says of metrics by name, `accuracy`, whether more of them is better.
    """
    if monitor == LOSS:
        return "min"
    is_higher_better = known.get(monitor.removeprefix(PREFIX))
    return "auto" if is_higher_better is None else "max" if is_higher_better else "min"


def _problem_of(tree: Mapping[str, Any]) -> str:
    """Return the class of the problem of a config."""
    return str(value_at(tree, "problem._target_"))


def _known(problems: Collection[str], metrics: Metrics) -> dict[str, bool]:
    """Return for each metric of some problems whether more of it is better."""
    return {name: way for problem in problems for name, way in metrics.get(problem, {}).items()}


def check_monitor(tree: Mapping[str, Any], problems: Sequence[str], metrics: Metrics) -> Iterator[Complaint]:
    """Complain of a metric that nothing measures, of a way that would choose the worst weights by it, and of a metric
    that is added under the name of one of the problem's own.

    `problems` are the classes of those that may be meant; none: that of the config is.
    """
    problems = problems or [_problem_of(tree)]
    monitor, mode = value_at(tree, "early_stopping.monitor"), value_at(tree, "early_stopping.mode")
    known = _known(problems, metrics)
    section = tree.get("metric")
    added = [str(name) for name in section] if isinstance(section, Mapping) else []
    for name in added:
        if name in known:
            text = f"metric.{name} has the name of a metric of the problem's own; give its option another name"
            yield Complaint(f"metric.{name}", text)
    if not isinstance(monitor, str):
        return  # none, or of a wrong type, which is said elsewhere
    name = monitor.removeprefix(PREFIX)
    is_added = any(name == option or name.startswith(f"{option}_") for option in added)
    is_open = any(problem not in metrics for problem in problems)
    if not monitor.startswith(PREFIX) or not (name in known or is_added or is_open):
        names = [PREFIX + name for name in dict.fromkeys(["loss", *known, *added])]
        more = ", and what else the problem measures" if is_open else ""
        hint = hint_for_value("early_stopping.monitor", monitor, names)
        yield Complaint.of("early_stopping.monitor", monitor, ", ".join(names) + more, hint)
    elif mode in ("min", "max") and natural_mode(monitor, known) not in ("auto", mode):
        yield wrong_way(monitor, mode)


def wrong_way(monitor: str, mode: str) -> Complaint:
    """Complain of a way that would choose the worst weights."""
    text = f"early_stopping.mode={mode} would choose the worst weights by {monitor}; leave it at auto"
    return Complaint("early_stopping.mode", text, ("early_stopping.monitor",))
