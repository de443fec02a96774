"""What a config is checked against besides its types: collected from every room, and handed to the checks."""

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
    """What is known of classes of ours before one is imported, by their names: the kinds of data that each is for, or
    gives; and what each problem measures, with whether more of it is better.
    """

    data_kinds: Mapping[str, Sequence[str]] = field(default_factory=dict)
    metrics: Metrics = field(default_factory=dict)


@dataclass(frozen=True)
class Rules:
    """What values may be, by full key; which settings exclude each other; which have no effect in a training; the
    tasks, each with rules of its own; and what is known of classes.
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
        """The dataclass of each section that one types, by name."""
        return SECTIONS | self.task_sections

    def task_of(self, tree: Mapping[str, Any]) -> Task | None:
        """Return the task of a resolved config; None where it names none."""
        return task_of(tree, self.tasks)
