"""The metric that decides which weights are the best. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal


def natural_mode(metric: str) -> Literal["min", "max"]:
    """Return whether a smaller or a larger value of a metric is better."""
    return "min" if metric.endswith("loss") else "max"


def monitored(tree: Mapping[str, Any]) -> tuple[str, str]:
    """Return the metric that decides which weights are the best, by default the loss, and `min` or `max`."""
    section = tree.get("early_stopping")
    # Of a file, it may lack either.
    monitor, mode = "valid/loss", "auto"
    if isinstance(section, Mapping):
        monitor, mode = str(section.get("monitor", monitor)), str(section.get("mode", mode))
    return monitor, natural_mode(monitor) if mode == "auto" else mode
