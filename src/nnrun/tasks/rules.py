"""Collect the rules that a config is checked against: those of our sections, of the components and of the tasks."""

from __future__ import annotations

import functools
import importlib
from dataclasses import replace
from pathlib import Path

from nnrun import components
from nnrun.config.conflicts import CONFLICTS
from nnrun.config.no_effect import IDLE
from nnrun.config.ranges import RANGES
from nnrun.config.rules import Known, Rules
from nnrun.tasks.table import collect_tasks


@functools.cache
def collect_rules() -> Rules:
    """Collect the rules for a config. Needs neither torch nor Hydra: `nnrun --help` shows the rules too."""
    ranges, conflicts, idle = dict(RANGES), list(CONFLICTS), list(IDLE)
    data_kinds: dict[str, tuple[str, ...]] = {}
    metrics: dict[str, dict[str, bool]] = {}
    for path in (path for folder in components.__path__ for path in sorted(Path(folder).glob("*/ranges.py"))):
        rows = importlib.import_module(f"{components.__name__}.{path.parent.name}.ranges")
        ranges |= rows.RANGES
        conflicts += getattr(rows, "CONFLICTS", ())
        idle += getattr(rows, "IDLE", ())
        data_kinds |= getattr(rows, "DATA_KINDS", {})
        metrics |= getattr(rows, "METRICS", {})
    return replace(Rules.of(ranges, conflicts, idle, collect_tasks()), known=Known(data_kinds, metrics))
