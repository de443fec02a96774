"""The rules that a config is checked against besides its types, as collected from every room."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nnrun.config.conflicts import Conflict
from nnrun.config.monitor import Metrics
from nnrun.config.no_effect import Idle
from nnrun.config.ranges import Range
from nnrun.config.schema import SECTIONS
from nnrun.config.task import Task, allowed_names, task_of


@dataclass(frozen=True)
class Known:
    """Facts about our classes, by name, without importing them: the kinds of data that each is for, or provides, and
    the metrics of each problem, with whether higher is better.
    """

    data_kinds: Mapping[str, Sequence[str]] = field(default_factory=dict)
    metrics: Metrics = field(default_factory=dict)


@dataclass(frozen=True)
class Rules:
    """The allowed values, by full key; settings that exclude each other; settings without effect in a training; the
    tasks, each with its own rules; and facts about classes.
    """

    ranges: Mapping[str, Range]
    conflicts: Sequence[Conflict]
    idle: Sequence[Idle]
    tasks: Sequence[Task]
    known: Known = field(default_factory=Known)

    @classmethod
    def of(
        cls,
        ranges: Mapping[str, Range],
        conflicts: Sequence[Conflict],
        idle: Sequence[Idle],
        tasks: Sequence[Task],
    ) -> Rules:
        """Return the rules given together with those of the tasks themselves."""
        own = {key: value for task in tasks for key, value in task.ranges.items()}
        more = [conflict for task in tasks for conflict in task.conflicts]
        return cls(
            {"task": allowed_names(tasks), **ranges, **own},
            [*conflicts, *more],
            idle,
            tasks,
        )

    @functools.cached_property
    def task_sections(self) -> dict[str, type]:
        """The dataclass of each section that belongs to a task, by name."""
        return {task.name: task.settings for task in self.tasks if task.settings is not None}

    @functools.cached_property
    def sections(self) -> dict[str, type]:
        """The dataclass of each section that has one, by name."""
        return SECTIONS | self.task_sections

    def task_of(self, tree: Mapping[str, Any]) -> Task | None:
        """Return the task of a resolved config; None where it names none."""
        return task_of(tree, self.tasks)
