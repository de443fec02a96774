"""The metric that selects the best weights, and whether higher is better. Needs no torch.

The metrics of our problems are in a table beside them; those of the group `metric` have the names of its options; those
of a custom problem are known once it is built.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from nnrun.base.errors import Complaint
from nnrun.config.meant import hint_for_value
from nnrun.config.tree import value_at

PREFIX = "valid/"
# The metric that every problem has, and the default.
LOSS = "valid/loss"
# The metrics of each problem, by its class, and whether higher is better.
Metrics = Mapping[str, Mapping[str, bool]]


def monitored(tree: Mapping[str, Any], metrics: Metrics) -> tuple[str, str]:
    """Return the metric that selects the best weights, by default the loss, and `min` or `max`.

    The mode is `auto` where it is known only once the metric is built.
    """
    section = tree.get("early_stopping")
    # In a file, either may be missing.
    monitor, mode = LOSS, "auto"
    if isinstance(section, Mapping):
        monitor, mode = str(section.get("monitor", monitor)), str(section.get("mode", mode))
    return monitor, natural_mode(monitor, _known([_problem_of(tree)], metrics)) if mode == "auto" else mode


def natural_mode(monitor: str, known: Mapping[str, bool]) -> str:
    """Return `min` where lower values of a metric are better, `max` where higher ones are, `auto` where it is unknown.

    `known` has whether higher is better, by the metric's name, such as `accuracy`.
    """
    if monitor == LOSS:
        return "min"
    is_higher_better = known.get(monitor.removeprefix(PREFIX))
    return "auto" if is_higher_better is None else "max" if is_higher_better else "min"


def _problem_of(tree: Mapping[str, Any]) -> str:
    """Return the class of the problem of a config."""
    return str(value_at(tree, "problem._target_"))


def _known(problems: Collection[str], metrics: Metrics) -> dict[str, bool]:
    """Return for each metric of some problems whether higher is better."""
    return {name: way for problem in problems for name, way in metrics.get(problem, {}).items()}


def check_monitor(tree: Mapping[str, Any], problems: Sequence[str], metrics: Metrics) -> Iterator[Complaint]:
    """Complain of an unknown metric, of a mode that would select the worst weights, and of an added metric with the
    name of one of the problem's.

    `problems` are the classes of the possible problems; empty: that of the config.
    """
    problems = problems or [_problem_of(tree)]
    monitor, mode = value_at(tree, "early_stopping.monitor"), value_at(tree, "early_stopping.mode")
    known = _known(problems, metrics)
    section = tree.get("metric")
    added = [str(name) for name in section] if isinstance(section, Mapping) else []
    for name in added:
        if name in known:
            text = f"metric.{name} has the name of one of the problem's metrics; rename its option"
            yield Complaint(f"metric.{name}", text)
    if not isinstance(monitor, str):
        return  # none, or of a wrong type, which is reported elsewhere
    name = monitor.removeprefix(PREFIX)
    is_added = any(name == option or name.startswith(f"{option}_") for option in added)
    is_open = any(problem not in metrics for problem in problems)
    if not monitor.startswith(PREFIX) or not (name in known or is_added or is_open):
        names = [PREFIX + name for name in dict.fromkeys(["loss", *known, *added])]
        more = ", and other metrics of the problem" if is_open else ""
        hint = hint_for_value("early_stopping.monitor", monitor, names)
        yield Complaint.of("early_stopping.monitor", monitor, ", ".join(names) + more, hint)
    elif mode in ("min", "max") and natural_mode(monitor, known) not in ("auto", mode):
        yield wrong_way(monitor, mode)


def wrong_way(monitor: str, mode: str) -> Complaint:
    """Complain of a mode that would select the worst weights."""
    text = f"early_stopping.mode={mode} would select the worst weights by {monitor}; leave it at auto"
    return Complaint("early_stopping.mode", text, ("early_stopping.monitor",))
